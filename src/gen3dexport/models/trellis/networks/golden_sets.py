"""TRELLIS's golden sets, read: which network a set is of, and what that takes and gives."""

from __future__ import annotations

from pathlib import Path

import torch

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.golden import Golden, read_files, stored_weights
from gen3dexport.models.trellis.networks import slat_golden
from gen3dexport.models.trellis.networks.loading import network
from gen3dexport.models.trellis.networks.sparse_layers import fold_convolutions
from gen3dexport.networks.checkpoints import load_strictly

# Inputs in forward's order and outputs by class; derived outputs are those that the host computes.
_SIGNATURES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "SparseStructureFlowModel": (("x", "t", "cond"), ("v",)),
    "SparseStructureDecoder": (("z",), ("logits",)),
    "SparseStructureEncoder": (("x",), ("mean", "logvar")),
}
_HOST = ("flexicubes", "ops")  # kinds without a network


def read_golden(folder: Path) -> Golden:
    """Read a golden folder, weights loaded strictly.

    Raises:
        UsageError: when a file is missing or damaged or the weights do not fit the network.
    """
    config, meta, tensors = read_files(folder)
    subject = meta.get("kind", folder.name)
    name, args = ("", {}) if subject in _HOST else (config["name"], config["args"])
    extra = config.get("extra", {})
    if not name:
        return Golden(None, tensors, extra, subject)
    known = {**_SIGNATURES, **slat_golden.OUTPUTS}
    if name not in known:
        raise UsageError(f"{folder}: network class {name!r} is not known; there are {', '.join(known)}")
    module = load_strictly(network(name, args), *stored_weights(folder))
    stack = getattr(module, "stack", None)
    if name in slat_golden.OUTPUTS:
        fold_convolutions(module)
        example = slat_golden.inputs(module, tensors)
        return Golden(
            Component(folder.name, module, example, slat_golden.OUTPUTS[name], stack), tensors, extra, subject
        )
    if subject == "sampler":  # its network is called with the noise first, at t = 1
        tensors = {"in.x": tensors["in.noise"], "in.t": torch.tensor([1000.0]), **tensors}
    inputs, outputs = _SIGNATURES[name]
    example = {k: tensors[f"in.{k}"] for k in inputs}
    return Golden(Component(folder.name, module, example, outputs, stack), tensors, extra, subject)
