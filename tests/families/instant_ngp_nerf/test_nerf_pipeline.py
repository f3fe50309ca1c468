"""A radiance field as a family: its contract in every way of rendering, whole paths, and the commands."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
import torch
from nerf_tiny import GOLDEN, checkpoint, recipe
from PIL import Image
from safetensors.torch import load_file

from gen3dexport.assets.sequence import AssetSequence
from gen3dexport.models import Request
from gen3dexport.models import instant_ngp_nerf as family
from gen3dexport.observe import Eager
from gen3dexport.testing import FamilyContract

Cli = Callable[..., tuple[int, str, str]]
WAYS: dict[str, dict[str, Any]] = {
    "rays": {"rays": 300, "resolution": 20},
    "masked": {"occupancy": True, "rays": 300, "grid": 24, "chunk": 2000, "candidates": 96, "samples": 40},
    "march": {"render": "march", "chunk": 2000, "samples": 96},
    "skipping": {"render": "march", "occupancy": True, "chunk": 2000, "samples": 96, "grid": 24},
}
for _way in WAYS.values():
    _way |= {"resolution": 16, "views": 2}


class Named(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "instant_ngp_nerf"

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("nerf"))


class TestRays(Named):
    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return WAYS["rays"]


class TestMasked(Named):
    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return WAYS["masked"]


class TestMarch(Named):
    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return WAYS["skipping"]


def _made(folder: Path, request: Request, **knobs: Any) -> tuple[dict[str, Any], list[Eager]]:
    """The assets of a request, and the programs that ran."""
    settings = family.read_settings(folder, family.Knobs(**knobs), False)
    state, programs = family.begin(settings, request, folder, xp), []
    for one in family.components(settings):
        programs.append(Eager(one.load(folder)))
        state = one.advance(state, programs[-1], xp)
    return family.make_assets(state, settings), programs


def test_rays_do_not_depend_on_how_many_a_call_takes(tmp_path: Path) -> None:
    """The last call of a picture is filled up; numbers of a path are those of its pictures."""
    folder = checkpoint(tmp_path)
    one, (program,) = _made(folder, Request(), **WAYS["rays"] | {"rays": 100})
    other, _ = _made(folder, Request(), **WAYS["rays"] | {"rays": 256})
    assert len(program.calls) == 2 * 3 and program.calls[0][0]["origins"].shape == (100, 3)
    assert isinstance(one["sequence"], AssetSequence) and len(one["sequence"].items) == 2
    for mine, theirs in zip(one["sequence"].items, other["sequence"].items, strict=True):
        assert np.abs(mine.colors.astype(int) - theirs.colors).max() <= 1
        np.testing.assert_allclose(mine.accumulation, theirs.accumulation, atol=1e-5)
    np.testing.assert_array_equal(one["view"].colors, one["sequence"].items[0].colors)


def test_ways_of_rendering_agree(tmp_path: Path) -> None:
    """With samples enough, whole rays, rays by occupancy and marching show one scene; its cells are all occupied."""
    folder, many = checkpoint(tmp_path), {"samples": 400}
    made = {
        "rays": _made(folder, Request(), **WAYS["rays"] | many | {"proposal_samples": (256, 96)})[0],
        "masked": _made(folder, Request(), **WAYS["masked"] | many | {"least_density": 0.0, "candidates": 400})[0],
        "march": _made(folder, Request(), **WAYS["march"] | many | {"chunk": 50000})[0],
        "skipping": _made(folder, Request(), **WAYS["skipping"] | many | {"chunk": 50000, "least_density": 0.0})[0],
    }
    base = made["march"]["view"].colors.astype(int)
    assert np.ptp(base) > 30
    for way, assets in made.items():
        assert np.abs(assets["view"].colors.astype(int) - base).mean() < 4, way


def test_marching_can_change_without_a_new_build(tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    weights, bundle = checkpoint(tmp_path / "weights"), tmp_path / "bundle"
    path = recipe(
        weights, tmp_path / "march.yaml", "{render: march, chunk: 4000, samples: 48, resolution: 12, views: 2}"
    )
    code, out, err = cli("build", path, "-t", fast_target, "-o", bundle)
    assert code == 0, err
    asked = ["run", bundle, "-o", tmp_path / "a.png", "--set", "samples=20", "--set", "occupancy=true"]
    code, out, err = cli(*asked, "--set", "resolution=30", "--set", "views=1", "--json")
    assert code == 0, err
    assert json.loads(out)["assets"][0] == {"path": str(tmp_path / "a.png"), "kind": "view", "width": 30, "height": 30}
    assert Image.open(tmp_path / "a.png").size == (30, 30)


def test_commands(tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    weights, bundle = checkpoint(tmp_path / "weights"), tmp_path / "bundle"
    code, out, err = cli("build", recipe(weights, tmp_path / "nerf-tiny.yaml"), "-t", fast_target, "-o", bundle)
    assert code == 0, err
    files = [tmp_path / f"a{ending}" for ending in (".gif", ".zip", ".png", ".tiff", ".npz")]
    code, out, err = cli("run", bundle, *(w for f in files for w in ("-o", f)), "--json")
    assert code == 0, err
    assert [row["kind"] for row in json.loads(out)["assets"]] == [*("sequence", "sequence", "view", "view", "sequence")]
    with Image.open(files[0]) as film:
        assert film.n_frames == 3 and film.size == (16, 16)
    with zipfile.ZipFile(files[1]) as archive:
        assert sorted(archive.namelist())[:2] == ["moment.0001.png", "moment.0002.png"]
    cameras = [{"camera_to_world": np.eye(4).reshape(-1).tolist(), "fov": 50}] * 2
    (path := tmp_path / "path.json").write_text(json.dumps({"camera_path": cameras, "fps": 5, "seconds": 1}))
    asked = ["run", bundle, "--input", path, "-o", tmp_path / "b.gif"]
    code, out, err = cli(*asked, "--set", "resolution=9", "--json")
    assert code == 0, err
    assert json.loads(out)["assets"][0]["items"] == 2
    path.write_text("{}")
    code, _, err = cli(*asked[:4], "-o", tmp_path / "d.gif")
    assert code == 2 and "camera_path is missing" in err and not (tmp_path / "d.gif").exists()
    code, _, err = cli("run", bundle, "--set", "samples=9", "-o", tmp_path / "d.gif")
    assert code == 2 and "samples: this pipeline has no march" in err
    code, out, err = cli("parity", "instant-ngp-nerf", GOLDEN / "sh_encoding", "--json")
    assert code == 0 and json.loads(out)["passed"], err


def test_a_training_run_s_checkpoint(tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    """The last of nerfstudio's files: a pickle, which needs to be allowed, of which the model is read alone."""
    folder = checkpoint(tmp_path / "weights")
    state = {f"_model.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    state["_model.camera_optimizer.pose_adjustment"] = torch.zeros(3, 6)
    (folder / "model.safetensors").unlink()
    for step in (100, 2000):
        optimizers = {"fields": {"state": {0: {"step": 1.0, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}}
        torch.save({"step": step, "pipeline": state, "optimizers": optimizers}, folder / f"step-{step:09d}.ckpt")
    assert family.read_settings(folder, family.Knobs(), False).checkpoint == "step-000002000"
    path, bundle = recipe(folder, tmp_path / "run.yaml"), tmp_path / "bundle"
    code, _, err = cli("build", path, "-t", fast_target, "-o", bundle)
    assert code == 2 and "--allow-pickle" in err
    code, _, err = cli("build", path, "-t", fast_target, "-o", bundle, "--allow-pickle")
    assert code == 0, err
