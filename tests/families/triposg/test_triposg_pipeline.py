"""TripoSG as a family: its contract, whole assets, and the commands on a tiny checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
from PIL import Image
from triposg_tiny import GOLDEN, KNOBS, checkpoint, recipe

from gen3dexport.assets.mesh import Mesh
from gen3dexport.models import Request, triposg
from gen3dexport.models.image_preparation import sample_image
from gen3dexport.observe import Eager
from gen3dexport.testing import FamilyContract

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("triposg"))


class TestContract(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "triposg"

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("triposg"))

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return dict(KNOBS)


def _made(weights: Path, request: Request | None = None, **knobs: Any) -> tuple[dict[str, Any], Mesh, list[Eager]]:
    """The finished state, the mesh and the programs of a run."""
    settings = triposg.read_settings(weights, triposg.Knobs(**{**KNOBS, **knobs}), False)
    state = triposg.begin(settings, request or Request(image=sample_image(0)), weights, xp)
    programs = []
    for one in triposg.components(settings):
        programs.append(Eager(one.load(weights)))
        state = one.advance(state, programs[-1], xp)
    return state, triposg.make_assets(state, settings)["mesh"], programs


def _faces(mesh: Mesh) -> np.ndarray:
    """The middles of the faces, rounded: matrix products of other sizes move a corner by up to 1e-5."""
    return np.unique(np.round(mesh.vertices[mesh.faces].mean(1), 3), axis=0)


def test_coarse_to_fine_and_chunks_make_the_same_mesh(weights: Path) -> None:
    state, mesh, _ = _made(weights, coarse=1, resolution=33)
    assert len(mesh.faces) > 100 and state["queries"] == 33**3
    other, made, ran = _made(weights, coarse=4, chunk=100, resolution=33)
    assert other["queries"] < state["queries"]
    assert len(ran[3].calls) >= other["queries"] / 100
    assert {call[0]["points"].shape for call in ran[3].calls} == {(1, 100, 3)}
    whole, found = ({tuple(row) for row in _faces(one)} for one in (mesh, made))
    assert len(found - whole) <= 0.01 * len(found)  # a rounding apart
    assert len(found & whole) > 0.9 * len(whole)  # the set's field is noise; a part between coarse points is left out


def test_the_sampler_is_called_for_both_branches_of_guidance(weights: Path) -> None:
    _, _, guided = _made(weights)
    assert [float(call[0]["t"][0]) for call in guided[1].calls] == pytest.approx(
        [t for t in (1000, 2000 / 3, 1000 / 3) for _ in range(2)]
    )
    assert all((call[0]["cond"] == 0).all() == bool(i % 2) for i, call in enumerate(guided[1].calls))
    state, _, alone = _made(weights, guidance_scale=1.0)
    assert len(alone[1].calls) == 3
    steps = [call[1]["v"] for call in alone[1].calls]
    np.testing.assert_allclose(state["z"], state["noise"] + sum(steps) / 3, atol=1e-5)  # v points from noise to data
    _, _, shifted = _made(weights, guidance_scale=0.0, shift=3.0)
    assert float(shifted[1].calls[1][0]["t"][0]) == pytest.approx(1000 * 3 * (2 / 3) / (1 + 2 * (2 / 3)))


def test_knobs_change_the_mesh(weights: Path) -> None:
    _, mesh, _ = _made(weights)
    assert mesh.cell == pytest.approx(1 / 19) and mesh.colors is None
    _, finer, _ = _made(weights, resolution=40)
    assert len(finer.faces) > 2 * len(mesh.faces) and finer.cell == pytest.approx(1 / 39)


def test_the_release_s_y_is_up(weights: Path) -> None:
    """A point of the mesh is one of the surface when it is turned back into the release's cube."""
    state, mesh, programs = _made(weights, resolution=40)
    x, y, z = mesh.vertices[:512].T
    points = np.zeros((1, 512, 3), np.float32)
    points[0, : len(x)] = 2 * 1.005 * np.stack([x, z, -y], -1)
    logits = Eager(programs[3].component)({"context": state["context"], "points": points})["logits"][0, : len(x), 0]
    points[0, : len(x)] = 2 * 1.005 * np.stack([x, y, z], -1)
    unturned = Eager(programs[3].component)({"context": state["context"], "points": points})["logits"][0, : len(x), 0]
    assert np.abs(logits).mean() < 0.2 * np.abs(unturned).mean()


def test_untrained_networks_make_a_ball(weights: Path) -> None:
    """So that a build for sizing queries as many points as an asset does."""
    _, mesh, programs = _made(weights, Request("seeded", 1, stand_in="random"))
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 0.3, atol=0.02)
    assert len(programs[3].calls) > 3


def test_nothing_inside_is_an_empty_mesh(weights: Path) -> None:
    settings = triposg.read_settings(weights, triposg.Knobs(**KNOBS), False)
    (query,) = [one for one in triposg.components(settings) if one.name == "query"]
    state = query.advance(
        {"context": np.zeros(1), "ball": np.asarray(False)},
        lambda inputs: {"logits": np.full((1, 512, 1), -3, np.float32)},
        xp,
    )
    mesh = triposg.make_assets(state, settings)["mesh"]
    assert mesh.faces.shape == (0, 3) and mesh.vertices.shape == (0, 3)
    assert state["queries"] == 8**3  # every third of twenty points and the last


def test_commands(weights: Path, tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    """plan, build, run and parity of the tiny checkpoint."""
    path, bundle = recipe(weights, tmp_path / "triposg-tiny.yaml"), tmp_path / "bundle"
    code, out, err = cli("plan", path, "-t", fast_target, "--json")
    assert code == 0, err
    planned = json.loads(out)
    assert [row["name"] for row in planned["components"]] == ["image_encoder", "flow", "latent_decoder", "query"]
    code, _, err = cli("build", path, "-t", fast_target, "-o", bundle)
    assert code == 0, err
    Image.fromarray(sample_image(0)).save(tmp_path / "ball.png")
    code, out, err = cli("run", bundle, "--image", tmp_path / "ball.png", "-o", tmp_path / "a.glb", "--json")
    assert code == 0, err
    assert json.loads(out)["assets"][0]["faces"] == len(_made(weights)[1].faces)
    assert (tmp_path / "a.glb").read_bytes()[:4] == b"glTF"
    code, _, err = cli("run", bundle, "--prompt", "a chair", "-o", tmp_path / "b.glb")
    assert code == 2 and "picture" in err
    code, out, err = cli("parity", "triposg", GOLDEN / "vae", "--json")
    assert code == 0 and json.loads(out)["passed"], err
