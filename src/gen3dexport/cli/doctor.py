"""What is installed, what is missing, and the command that mends it."""

from __future__ import annotations

from typing import Any

from gen3dexport import backends
from gen3dexport.bundle.provenance import host, versions
from gen3dexport.bundle.stage_cache import folder
from gen3dexport.documents.shipped import documents
from gen3dexport.plan import backend_options, read_target


def examine(target: str = "") -> dict[str, Any]:
    """Versions, machine and, for each target (or the one named), what it misses here.

    Raises:
        UsageError: for an unknown target.
    """
    targets = [read_target(target)] if target else [read_target(name) for name in documents("targets")]
    rows = [
        {"name": t.name, "device": t.device, "missing": backends.find(t.backend).check(backend_options(t))}
        for t in targets
    ]
    return {"versions": versions(), "host": host(), "stage_cache": str(folder()), "targets": rows}
