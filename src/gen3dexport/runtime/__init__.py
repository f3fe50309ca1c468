"""What an application imports: load a bundle, make assets with it.

    from gen3dexport.runtime import load
    mesh = load("bundle").generate(prompt="a tall chair")

    with load_isolated("bundle") as bundle:      programs in a process of their own
        mesh = bundle.generate(prompt="a tall chair")

Needs NumPy and the one vendor runtime that the bundle was built for.
"""

from __future__ import annotations

from gen3dexport.runtime.isolated import IsolatedBundle, load_isolated
from gen3dexport.runtime.pipeline import LoadedBundle, load

__all__ = ["IsolatedBundle", "LoadedBundle", "load", "load_isolated"]
