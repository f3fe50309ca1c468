"""The key of a component's entry in the stage cache, and what is read of an entry. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport import models
from gen3dexport.bundle import golden, stage_cache
from gen3dexport.bundle.files import digest
from gen3dexport.models.declaration import State
from gen3dexport.models.weights import files_of
from gen3dexport.plan import Plan
from gen3dexport.provenance import host, versions

STATES = "states.safetensors"
"""File of an entry: the pipeline's states after the component."""


def found(plan: Plan, name: str, states: list[State]) -> Path | None:
    """The entry of one component, where it is there."""
    return stage_cache.find(key(plan, name, states))


def states_after(entry: Path) -> list[State]:
    """The pipeline's states after an entry's component, one a prompt."""
    return [*golden.read_states(entry / STATES)]


def golden_states(plan: Plan, states: list[State]) -> list[State]:
    """Those of the golden prompts; the others are for calibration."""
    return states[: len(plan.recipe.golden.prompts)]


def key(plan: Plan, name: str, states: list[State]) -> str:
    """The key of one component's entry, for the pipeline's states before it."""
    return stage_cache.key(_key_parts(plan, name, states), plan.backend, models.package(plan.recipe.family))


def _key_parts(plan: Plan, name: str, states: list[State]) -> Mapping[str, Any]:
    return {
        **of_model(plan, name, states),
        "scheme": plan.schemes[name],
        "rules": list(plan.rules.get(name, {}).items()),
        "smoothing": plan.smoothing.get(name),
        "backend": plan.target.backend,
        "options": plan.options.model_dump(mode="json"),
    }


def of_model(plan: Plan, name: str, states: list[State]) -> dict[str, Any]:
    """What a component's float32 calls depend on, whatever it is built for."""
    return {
        "component": name,
        "family": plan.recipe.family,
        "settings": plan.settings.model_dump(mode="json"),
        "weights": weights_of(plan, name) or plan.declared[name].checkpoint,
        "strip_prefix": plan.recipe.strip_prefix,
        "random_weights": plan.recipe.random_weights,
        "assets": plan.recipe.golden.assets,
        "golden": len(plan.recipe.golden.prompts),  # of the states; the others are for calibration
        "states": [{k: _array_digest(v) for k, v in sorted(state.items())} for state in states],
        "versions": versions(),
        "host": host(),
    }


def weights_of(plan: Plan, name: str) -> dict[str, str]:
    """SHA-256 of a component's checkpoint files by name; none where a package has them."""
    paths = files_of(plan.weights / plan.declared[name].checkpoint)
    return {p.name: _digest_of_large(p, p.stat().st_mtime_ns, p.stat().st_size) for p in paths}


@lru_cache(maxsize=256)
def _digest_of_large(path: Path, changed: int, size: int) -> str:
    """`digest`, once for a file as it is: keys and the manifest both have it."""
    return digest(path)


def _array_digest(value: np.ndarray) -> str:
    return f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
