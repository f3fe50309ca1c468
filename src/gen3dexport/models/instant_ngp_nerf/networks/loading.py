"""From a file of a scene to its networks, strictly: nerfstudio's checkpoints of its torch implementation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.models.instant_ngp_nerf.host.model import Grid, Model
from gen3dexport.models.instant_ngp_nerf.host.settings import FIELD, Settings
from gen3dexport.models.instant_ngp_nerf.networks.field import Nerf
from gen3dexport.models.instant_ngp_nerf.networks.renderer import OccupiedRenderer, Query, Renderer
from gen3dexport.models.one_network import Making, load_network
from gen3dexport.networks.checkpoints import check_fit

PREFIXES = ("pipeline._model.module.", "pipeline._model.", "_model.module.", "_model.")
"""What a checkpoint's names may begin with, the longest first."""
IGNORED = ("camera_optimizer.", "lpips.", "psnr.", "ssim.", "device_indicator_param", "normals_shader.")
"""Tensors of a training run that pictures do not depend on: corrections of its cameras, and its metrics."""
_BESIDE = ("datamanager.", "pipeline.datamanager.")  # of the run, beside the model
_SIZES = ("max_res", "num_levels", "log2_hashmap_size")
_EMBEDDING = "field.embedding_appearance.embedding.weight"


def own_tensors(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """A file's tensors by the names of `Nerf`, without those of its training run.

    Raises:
        UsageError: for a file of the tiny-cuda-nn implementation.
    """
    kept = {name: value for name, value in state.items() if not name.startswith(_BESIDE)}
    prefix = next((p for p in PREFIXES if any(name.startswith(p) for name in kept)), "")
    kept = {name.removeprefix(prefix): value for name, value in kept.items()}
    kept = {name: value for name, value in kept.items() if not name.startswith(IGNORED)}
    if flat := [name for name in kept if name.endswith((".params", "tcnn_encoding")) or ".tcnn_" in name]:
        raise UsageError(
            f"{where}: {flat[0]} is a flat buffer of tiny-cuda-nn, whose layout, levels (coarse ones are not hashed) "
            "and directions are others, so that its values mean nothing here; train the scene with nerfstudio's torch "
            "implementation (ns-train nerfacto --pipeline.model.implementation torch)"
        )
    return kept


def read_released(model: Model, state: Mapping[str, Tensor], where: str) -> Nerf:
    """The networks with the tensors of a file.

    Raises:
        UsageError: for a file of the tiny-cuda-nn implementation, of another number of pictures or other grids than the
            configuration's, or with what is missing, unexpected or misshapen.
    """
    made, given = Nerf(model), own_tensors(state, where)
    own = made.state_dict()
    _check_sizes(model, given, where)
    check_fit(own, given, where)
    for k in range(len(model.proposal_net_args_list)):
        one, other = (given[f"proposal_networks.{k}.{name}.hash_table"] for name in ("encoding", "mlp_base.0"))
        if not one.is_meta and not torch.equal(one, other):
            raise UsageError(
                f"{where}: proposal_networks.{k}: encoding.hash_table and mlp_base.0.hash_table are one tensor under "
                "two names, and differ; copy the checkpoint again"
            )
    made.load_state_dict(given, strict=True, assign=True)
    return made.eval().requires_grad_(False)


def _check_sizes(model: Model, given: Mapping[str, Tensor], where: str) -> None:
    """Raises UsageError where a file says other sizes than the configuration."""
    grids: dict[str, Grid] = {"field": model.field}
    grids |= {f"proposal_networks.{k}": grid for k, grid in enumerate(model.proposal_net_args_list)}
    problems = []
    for path, grid in grids.items():
        for name in _SIZES:
            value = given.get(f"{path}.{name}")
            if value is not None and not value.is_meta and int(value) != getattr(grid, name):
                problems.append(
                    f"{where}: {path}.{name} is {int(value)}, and the configuration says {getattr(grid, name)}"
                )
    table = given.get(_EMBEDDING)
    if table is not None and table.ndim == 2 and len(table) != model.num_images:
        problems.append(
            f"{where}: was trained on {len(table)} pictures, and the configuration's num_images is {model.num_images}"
        )
    if problems:
        raise UsageError("; ".join(problems) + "; write what the file has into config.json")


def load_component(name: str, settings: Settings, folder: Path, weights: Weights, reading: Reading) -> Component:
    """A component with stored weights, seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    model = settings.model

    def built(nerf: Nerf) -> nn.Module:
        made: nn.Module
        if name == FIELD:
            made = Query(nerf)
        elif settings.masked:
            made = OccupiedRenderer(nerf, settings.candidates)
        else:
            made = Renderer(nerf)
        return made.eval().requires_grad_(False)

    making = Making(
        released=lambda: Nerf(model),
        read=lambda state, where: read_released(model, state, where),
        built=built,
        outputs=settings.outputs(name),
        inputs=settings.inputs(name),
    )
    return load_network(name, making, folder / settings.checkpoint, weights, reading)
