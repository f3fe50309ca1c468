"""Part 1 of the trade-off: trellis-mini's whole pipeline, captions with known shapes, one process a variant."""

from __future__ import annotations

import gc
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from heldout import truth
from tradeoff_memory import Memory, Remembered, warm
from tradeoff_variants import Variant, in_weights
from turns import Call, Turns

from gen3dexport.assets import mesh
from gen3dexport.assets.metrics import occupancy_iou
from gen3dexport.models import Request
from gen3dexport.models.trellis.host.structure_stage import occupancy_logits
from gen3dexport.plan import make_plan, read_recipe, read_target
from gen3dexport.runtime import load
from gen3dexport.runtime.pipeline import to_numpy

RECIPE = "trellis-mini"
State = dict[str, Any]


class Assets(ABC):
    """The pipeline as a call: each makes the asset of the next caption, with the caption's number as seed."""

    def __init__(self, captions: list[str], settings: Any) -> None:
        self.captions, self.settings = captions, settings
        self.count = 0
        self.made: dict[int, np.ndarray] = {}
        self.flow_ms: list[float] = []

    def __call__(self) -> Mapping[str, np.ndarray]:
        seed = self.count % len(self.captions)
        self.count += 1
        state = self.run(Request(self.captions[seed], seed))
        self.made[seed] = occupancy_logits(state)
        return {"logits": self.made[seed]}

    @abstractmethod
    def run(self, request: Request) -> State:
        """The finished state of one asset; its flow is run by `timed`."""

    def timed(self, name: str, step: Callable[[], State]) -> State:
        """A component's step; of the flow's, whose end is waited for, the time is kept."""
        start = time.perf_counter()
        state = step()
        if name == "flow":
            to_numpy({"z": state["z"]})
            self.flow_ms.append(1e3 * (time.perf_counter() - start))
        return state

    def facts(self) -> dict[str, Any]:
        """Logits by seed, and milliseconds of one sampler step (guided ones call the network twice)."""
        timed = self.flow_ms[len(self.captions) :] or self.flow_ms
        return {"logits": self.made, "step_ms": float(np.median(timed)) / self.settings.schedule.steps}


class EagerAssets(Assets):
    """By torch modules over torch arrays."""

    def __init__(self, captions: list[str], variant: Variant) -> None:
        import array_api_compat.torch as xp
        import torch

        from gen3dexport.backends.aotinductor.program import OnDevice

        self.plan = make_plan(read_recipe(RECIPE), read_target("eager"))
        super().__init__(captions, self.plan.settings)
        self.xp: Any = xp if variant.device == "cpu" else OnDevice(xp, torch.device(variant.device))
        declared = self.plan.declared.values()
        files = {name: path for d in declared for name, path in d.host_files(self.plan.weights).items()}
        self.files = files["tokenizer.json"].parent
        self.modules = {}
        for name, declaration in self.plan.declared.items():
            component = declaration.load(self.plan.weights)
            self.modules[name] = (component.outputs[0], in_weights(component, variant))
        self.bytes = sum(_stored(module) for _, module in self.modules.values())

    def run(self, request: Request) -> State:
        import torch

        with torch.no_grad():
            state: State = self.plan.family.begin(self.settings, request, self.files, self.xp)
            for name, (output, module) in self.modules.items():
                declared = self.plan.declared[name]
                order = declared.inputs

                def program(
                    inputs: State, output: str = output, module: Any = module, order: tuple[str, ...] = order
                ) -> State:
                    return {output: module(*(inputs[key] for key in order)).float()}

                step = partial(declared.advance, state, program, self.xp)
                state = self.timed(name, step)
        return state


class BundleAssets(Assets):
    """By a bundle's programs."""

    def __init__(self, captions: list[str], folder: Path) -> None:
        self.bundle = load(folder)
        super().__init__(captions, self.bundle.settings)
        self.bundle.load_programs()
        manifest = self.bundle.manifest
        self.bytes = sum(manifest.bytes_of(manifest.component(name)) for name in manifest.components)

    def run(self, request: Request) -> State:
        return self.bundle.run(request, self.timed)


def _stored(module: Any) -> int:
    from gen3dexport.search.trials import stored_bytes

    return stored_bytes(module)


def prepare(variant: Variant, bundles: Path, count: int, folder: Path) -> tuple[Call, int]:
    """The call of a variant and the bytes of its weights or programs. Imports and a first use of the runtime come
    before the memory's count begins."""
    captions = truth(count)[0]
    if variant.target is None:
        warm(variant.compiled is not None, variant.device)
        memory = Memory(variant.device)
        assets: Any = EagerAssets(captions, variant)
    else:
        place = bundles / folder_of(variant)
        warm_bundle = load(place)  # as validate does: the runtime is imported, one program loaded and forgotten
        warm_bundle.program(warm_bundle.manifest.component(warm_bundle.manifest.components[-1]))
        del warm_bundle
        gc.collect()
        memory = Memory(variant.device)
        assets = BundleAssets(captions, place)
    return Remembered(assets, memory), assets.bytes


def folder_of(variant: Variant) -> str:
    """The name of a variant's bundle."""
    return "".join(c if c.isalnum() else "-" for c in variant.name)


def build_bundle(variant: Variant, bundles: Path) -> None:
    """Build the variant's bundle, without validating it: the trade-off measures it itself."""
    from gen3dexport.build import build
    from gen3dexport.plan import make_plan, read_target

    assert variant.target is not None
    target = read_target(variant.target)
    build(make_plan(read_recipe(RECIPE, target, variant.assignments), target), bundles / folder_of(variant))


def _surface(logits: np.ndarray) -> mesh.Mesh:
    if (logits > 0).any():
        return mesh.from_occupancy_logits(logits)
    return mesh.Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64))


def row(variant: Variant, found: Turns, reference: Turns, count: int) -> dict[str, Any]:
    """Size, memory, times and quality of one variant; its assets against the reference's of the same seeds, and
    against the true shapes."""
    facts = {"variant": variant.name, "kind_of": variant.kind, "device": variant.device, **found.row(reference)}
    if found.reason is not None:
        return facts
    occupancy, logits, expected = truth(count)[1], found.facts["logits"], reference.facts["logits"]
    pairs = [(logits[k], expected[k]) for k in sorted(expected)]
    losses = [1 - occupancy_iou(a > 0, b > 0) for a, b in pairs]
    chamfers = [mesh.scores(_surface(a), _surface(b))[1].value for a, b in pairs]
    return facts | {
        "step_ms": found.facts["step_ms"],
        "peak_memory": found.facts["peak_memory"],
        "running_memory": found.facts["running_memory"],
        "loss": float(np.mean(losses)),
        "chamfer": float(np.mean(chamfers)),
        "iou_truth": float(np.mean([occupancy_iou(logits[k] > 0, occupancy[k]) for k in sorted(logits)])),
    }
