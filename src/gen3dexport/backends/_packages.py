"""The packages that a backend needs: which are missing here. Imports none of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence


def missing(packages: Sequence[str], extra: str) -> list[str]:
    """One line for each package that is not installed, with its remedy: the extra of this package that has it."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return [f"{name} is not installed; run: pip install 'gen3dexport[{extra}]'" for name in absent]
