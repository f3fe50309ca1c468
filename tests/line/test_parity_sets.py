"""Parity on golden sets that are not the examples: other widths, without colours, without some outputs; damaged ones.

A set of another shape is made here with the family's own network, so its parity must pass to the last digit; what is
tested is that the checks follow the set's names and shapes. The equations are tested on the reference's own sets.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gen3dexport.errors import UsageError
from gen3dexport.models.trellis.host.flexicubes import extract
from gen3dexport.models.trellis.host.mesh_features import cubes_of
from gen3dexport.models.trellis.networks.golden_sets import read_golden
from gen3dexport.models.trellis.networks.loading import random_network
from gen3dexport.validation.parity import compare

GOLDEN = Path(__file__).parents[1] / "golden"
Tensors = dict[str, Tensor]


def _copy(source: str, folder: Path, change: Callable[[Tensors], Tensors | None] = lambda tensors: None) -> Path:
    """A set of this repository, its tensors changed."""
    shutil.copytree(GOLDEN / source, folder, dirs_exist_ok=True)
    tensors = load_file(folder / "io.safetensors")
    save_file(change(tensors) or tensors, folder / "io.safetensors")
    return folder


def _write(folder: Path, name: str, args: dict[str, Any], inputs: Tensors, kind: str) -> Tensors:
    """A set of a TRELLIS network with random weights: its files, and its outputs on real rows."""
    module = random_network(name, args)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"name": name, "args": args}))
    (folder / "meta.json").write_text(json.dumps({"kind": kind}))
    save_file({key: value.clone() for key, value in module.state_dict().items()}, folder / "weights.safetensors")
    save_file(inputs, folder / "io.safetensors")
    component = read_golden(folder).component
    assert component is not None
    return component.run()


def _voxels(count: int, resolution: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    cells = torch.randperm(resolution**3, generator=generator)[:count].sort().values
    columns = (torch.zeros_like(cells), cells // resolution**2, cells // resolution % resolution, cells % resolution)
    return torch.stack(columns, 1).int()


def test_a_mesh_decoder_without_colours_of_another_width(tmp_path: Path) -> None:
    args = {"resolution": 8, "model_channels": 256, "latent_channels": 4, "num_blocks": 1, "num_heads": 4}
    args |= {"mlp_ratio": 1, "window_size": 4, "representation_config": {"use_color": False}}
    coords = _voxels(5, 8)
    inputs = {"in.coords": coords, "in.feats": torch.randn(len(coords), 4)}
    made = _write(tmp_path / "set", "SLatMeshDecoder", args, inputs, "slat_dec")
    feats = made["feats"][0, : 64 * len(coords)].clone()
    assert feats.shape[1] == 53
    save_file({**inputs, "out.feats": feats}, tmp_path / "set" / "io.safetensors")
    result = compare("trellis", tmp_path / "set", None, "fp32", None)
    assert result["passed"], result
    assert [row["output"] for row in result["outputs"]] == ["feats"]


def test_flexicubes_without_colours(tmp_path: Path) -> None:
    def without(tensors: Tensors) -> Tensors:
        kept = {"in.coords": tensors["in.coords"], "in.feats": tensors["in.feats"][:, :53].clone()}
        return {**kept, **{f"out.{name}": tensors[f"out.{name}"] for name in ("vertices", "faces")}}

    result = compare("trellis", _copy("trellis/flexicubes_noisy", tmp_path / "set", without), None, "fp32", None)
    assert result["passed"], result
    assert [row["output"] for row in result["outputs"]] == ["face_positions"]


def test_flexicubes_of_another_resolution(tmp_path: Path) -> None:
    coords = _voxels(40, 5)
    feats = torch.randn(len(coords), 53, generator=torch.Generator().manual_seed(1))
    mesh = extract(cubes_of(feats.numpy(), coords.numpy()[:, 1:], 5))
    assert len(mesh.faces)
    tensors = {"in.coords": coords, "in.feats": feats, "out.faces": torch.from_numpy(mesh.faces.copy())}

    def smaller(_: Tensors) -> Tensors:
        return tensors | {"out.vertices": torch.from_numpy(mesh.vertices.astype(np.float32))}

    folder = _copy("trellis/flexicubes_noisy", tmp_path / "set", smaller)
    (folder / "config.json").write_text(json.dumps({"extra": {"res": 5}}))
    result = compare("trellis", folder, None, "fp32", None)
    assert result["passed"], result


def test_gaussians_of_another_number(tmp_path: Path) -> None:
    config = json.loads((GOLDEN / "trellis" / "slat_dec_gs" / "config.json").read_text())
    args = config["args"] | {"model_channels": 96, "num_heads": 3, "num_blocks": 1, "resolution": 16}
    args["representation_config"] = args["representation_config"] | {"num_gaussians": 8, "perturb_offset": False}
    coords = _voxels(20, 16)
    inputs = {"in.coords": coords, "in.feats": torch.randn(len(coords), 8)}
    made = _write(tmp_path / "set", "SLatGaussianDecoder", args, inputs, "slat_dec")
    feats = made["feats"][0, : len(coords)].clone()
    assert feats.shape[1] == 8 * 14
    save_file({**inputs, "out.feats": feats}, tmp_path / "set" / "io.safetensors")
    assert compare("trellis", tmp_path / "set", None, "fp32", None)["passed"]


def test_operations_of_other_widths(tmp_path: Path) -> None:
    """Each output's name says the width, and each may be missing; the position features follow the specification."""

    def others(tensors: Tensors) -> Tensors:
        count = 10  # floor(60 / 3 / 2)
        angles = tensors["in.pos"].float()[:, :, None] * (10000.0 ** -(torch.arange(count) / count))
        features = torch.cat([angles.sin(), angles.cos()], -1).flatten(1)
        kept = ("in.pos", "in.grid", "out.patchify2")
        return {**{name: tensors[name] for name in kept}, "out.ape_62": torch.nn.functional.pad(features, (0, 2))}

    result = compare("trellis", _copy("trellis/ops", tmp_path / "set", others), None, "fp32", None)
    assert result["passed"], result
    assert {row["output"] for row in result["outputs"]} == {"ape_62", "patchify2"}


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("decoder_renderer", ("in.features", "out.mlp_density", "out.mlp_features", "out.grid_points")),
        ("decoder_renderer", ("in.points", "out.density", "out.features", "out.density_act", "out.color")),
        ("e2e", ("out.grid_density", "out.rgb", "in.points", "out.density", "out.density_act", "out.color")),
        ("image_tokenizer", ("in.images_native", "out.tokens_native", "out.tokens_possize")),
    ],
)
def test_triposr_s_sets_without_some_outputs(name: str, gone: tuple[str, ...], tmp_path: Path) -> None:
    def without(tensors: Tensors) -> Tensors:
        return {key: value for key, value in tensors.items() if key not in gone}

    result = compare("triposr", _copy(f"triposr/{name}", tmp_path / "set", without), None, "fp32", None)
    assert result["passed"], result
    assert not {row["output"] for row in result["outputs"]} & {key.removeprefix("out.") for key in gone}


