"""The packages that a backend needs: which are missing here, which runs its programs. Imports none of them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence


def missing(packages: Sequence[str], extra: str) -> list[str]:
    """One line for each package that is not installed, with its remedy: the extra of this package that has it."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return [f"{name} is not installed; run: pip install 'gen3dexport[{extra}]'" for name in absent]


def first_installed(packages: Sequence[str]) -> str | None:
    """`NAME VERSION` of the first of these packages that is installed, or None."""
    for name in packages:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
