"""Prompts that a choice is judged by and no trial sees: of a file, of the weights, or of the recipe. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen3dexport.documents.plain import shown
from gen3dexport.errors import UsageError
from gen3dexport.plan import Plan
from gen3dexport.quantization.schemes import CALIBRATED
from gen3dexport.search.records import HeldOut

CAPTIONS = "heldout.json"
"""File of a weights folder with captions that its networks were not trained on: `items`, each with a `caption`."""
MOST = 8
"""Prompts that are taken where no file is named."""
_LARGEST = 2**20


def held_out(plan: Plan, path: Path | None) -> HeldOut:
    """The prompts of a file, one a line; without a file the captions that the weights were not trained on, else the
    recipe's calibration prompts where the target calibrates no scheme, else none. None of them is `seen`.

    Raises:
        UsageError: when the file cannot be read, has no prompt, one twice, or one that the search sees.
    """
    known = seen(plan)
    if path is not None:
        return HeldOut(prompts=_of_file(path, known), source=str(path))
    captions = [caption for caption in _captions(plan.weights / CAPTIONS) if caption.strip() not in known]
    if captions:
        return HeldOut(prompts=tuple(captions[:MOST]), source=f"captions of {plan.recipe.weights}/{CAPTIONS}")
    calibration = plan.recipe.calibration
    others = [p for p in dict.fromkeys(calibration.prompts if calibration else ()) if p.strip() not in known]
    if others:
        return HeldOut(prompts=tuple(others[:MOST]), source="the recipe's calibration prompts, unused on this target")
    why = f"the weights have no {CAPTIONS}, the recipe no prompts that the search does not see"
    return HeldOut(prompts=(), source=f"none: {why}; name a file with --held-out")


def calibrates(plan: Plan) -> bool:
    """Whether a search on the plan's target tries schemes that the recipe's calibration prompts are observed for."""
    return any(scheme in CALIBRATED for scheme in plan.backend.SCHEMES)


def seen(plan: Plan) -> dict[str, str]:
    """The prompts that a search sees -> `golden` or `calibration`."""
    own, calibration = plan.recipe.golden.prompts, plan.recipe.calibration
    others = calibration.prompts if calibration is not None and calibrates(plan) else ()
    return {**{p.strip(): "calibration" for p in others}, **{p.strip(): "golden" for p in own}}


def _of_file(path: Path, known: Mapping[str, str]) -> tuple[str, ...]:
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"--held-out {path}: larger than 1 MiB; give prompts, one a line")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"--held-out {path}: cannot be read ({error.strerror}); give a file of prompts") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--held-out {path}: not UTF-8 text; save it as UTF-8") from error
    found: dict[str, int] = {}
    problems = []
    for number, line in enumerate(lines, 1):
        if not (prompt := line.strip()):
            continue
        if (kind := known.get(prompt)) is not None:
            problems.append(f"{path}:{number}: {shown(prompt)} is a {kind} prompt, which the search sees; take it out")
        elif prompt in found:
            problems.append(f"{path}:{number}: {shown(prompt)} stands in line {found[prompt]}, too; take it out")
        found.setdefault(prompt, number)
    if problems:
        raise UsageError.of(problems)
    if not found:
        raise UsageError(f"--held-out {path}: no prompt in it; write one a line")
    return tuple(found)


def _captions(path: Path) -> list[str]:
    """The captions of a weights folder, each once; none where the file is not there or not of that form."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        found = [item["caption"] for item in data["items"]]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    return [caption for caption in dict.fromkeys(found) if isinstance(caption, str)]