def _without(*names: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: value for key, value in tensors.items() if key not in names}


def _with(name: str, value: Tensor) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: value}


DAMAGED: dict[str, tuple[str, Callable[[Tensors], Tensors], str]] = {
    "no input": ("trellis/ss_flow", _without("in.cond"), "has no 'in.cond'"),
    "no voxels": ("trellis/slat_dec_rf", _without("in.coords"), "has no 'in.coords'"),
    "no outputs": ("trellis/ss_flow", _without("out.v"), "has no output"),
    "input of another width": ("trellis/ss_flow", _with("in.cond", torch.zeros(2, 11, 40)), "do not fit each other"),
    "output of another width": ("trellis/ss_flow", _with("out.v", torch.zeros(2, 8, 8, 8)), "out.v: has shape"),
    "no noise": ("trellis/sampler", _without("in.noise"), "has no 'in.noise'"),
    "unknown operation": ("trellis/ops", _with("out.ape", torch.zeros(1)), "out.ape: no operation makes this"),
    "no input of an operation": ("trellis/ops", _without("in.pos"), "has no 'in.pos'"),
    "no features": ("trellis/flexicubes_noisy", _without("in.feats"), "has no 'in.feats'"),
    "no faces": ("trellis/flexicubes_noisy", _without("out.vertices"), "has no 'out.vertices'"),
    "features of another width": ("trellis/flexicubes_noisy", _with("in.feats", torch.zeros(1312, 50)), "50 channels"),
    "no images": ("triposr/image_tokenizer", _without("in.images"), "has no 'in.images'"),
    "no tokens": ("triposr/backbone", _without("in.hidden_states"), "has no 'in.hidden_states'"),
    "planes of another width": ("triposr/post_processor", _with("in.triplanes", torch.zeros(2, 3, 9, 5, 5)), "do not"),
    "picture": ("triposr/e2e", _with("in.image", torch.zeros(3)), "do not fit each other"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_sets_are_told(case: str, tmp_path: Path) -> None:
    source, change, message = DAMAGED[case]
    with pytest.raises(UsageError, match=message) as error:
        compare(source.partition("/")[0], _copy(source, tmp_path / "set", change), None, "fp32", None)
    assert str(tmp_path / "set") in str(error.value) or case in ("unknown operation", "features of another width")


@pytest.mark.parametrize(
    ("source", "name", "text", "message"),
    [
        ("trellis/ss_flow", "config.json", "{}", "has no 'name'"),
        ("trellis/ss_flow", "config.json", '{"name": 5, "args": {}}', "5"),
        ("trellis/ss_flow", "config.json", "[]", "no object"),
        ("trellis/ss_flow", "meta.json", "{", "copy it again"),
        ("trellis/ss_flow", "io.safetensors", "{", "io.safetensors"),
        ("trellis/sampler", "config.json", '{"extra": {}}', "has no 'name'"),
        ("trellis/flexicubes_noisy", "config.json", "{}", "has no 'res'"),
        ("triposr/tokenizer", "config.json", '{"plane_size": -4, "num_channels": 8}', "plane_size"),
        ("triposr/tokenizer", "meta.json", "{}", "has no 'component'"),
        ("triposr/decoder_renderer", "config.json", "{}", "has no 'decoder'"),
    ],
)
def test_damaged_files_are_told(source: str, name: str, text: str, message: str, tmp_path: Path) -> None:
    folder = _copy(source, tmp_path / "set")
    (folder / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        compare(source.partition("/")[0], folder, None, "fp32", None)


def test_a_folder_of_sets_lists_them() -> None:
    with pytest.raises(UsageError, match=r"golden sets and none itself; there are backbone, .*tokenizer; give one"):
        compare("triposr", GOLDEN / "triposr", None, "fp32", None)
