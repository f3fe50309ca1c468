"""SF3D as a family: its contract, whole assets, targets, and the commands on a tiny checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
from PIL import Image
from sf3d_tiny import GOLDEN, KNOBS, checkpoint, recipe

from gen3dexport.assets import kinds
from gen3dexport.assets.mesh import Mesh
from gen3dexport.models import Request, sf3d
from gen3dexport.models.image_preparation import sample_image
from gen3dexport.observe import Eager
from gen3dexport.plan import make_plan, read_recipe, read_target
from gen3dexport.testing import FamilyContract

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("sf3d"))


class TestContract(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "sf3d"

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("sf3d"))

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return dict(KNOBS)


def _made(weights: Path, request: Request | None = None, **knobs: Any) -> tuple[dict[str, Any], Mesh, dict[str, Eager]]:
    """The finished state, the mesh and the programs of a run."""
    settings = sf3d.read_settings(weights, sf3d.Knobs(**{**KNOBS, **knobs}), False)
    state = sf3d.begin(settings, request or Request(image=sample_image(0)), weights, xp)
    programs = {}
    for one in sf3d.components(settings):
        programs[one.name] = Eager(one.load(weights))
        state = one.advance(state, programs[one.name], xp)
    return state, sf3d.make_assets(state, settings)["mesh"], programs


def test_an_asset_has_every_texture_and_its_material(weights: Path) -> None:
    state, mesh, programs = _made(weights)
    texture = mesh.texture
    assert texture is not None and len(mesh.faces) > 300
    assert texture.base_color.shape == texture.normal.shape == (96, 96, 3)
    shown = texture.metallic_roughness[0, 0] / 255
    assert abs(shown[1] - state["roughness"]) < 0.002 and abs(shown[2] - state["metallic"]) < 0.002
    assert (texture.metallic, texture.roughness) == (1.0, 1.0)
    # A texel in a triangle has the colour of the field at its place.
    planes = programs["texture"].calls[0][0]["planes"]
    corners = mesh.faces[:200]
    places = 2 * 0.87 * mesh.vertices[corners].mean(1)
    raw = Eager(programs["texture"].component)(
        {"planes": planes, "points": np.concatenate([places, np.zeros((312, 3))])[None].astype(np.float32)}
    )["features"][0, :200]
    off = np.abs(texture.color_at(texture.uv[corners].mean(1)) / 255 - 1 / (1 + np.exp(-raw)))
    assert np.median(off) < 0.02 and np.quantile(off, 0.9) < 0.15


def test_coarse_to_fine_and_chunks_make_the_same_surface(weights: Path) -> None:
    state, mesh, _ = _made(weights, coarse=1)
    other, found, programs = _made(weights, coarse=2, chunk=100)
    assert other["queries"] < state["queries"] and len(programs["geometry"].calls) > 5
    scores = {score.name: score.value for score in kinds.of(mesh).scores(found, mesh)}
    assert scores["f_score"] > 0.99 and scores["texture_psnr"] > 25


def test_knobs_change_the_asset(weights: Path) -> None:
    _, mesh, _ = _made(weights)
    assert mesh.cell == pytest.approx(1 / 12)
    _, few, _ = _made(weights, max_faces=200)
    assert 50 < len(few.faces) <= 200 and few.texture is not None
    _, small, _ = _made(weights, texture_size=32)
    assert small.texture is not None and small.texture.base_color.shape == (32, 32, 3)


def test_nothing_dense_is_an_empty_mesh(weights: Path) -> None:
    _, mesh, programs = _made(weights, threshold=1e6)
    assert mesh.faces.shape == (0, 3) and mesh.texture is None and not programs["texture"].calls


def test_untrained_networks_make_a_ball(weights: Path) -> None:
    _, mesh, programs = _made(weights, Request("seeded", 1, stand_in="random"), threshold=10.0)
    assert mesh.texture is not None and len(programs["geometry"].calls) > 2
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.3).max() < 2 / 12  # moved less than a cell an axis


@pytest.mark.parametrize("target", ["executorch", "tpu-v5e", "cuda-sm90", "onnx", "cpu-aoti"])
def test_the_recipe_is_planned_for_every_target(target: str) -> None:
    found = read_target(target)
    plan = make_plan(read_recipe("sf3d", found, ["random_weights=true"]), found)
    assert list(plan.schemes) == ["image_encoder", "backbone", "material", "geometry", "texture"]
    assert "Powered by Stability AI" in plan.recipe.licences.notice


def test_commands(weights: Path, tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    """plan, build, run and parity of the tiny checkpoint."""
    path, bundle = recipe(weights, tmp_path / "sf3d-tiny.yaml"), tmp_path / "bundle"
    code, out, err = cli("plan", path, "-t", fast_target, "--json")
    assert code == 0, err
    names = ["image_encoder", "backbone", "material", "geometry", "texture"]
    assert [row["name"] for row in json.loads(out)["components"]] == names
    code, _, err = cli("build", path, "-t", fast_target, "-o", bundle)
    assert code == 0, err
    Image.fromarray(sample_image(0)).save(tmp_path / "ball.png")
    code, out, err = cli("run", bundle, "--image", tmp_path / "ball.png", "-o", tmp_path / "a.glb", "--json")
    assert code == 0, err
    assert json.loads(out)["assets"][0]["faces"] == len(_made(weights)[1].faces)
    content = (tmp_path / "a.glb").read_bytes()
    assert content[:4] == b"glTF" and content.count(b"\x89PNG") == 3
    code, _, err = cli("run", bundle, "--prompt", "a chair", "-o", tmp_path / "b.glb")
    assert code == 2 and "picture" in err
    code, _, err = cli("run", bundle, "--image", tmp_path / "ball.png", "--max-faces", "50", "-o", tmp_path / "b.glb")
    assert code == 2 and "--set max_faces=50" in err and not (tmp_path / "b.glb").exists()
    code, out, err = cli("parity", "sf3d", GOLDEN / "marching_tets", "--json")
    assert code == 0 and json.loads(out)["passed"], err
