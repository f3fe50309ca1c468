"""Bundles whose programs are a few bytes: all that commands see before a program is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gen3dexport import models
from gen3dexport.bundle.manifest import Manifest, own_digest, write_manifest
from gen3dexport.bundle.program import ProgramRecord, TensorSpec
from gen3dexport.plan import Plan
from gen3dexport.provenance import host, versions

_HOST = {"platform": "linux", "machine": "x86_64", "march": "x86-64-v3", "simdlen": 256, "isa": "avx2", "features": []}
REQUIRES: dict[str, dict[str, Any]] = {
    "aotinductor": {"device": "cpu", "arch": None, "torch": "2.14.1", "cuda": None, "host": _HOST},
    "xla": {"chip": "v5e", "platforms": ["cpu"]},
}
"""What programs of a backend need, where it asks for something."""


def write_paper_bundle(plan: Plan, folder: Path) -> Manifest:
    """The bundle of a plan, each program a text."""
    names = list(plan.schemes)
    for name in names:
        for path in (folder / "programs" / f"{name}.bin", folder / "golden" / f"{name}.safetensors"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} of {plan.recipe.name}")
    (folder / "host").mkdir()
    (folder / "host" / "tokenizer.json").write_text("a chair\n")
    spec = TensorSpec(shape=(1, 2), dtype="float32")
    programs = [
        ProgramRecord(
            name=name,
            component=name,
            files=(f"{name}.bin",),
            inputs=dict.fromkeys(plan.declared[name].inputs, spec),
            outputs=dict.fromkeys(plan.declared[name].outputs, spec),
            scheme=plan.schemes[name],
            requires=REQUIRES.get(plan.target.backend, {}),
            facts={"operators": {"aten.mm.default": 2}},
        )
        for name in names
    ]
    fields = {
        "recipe": plan.recipe.model_dump(mode="json", by_alias=True),
        "target": plan.target.model_dump(mode="json"),
        "family": plan.recipe.family,
        "settings": plan.settings.model_dump(mode="json"),
        "programs": programs,
        "parameters": dict.fromkeys(names, 1000),
        "calls": dict.fromkeys(names, 1),
        "versions": versions(),
        "host": host(),
        "host_steps": models.host_steps(plan.family, plan.settings),
    }
    return write_manifest(folder, fields)


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], object], sealed: bool = True) -> None:
    """Change a bundle's manifest; sealed: with the digest of what it says then."""
    path = bundle / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    if sealed:
        data["digest"] = own_digest(data)
    path.write_text(json.dumps(data, indent=1) + "\n")
