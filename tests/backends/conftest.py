"""Garbage is looked for less often: exporting makes millions of objects that live, a quarter of the time went there."""

from __future__ import annotations

import gc


def pytest_sessionstart() -> None:
    gc.set_threshold(200_000, 50, 100)
