"""Part 2 of the trade-off: two full-width blocks of the flow transformer (`dit_blocks`), one process a variant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dit_blocks
import numpy as np
from tradeoff_memory import Memory, Remembered, warm
from tradeoff_pipeline import folder_of
from tradeoff_variants import Variant, in_weights
from turns import Call, Turns

from gen3dexport.runtime.pipeline import to_numpy


def prepare(variant: Variant, programs: Path, folder: Path) -> tuple[Call, int]:
    """The call of a variant and the bytes of its weights or program."""
    if variant.target is not None:
        return _program(variant, programs / folder_of(variant))
    import torch

    from gen3dexport.search.trials import stored_bytes

    warm(variant.compiled is not None, variant.device)
    memory = Memory(variant.device)
    made = dit_blocks.component()
    inputs = [value.to(variant.device) for value in made.inputs.values()]
    module, output = in_weights(made, variant), made.outputs[0]
    size = stored_bytes(module)
    del made  # nothing but the module keeps weights that were replaced

    def call() -> Mapping[str, np.ndarray]:
        with torch.no_grad():
            return {output: module(*inputs).float().cpu().numpy()}

    return Remembered(call, memory), size


def _program(variant: Variant, place: Path) -> tuple[Call, int]:
    """The lowered program from disk; the runtime is started with it once before the memory's count begins."""
    import gc

    from safetensors.numpy import load_file

    from gen3dexport import backends
    from gen3dexport.bundle.program import ProgramRecord
    from gen3dexport.plan import read_target

    assert variant.target is not None
    backend = backends.find(read_target(variant.target).backend)
    record = ProgramRecord.model_validate_json((place / "record.json").read_text())
    arrays = load_file(place / "inputs.safetensors")
    backend.load(place, record)
    gc.collect()
    memory = Memory(variant.device)
    program = backend.load(place, record)
    inputs = {name: program.xp.asarray(value) for name, value in arrays.items()}
    size = sum((place / name).stat().st_size for name in record.files)
    return Remembered(lambda: to_numpy(program(inputs)), memory), size


def lower(variant: Variant, programs: Path) -> None:
    """Lower the blocks for the variant's target, beside their inputs."""
    from safetensors.torch import save_file

    from gen3dexport.plan import read_target
    from gen3dexport.validation.one_component import through

    assert variant.target is not None
    place = programs / folder_of(variant)
    place.mkdir(parents=True)
    made = dit_blocks.component()
    save_file(dict(made.inputs), place / "inputs.safetensors")
    record, _ = through(made, read_target(variant.target), variant.scheme, place)
    (place / "record.json").write_text(json.dumps(record.model_dump(mode="json")))


def row(variant: Variant, found: Turns, reference: Turns) -> dict[str, Any]:
    """Size, memory, time and relative error of one variant."""
    facts = {"variant": variant.name, "kind_of": variant.kind, "device": variant.device, **found.row(reference)}
    memory = {key: found.facts[key] for key in ("peak_memory", "running_memory") if key in found.facts}
    return facts | memory
