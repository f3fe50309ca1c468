"""Programs that this process runs on JAX's CPU are compiled with few of XLA's optimizations: they run a few times each.

Children compile as a user's process does: what runs from disk in a fresh process, and the TPU compiler.
"""

from __future__ import annotations

import contextlib


def pytest_sessionstart() -> None:
    with contextlib.suppress(ModuleNotFoundError):  # the tests say what is missing
        import jax

        jax.config.update("jax_disable_most_optimizations", True)
