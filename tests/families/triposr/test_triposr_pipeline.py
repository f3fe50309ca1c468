"""TripoSR as a family: its contract, whole assets, and the commands on a tiny checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from triposr_tiny import GOLDEN, KNOBS, checkpoint, recipe

from gen3dexport.assets.mesh import Mesh
from gen3dexport.models import Request, triposr
from gen3dexport.models.image_preparation import sample_image
from gen3dexport.observe import Eager
from gen3dexport.testing import FamilyContract

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("triposr"))


class TestContract(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "triposr"

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("triposr"))

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return dict(KNOBS)


def _made(weights: Path, request: Request | None = None, **knobs: Any) -> tuple[dict[str, Any], Mesh, list[Eager]]:
    """The finished state, the mesh and the programs of a run."""
    settings = triposr.read_settings(weights, triposr.Knobs(**{**KNOBS, **knobs}), False)
    state = triposr.begin(settings, request or Request(image=sample_image(0)), weights, xp)
    programs = []
    for one in triposr.components(settings):
        programs.append(Eager(one.load(weights)))
        state = one.advance(state, programs[-1], xp)
    return state, triposr.make_assets(state, settings)["mesh"], programs


def _found(mesh: Mesh, whole: Mesh) -> np.ndarray:
    """Which faces [F] of the whole grid's mesh are in another's, by their corners; the other has no face beside them.

    Matrix products of other sizes move a corner by up to 1e-5.
    """
    distance, nearest = KDTree(whole.vertices[whole.faces].reshape(-1, 9)).query(
        mesh.vertices[mesh.faces].reshape(-1, 9)
    )
    assert distance.max() < 1e-4 and len(np.unique(nearest)) == len(mesh.faces)
    return np.isin(np.arange(len(whole.faces)), nearest)


def _parts(mesh: Mesh) -> np.ndarray:
    """The connected part of every face [F]."""
    a, b = mesh.faces[:, [0, 1, 2]].ravel(), mesh.faces[:, [1, 2, 0]].ravel()
    count = len(mesh.vertices)
    labels = connected_components(coo_array((np.ones(len(a)), (a, b)), (count, count)), directed=False)[1]
    return labels[mesh.faces[:, 0]]


def test_coarse_to_fine_and_chunks_make_the_same_mesh_but_for_parts_between_coarse_points(weights: Path) -> None:
    state, mesh, _ = _made(weights, coarse=1)
    assert len(mesh.faces) > 100 and state["queries"] == 20**3
    parts = _parts(mesh)
    for knobs in ({"coarse": 2}, {"coarse": 3, "chunk": 100}, {"coarse": 4, "chunk": 8192}):
        other, made, ran = _made(weights, **knobs)
        assert other["queries"] < state["queries"]
        found = _found(made, mesh)
        for part in np.unique(parts):  # the whole part, or none of it
            assert len(set(found[parts == part])) == 1
        assert found.mean() > (0.9 if knobs["coarse"] < 4 else 0.2)  # noise is finer than four steps of this grid
        assert len(ran[2].calls) > other["queries"] / knobs.get("chunk", KNOBS["chunk"])
        colours = KDTree(mesh.vertices).query(made.vertices)[1]
        assert np.abs(made.colors.astype(int) - mesh.colors[colours]).max() <= 1


def test_knobs_change_the_mesh(weights: Path) -> None:
    _, mesh, _ = _made(weights)
    assert mesh.cell == pytest.approx(1 / 19)
    _, finer, _ = _made(weights, resolution=40)
    assert len(finer.faces) > 2 * len(mesh.faces) and finer.cell == pytest.approx(1 / 39)
    _, higher, _ = _made(weights, threshold=0.8)
    assert np.ptp(higher.vertices, 0).prod() < np.ptp(mesh.vertices, 0).prod()
    state, _, _ = _made(weights, foreground_ratio=0.5)
    _, _, programs = _made(weights)
    assert not np.array_equal(state["image"], programs[0].calls[0][0]["image"])


def test_colours_are_those_of_the_field_at_the_vertices(weights: Path) -> None:
    _, mesh, programs = _made(weights, chunk=8192)
    points = np.zeros((1, 8192, 3), np.float32)
    points[0, : len(mesh.vertices)] = 2 * 0.87 * mesh.vertices
    raw = programs[2].calls[0][0] | {"points": points}
    features = Eager(programs[2].component)(raw)["features"][0, : len(mesh.vertices)]
    assert np.abs(255 / (1 + np.exp(-features)) - mesh.colors).max() <= 0.51
    assert len(np.unique(mesh.colors, axis=0)) > 10


def test_nothing_dense_is_an_empty_mesh(weights: Path) -> None:
    _, mesh, _ = _made(weights, threshold=1e6)
    assert mesh.faces.shape == (0, 3) and mesh.vertices.shape == mesh.colors.shape == (0, 3)


def test_untrained_networks_make_a_ball(weights: Path) -> None:
    """So that a build for sizing queries as many points as an asset does."""
    _, mesh, programs = _made(weights, Request("seeded", 1, stand_in="random"), threshold=25.0)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 0.3, atol=0.02)
    assert len(programs[2].calls) > 3


def test_commands(weights: Path, tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    """plan, build, run and parity of the tiny checkpoint."""
    path, bundle = recipe(weights, tmp_path / "triposr-tiny.yaml"), tmp_path / "bundle"
    code, out, err = cli("plan", path, "-t", fast_target, "--json")
    assert code == 0, err
    planned = json.loads(out)
    assert [row["name"] for row in planned["components"]] == ["image_encoder", "backbone", "query"]
    code, _, err = cli("build", path, "-t", fast_target, "-o", bundle)
    assert code == 0, err
    Image.fromarray(sample_image(0)).save(tmp_path / "ball.png")
    code, out, err = cli("run", bundle, "--image", tmp_path / "ball.png", "-o", tmp_path / "a.glb", "--json")
    assert code == 0, err
    assert json.loads(out)["assets"][0]["faces"] == len(_made(weights)[1].faces)
    assert (tmp_path / "a.glb").read_bytes()[:4] == b"glTF"
    code, _, err = cli("run", bundle, "--prompt", "a chair", "-o", tmp_path / "b.glb")
    assert code == 2 and "picture" in err
    code, out, err = cli("parity", "triposr", GOLDEN / "tokenizer", "--json")
    assert code == 0 and json.loads(out)["passed"], err
