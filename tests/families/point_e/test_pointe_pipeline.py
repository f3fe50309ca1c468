"""Point-E as a family: its contract, whole assets, what knobs change, and the commands on tiny checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
from PIL import Image
from pointe_tiny import COARSE, DENSER, GOLDEN, KNOBS, checkpoint, recipe

from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.points import Points
from gen3dexport.models import Request, point_e
from gen3dexport.models.image_preparation import sample_image
from gen3dexport.observe import Eager
from gen3dexport.testing import FamilyContract

Cli = Callable[..., tuple[int, str, str]]


class Named(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "point-e"

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return dict(KNOBS)


class TestPicture(Named):
    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("image"))


class TestText(Named):
    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("text"), "text")


class TestVectorOfAPicture(Named):
    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("imagevec"), "imagevec")


class TestNothing(Named):
    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("nothing"), "nothing")

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {"base": {"steps": 2}, "upsampler": {"steps": 2}}


def made(
    folder: Path, request: Request | None = None, **knobs: Any
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Eager]]:
    """The assets, the finished state, and the programs of a run by name."""
    settings = point_e.read_settings(folder, point_e.Knobs(**{**KNOBS, **knobs}), False)
    request = request or Request(image=sample_image(0))
    state, programs = point_e.begin(settings, request, folder / "clip-vit-large-patch14", xp), {}
    for one in point_e.components(settings):
        programs[one.name] = Eager(one.load(folder))
        state = one.advance(state, programs[one.name], xp)
    return point_e.make_assets(state, settings), state, programs


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("pointe"))


def test_a_picture_makes_coloured_points_and_a_mesh(pictures: Path) -> None:
    assets, state, programs = made(pictures)
    points, mesh = assets["points"], assets["mesh"]
    assert isinstance(points, Points) and isinstance(mesh, Mesh) and points.colors is not None
    assert len(points.positions) == COARSE + DENSER
    np.testing.assert_array_equal(state["points"][..., :COARSE], state["coarse"])  # the coarse points come first
    np.testing.assert_allclose(points.positions.T, state["points"][0, :3])
    np.testing.assert_array_equal(points.colors.T, np.rint(state["points"][0, 3:].clip(0, 255)))
    nearest = np.linalg.norm(points.positions[None] - mesh.vertices[:, None], axis=-1).argmin(1)
    assert mesh.colors is not None and len(mesh.faces) > 50
    np.testing.assert_array_equal(mesh.colors, points.colors[nearest])
    assert len(programs["base"].calls) == 2 * 3 - 1 and len(programs["upsampler"].calls) == 2 * 2 - 1
    for inputs, _ in programs["upsampler"].calls:
        np.testing.assert_array_equal(inputs["low_res"][:1], state["coarse"])
        assert not inputs["low_res"][1:].any() and not inputs["cond"][1:].any()  # the branch without a condition


def test_a_seed_and_a_prompt_each_change_the_points(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "text")
    places = {
        (prompt, seed): made(folder, Request(prompt, seed), mesh=False)[0]["points"].positions
        for prompt, seed in (("red chair", 0), ("tall table", 0), ("red chair", 1))
    }
    first, *others = places.values()
    assert all(np.abs(other - first).max() > 0.01 for other in others)
    again, *_ = made(folder, Request("red chair", 0), mesh=False)
    np.testing.assert_array_equal(again["points"].positions, first)


def test_branches_in_one_call_or_in_two_make_the_same_points(pictures: Path) -> None:
    one, _, programs = made(pictures, mesh=False)
    two, _, apart = made(pictures, guidance="sequential", mesh=False)
    assert programs["base"].calls[0][0]["x"].shape[0] == 2 and apart["base"].calls[0][0]["x"].shape[0] == 1
    assert len(apart["base"].calls) == 2 * len(programs["base"].calls)
    # A walk multiplies rounding by its largest sigma.
    np.testing.assert_allclose(one["points"].positions, two["points"].positions, atol=5e-3)


def test_without_guidance_each_call_has_one_branch(pictures: Path) -> None:
    walks = {"base": {"steps": 3, "guidance_scale": 1.0}, "upsampler": {"steps": 2, "guidance_scale": 0.0}}
    none, _, programs = made(pictures, mesh=False, **walks)
    assert [programs[name].calls[0][0]["x"].shape[0] for name in ("base", "upsampler")] == [1, 1]
    settings = point_e.read_settings(pictures, point_e.Knobs(**{**KNOBS, "mesh": False}), False)
    changed = settings.model_copy(
        update={
            name: getattr(settings, name).model_copy(update={"guidance_scale": scale})
            for name, scale in (("base", 1.0), ("upsampler", 0.0))
        }
    )  # a bundle whose programs take both branches, run without guidance
    state = point_e.begin(changed, Request(image=sample_image(0)), pictures, xp)
    for one in point_e.components(changed):
        state = one.advance(state, Eager(one.load(pictures)), xp)
    positions = point_e.make_assets(state, changed)["points"].positions
    np.testing.assert_allclose(positions, none["points"].positions, atol=5e-3)


def test_given_features_stand_for_clip(pictures: Path, tmp_path: Path) -> None:
    whole, state, _ = made(pictures, mesh=False)
    folder = checkpoint(tmp_path / "image", clip=False)
    features = state["grid"][0].T
    given, _, programs = made(folder, Request(features=features), mesh=False)
    assert "image_encoder" not in programs
    np.testing.assert_array_equal(given["points"].positions, whole["points"].positions)
    text = checkpoint(tmp_path / "text", "text")
    whole, state, _ = made(text, Request("red chair"), mesh=False)
    given, *_ = made(text, Request(features=state["vector"][0]), encoder="none", mesh=False)
    np.testing.assert_array_equal(given["points"].positions, whole["points"].positions)


def test_a_field_of_one_sign_has_its_mean_taken_off(pictures: Path) -> None:
    settings = point_e.read_settings(pictures, point_e.Knobs(**KNOBS), False)
    (query,) = [one for one in point_e.components(settings) if one.name == "sdf_query"]
    asked = []

    def field(inputs: Any) -> dict[str, np.ndarray]:
        asked.append(inputs["points"])
        return {"sdf": 3 - np.linalg.norm(inputs["points"], axis=-1, keepdims=True)}

    state = query.advance({"context": np.zeros(1), "ball": np.asarray(False)}, field, xp)
    radius = np.linalg.norm(state["vertices"], axis=-1)
    grid = (np.indices((16, 16, 16)).reshape(3, -1) / 15 - 0.5) * 1.02
    assert radius.max() == pytest.approx(np.linalg.norm(grid, axis=0).mean(), abs=0.01)
    assert state["queries"] == 6**3 + 16**3 and np.abs(np.concatenate(asked, 1)).max() == pytest.approx(0.51)
    volume = np.einsum("fi,fi->f", state["vertices"][state["faces"][:, 0]], np.cross(
        state["vertices"][state["faces"][:, 1]], state["vertices"][state["faces"][:, 2]]
    )).sum()  # fmt: skip
    assert volume > 0  # seen from where the field is lower, faces go counter-clockwise


def test_coarse_to_fine_makes_the_whole_grid_s_mesh(pictures: Path) -> None:
    whole, state, _ = made(pictures, resolution=33, coarse=1)
    found, other, _ = made(pictures, resolution=33, coarse=4)
    assert state["queries"] == 33**3 and other["queries"] < 33**3
    middles = [{tuple(row) for row in np.round(m.vertices[m.faces].mean(1), 3)} for m in (whole["mesh"], found["mesh"])]
    assert len(middles[1] - middles[0]) <= 0.01 * len(middles[1]) and len(middles[0] & middles[1]) > 0.9 * len(
        middles[0]
    )


def test_untrained_networks_make_a_ball(pictures: Path) -> None:
    assets, *_ = made(pictures, Request("seeded", 1, stand_in="random"))
    radius = np.linalg.norm(assets["mesh"].vertices, axis=1)
    np.testing.assert_allclose(radius, 0.3 * 1.02, atol=0.02)


def test_commands(pictures: Path, tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    """plan, build, run and parity of the tiny checkpoint."""
    path, bundle = recipe(pictures, tmp_path / "pointe-tiny.yaml"), tmp_path / "bundle"
    code, out, err = cli("plan", path, "-t", fast_target, "--json")
    assert code == 0, err
    names = ["image_encoder", "base", "upsampler", "sdf_encoder", "sdf_query"]
    assert [row["name"] for row in json.loads(out)["components"]] == names
    code, _, err = cli("build", path, "-t", fast_target, "-o", bundle)
    assert code == 0, err
    Image.fromarray(sample_image(0)).save(tmp_path / "ball.png")
    files = [tmp_path / "a.ply", tmp_path / "a.glb"]
    asked = ["run", bundle, "--image", tmp_path / "ball.png"]
    code, out, err = cli(*asked, "-o", files[0], "--kind", "points", "--json")
    assert code == 0, err
    assert json.loads(out)["assets"][0]["points"] == COARSE + DENSER and files[0].read_bytes()[:4] == b"ply\n"
    code, out, err = cli(
        *asked, "-o", files[1], "--kind", "mesh", "--set", "base.steps=4", "--set", "base.churn=0", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["assets"][0]["faces"] > 10 and files[1].read_bytes()[:4] == b"glTF"
    code, _, err = cli(*asked, "-o", tmp_path / "b.ply", "--set", "base.steps=0")
    assert code == 2 and "base.steps=0" in err and not (tmp_path / "b.ply").exists()
    code, _, err = cli("run", bundle, "--prompt", "a chair", "-o", tmp_path / "b.ply")
    assert code == 2 and "picture" in err
    code, out, err = cli("parity", "point-e", GOLDEN / "sampler", "--json")
    assert code == 0 and json.loads(out)["passed"], err


def test_commands_of_a_text_model(tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    folder = checkpoint(tmp_path / "weights", "text")
    path, bundle = recipe(folder, tmp_path / "pointe-text.yaml", mesh=False), tmp_path / "bundle"
    code, _, err = cli("build", path, "-t", fast_target, "-o", bundle)
    assert code == 0, err
    assert (bundle / "host" / "tokenizer.json").is_file()
    code, out, err = cli("run", bundle, "--prompt", "red chair", "-o", tmp_path / "a.ply", "--json")
    assert code == 0, err
    assert json.loads(out)["assets"][0]["points"] == COARSE + DENSER
    code, _, err = cli("run", bundle, "-o", tmp_path / "b.ply")
    assert code == 2 and "prompt: empty" in err and not (tmp_path / "b.ply").exists()
