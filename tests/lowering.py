"""A golden component through a backend: quantized, lowered to disk, loaded; for the backends' tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from gen3dexport.backends import Program
from gen3dexport.bundle.program import Lowered, ProgramRecord, program_record, specs
from gen3dexport.export import Captured
from gen3dexport.models.component import Component
from gen3dexport.models.trellis.networks.golden_sets import read_golden
from gen3dexport.networks.bert import BertTokenEncoder
from gen3dexport.quantization.calibration import observing

GOLDEN = Path(__file__).parent / "golden" / "trellis"
COMPONENTS = ("ss_flow", "ss_flow_text", "ss_flow_patch2", "ss_dec", "ss_enc", "text_encoder")


@dataclass(frozen=True)
class Case:
    """A lowered component and what it should give.

    Attributes:
        inputs: NumPy inputs by name; fp32, quantized: eager outputs by name.
        lowered: what the backend wrote into `folder`; record: as the manifest would have it.
        program: loaded from disk.
    """

    inputs: dict[str, np.ndarray]
    fp32: dict[str, np.ndarray]
    quantized: dict[str, np.ndarray]
    lowered: Lowered
    record: ProgramRecord
    folder: Path
    program: Program


def component(name: str, shallow: bool = False) -> Component:
    """A golden network, or a small text encoder with random weights; `shallow` leaves one of blocks alike in a row."""
    if name != "text_encoder":
        made = read_golden(GOLDEN / name).component
        if shallow:
            make_shallow(made.module)
        return made
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = BertTokenEncoder(60, 48, 2, 4, 96, 32).eval()
        ids = torch.randint(0, 60, (1, 11))
    mask = (torch.arange(11) < 7).long()[None]
    return Component("text_encoder", network, {"ids": ids, "mask": mask}, ("features",))


def make_shallow(module: nn.Module) -> None:
    """Leave the first of blocks alike in a row: every operator that the network has, in fewer copies."""
    for name in {"blocks", "middle_block"} & {name for name, _ in module.named_children()}:
        stack = getattr(module, name)
        forms = [(type(block), [weight.shape for weight in block.state_dict().values()]) for block in stack]
        kept = [block for i, block in enumerate(stack) if i == 0 or forms[i] != forms[i - 1]]
        setattr(module, name, nn.Sequential(*kept) if isinstance(stack, nn.Sequential) else nn.ModuleList(kept))


def calibrated(made: Component) -> Component:
    """A component with the ranges of its convolutions on its own inputs."""
    with observing(made) as observed:
        made.run()
    return replace(made, ranges=observed.ranges())


def lower(backend: ModuleType, name: str, scheme: str, folder: Path, shallow: bool = False, **options: Any) -> Case:
    """Lower the component `name` into `folder` and load it from there."""
    made = component(name, shallow)
    if scheme == "int8-static":
        made = calibrated(made)
    fp32 = _numpy(made.run())
    resolved = backend.Options(**options)
    made = backend.quantize(made, scheme, resolved)
    quantized = made.run()
    lowered = backend.lower(Captured(made), resolved, folder)
    record = program_record(name, lowered, specs(made.inputs), specs(quantized), scheme=scheme)
    return Case(_numpy(made.inputs), fp32, _numpy(quantized), lowered, record, folder, backend.load(folder, record))


def relative_l2(value: Any, reference: np.ndarray) -> float:
    """||value - reference|| / ||reference||."""
    found = np.asarray(value, dtype=np.float64)
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


def _numpy(tensors: Any) -> dict[str, np.ndarray]:
    return {k: v.detach().numpy() for k, v in tensors.items()}
