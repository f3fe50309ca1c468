"""`python -m gen3dexport`: the command line."""

from __future__ import annotations

from gen3dexport.cli import main

if __name__ == "__main__":
    main()
