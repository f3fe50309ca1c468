"""Shap-E: golden parity with diffusers' classes, released keys, the family's contract, whole assets, bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from shape_tiny import GOLDEN, KNOBS, checkpoint, library, recipe

from gen3dexport.errors import UsageError
from gen3dexport.models import Request, shap_e
from gen3dexport.models.image_preparation import sample_image
from gen3dexport.models.run_fields import with_run_fields
from gen3dexport.models.shap_e.host.model import Scheduler, read_model
from gen3dexport.models.shap_e.host.schedule import walk
from gen3dexport.models.shap_e.networks import loading
from gen3dexport.models.shap_e.networks.renderer import position_features
from gen3dexport.observe import Eager
from gen3dexport.testing import FamilyContract
from gen3dexport.validation.parity import compare

Cli = Callable[..., tuple[int, str, str]]
OUTPUTS = {
    "prior_text": {"predicted"},
    "prior_image": {"predicted"},
    "sampler": {"latents", "after_steps", "sigmas", "timesteps"},
    "renderer": {"sdf", "color", "layer0", "layer1", "layer2", "layer3"},
}
WEIGHTS = Path(__file__).parents[3] / "weights"
KEYS: dict[str, Any] = json.loads(Path(__file__).with_name("released_keys.json").read_text())


def test_every_golden_set_is_looked_at() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {*OUTPUTS}


@pytest.mark.parametrize("name", OUTPUTS)
def test_golden_parity(name: str) -> None:
    result = compare("shap-e", GOLDEN / name, None, "fp32", None)
    assert result["passed"], result
    assert {row["output"] for row in result["outputs"]} == OUTPUTS[name]


def test_sets_made_anew_of_the_library_with_another_seed(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    script = Path(__file__).with_name("make_golden.py")
    subprocess.run([sys.executable, str(script), str(tmp_path), "991"], check=True, capture_output=True)
    for name in OUTPUTS:
        assert compare("shap-e", tmp_path / name, None, "fp32", None)["passed"], name


@pytest.mark.parametrize(
    ("name", "component", "folder"),
    [("prior_text", "prior", "Shap-E"), ("prior_image", "prior", "Shap-E-img2img"), ("renderer", "layers", "Shap-E")],
)
def test_released_keys(name: str, component: str, folder: str) -> None:
    """Every tensor of a released file, and no other, at the shipped configuration."""
    with torch.device("meta"):
        state = loading.released(component, read_model(WEIGHTS / folder)).state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == KEYS[name]["keys"]
    assert sum(value.numel() for value in state.values()) == KEYS[name]["elements"]


@pytest.mark.parametrize(("folder", "cond"), [("Shap-E", (2, 768)), ("Shap-E-img2img", (2, 256, 1024))])
def test_the_released_size_is_planned_from_shapes(folder: str, cond: tuple[int, ...]) -> None:
    place = WEIGHTS / folder
    settings = shap_e.read_settings(place, shap_e.Knobs(), True)
    made = {one.name: one.load(place, "shapes") for one in shap_e.components(settings)}
    shapes = {name: {k: tuple(v.shape) for k, v in one.inputs.items()} for name, one in made.items()}
    layers = {"first": (1, 256, 93), "rest": (1, 3, 256, 256)}
    assert shapes["prior"] == {"x": (2, 1024, 1024), "t": (2,), "cond": cond}
    assert shapes["layers"] == {"latents": (1, 1024, 1024)}
    assert shapes["distance"] == shapes["color"] == {**layers, "points": (1, 16384, 3)}
    kind = "prior_text" if folder == "Shap-E" else "prior_image"
    assert made["prior"].parameters == KEYS[kind]["elements"] - 2 * 2048 - 1024 * 1024 - 1024  # means, variances


class Named(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "shap-e"

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return dict(KNOBS)


class TestText(Named):
    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("text"))


class TestPicture(Named):
    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("image"), "image")


def made(folder: Path, request: Request, **knobs: Any) -> tuple[Any, dict[str, Any], dict[str, Eager]]:
    """The mesh, the finished state, and the programs of a run by name."""
    settings = shap_e.read_settings(folder, shap_e.Knobs(**{**KNOBS, **knobs}), False)
    state, programs = shap_e.begin(settings, request, folder / "tokenizer", xp), {}
    for one in shap_e.components(settings):
        programs[one.name] = Eager(one.load(folder))
        state = one.advance(state, programs[one.name], xp)
    return shap_e.make_assets(state, settings)["mesh"], state, programs


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("shape"))


def test_a_prompt_makes_a_coloured_mesh(text: Path) -> None:
    mesh, state, programs = made(text, Request("red chair", 1))
    assert len(mesh.faces) > 50 and mesh.colors is not None and mesh.colors.std() > 1
    assert len(programs["prior"].calls) == 5 and programs["prior"].calls[0][0]["x"].shape[0] == 2
    for inputs, _ in programs["prior"].calls:
        assert not inputs["cond"][0].any()
        np.testing.assert_allclose(inputs["cond"][1], np.sqrt(14) * state["vector"][0], rtol=1e-6)
    shown = {"first": state["first"], "rest": state["rest"], "points": np.zeros((1, 700, 3), np.float32)}
    count = min(700, len(mesh.vertices))
    shown["points"][0, :count] = 2 * mesh.vertices[:count]  # colours are asked where the mesh lies in [-1, 1]^3
    found = Eager(programs["color"].component)(shown)["color"][0, :count]
    np.testing.assert_array_equal(mesh.colors[:count], np.rint(255 * found))
    other, *_ = made(text, Request("tall table", 1))
    assert not np.array_equal(other.vertices, mesh.vertices)


def test_a_ball_is_closed_where_it_leaves_the_cube() -> None:
    settings = shap_e.read_settings(WEIGHTS / "Shap-E", shap_e.Knobs(resolution=20, coarse=1, chunk=8000), True)
    declared = {one.name: one for one in shap_e.components(settings)}

    def ball(inputs: Any) -> dict[str, np.ndarray]:
        return {"sdf": 1.2 - np.linalg.norm(inputs["points"], axis=-1, keepdims=True)}

    nothing = {"first": np.zeros(1), "rest": np.zeros(1), "ball": np.asarray(False)}
    state = declared["distance"].advance(nothing, ball, xp)
    edges = np.sort(np.concatenate([state["faces"][:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    assert np.abs(state["vertices"]).max() < 0.5
    # a place of the shelled grid is its index of 22 over the cube: the outermost points asked lie at 1/21 from its face
    inner = np.linalg.norm((state["vertices"] * 21 / 19 * 2), axis=1)
    inside = np.abs(state["vertices"]).max(1) < 0.5 - 1.05 / 21
    np.testing.assert_allclose(inner[inside], 1.2, atol=0.03)


def test_branches_in_one_call_or_in_two_make_the_same_latents(text: Path) -> None:
    _, one, _ = made(text, Request("red chair"))
    _, two, programs = made(text, Request("red chair"), guidance="sequential")
    np.testing.assert_allclose(one["latents"], two["latents"], atol=2e-3)  # a walk multiplies rounding
    assert programs["prior"].calls[0][0]["x"].shape[0] == 1 and len(programs["prior"].calls) == 10
    _, alone, programs = made(text, Request("red chair"), guidance_scale=1.0)
    assert len(programs["prior"].calls) == 5 and not np.allclose(alone["latents"], one["latents"], atol=1e-3)


def test_a_picture_and_its_features_make_the_same_mesh(tmp_path: Path) -> None:
    mesh, state, _ = made(checkpoint(tmp_path / "whole", "image"), Request(image=sample_image(0)))
    bare = checkpoint(tmp_path / "bare", "image", clip=False)
    with pytest.raises(UsageError, match="built without its image encoder"):
        made(bare, Request(image=sample_image(0)))
    again = shap_e.read_settings(bare, shap_e.Knobs(**KNOBS), False)
    assert again.left_out == ("image_encoder",)
    expected = state["grid"][0].T
    with pytest.raises(UsageError, match=r"takes finite numbers \[256, 14\]"):  # without CLIP its grid is ViT-L/14's
        made(bare, Request(features=expected))
    assert len(mesh.faces) > 0


def test_clip_of_the_img2img_folder_is_the_library_s(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "image")
    settings = shap_e.read_settings(folder, shap_e.Knobs(**KNOBS), False)
    (one,) = [one for one in shap_e.components(settings) if one.name == "image_encoder"]
    image = torch.randn(1, 3, 42, 42)
    with torch.no_grad():
        expected = library("vision")(pixel_values=image).last_hidden_state[:, 1:].transpose(1, 2)
        torch.testing.assert_close(one.load(folder).module(image), expected, rtol=1e-4, atol=1e-5)


def test_position_features() -> None:
    found = position_features(torch.tensor([[0.1, -0.5, 0.9]]))
    assert found.shape == (1, 93)
    sines = [np.sin(2.0**k * x) for k in range(15) for x in (0.1, -0.5, 0.9)]
    cosines = [np.cos(2.0**k * x) for k in range(15) for x in (0.1, -0.5, 0.9)]
    np.testing.assert_allclose(found[0], [0.1, -0.5, 0.9, *sines, *cosines], atol=2e-3)


@pytest.mark.parametrize("karras", [True, False])
def test_the_walk(karras: bool) -> None:
    config = Scheduler(
        num_train_timesteps=1024, beta_schedule="exp", prediction_type="sample", use_karras_sigmas=karras
    )
    steps, times = walk(config, 64)
    assert sum(step.calls for step in steps) == 127 and steps[-1].after == 0
    assert next(iter(times.values())) == pytest.approx(1023) and list(times.values())[-1] == pytest.approx(0, abs=1e-6)
    assert all(step.sigma in times and (step.after in times or not step.after) for step in steps)


@pytest.mark.parametrize(
    ("component", "change", "message"),
    [
        ("prior", ("proj_in.bias", None), "missing proj_in.bias"),
        ("prior", ("embedding_proj_norm.weight", torch.ones(14)), r"of pictures \(shap-e-img2img\), and"),
        ("layers", ("mesh_decoder.cases", None), "missing mesh_decoder.cases"),
        ("color", ("mlp.mlp.4.weight", torch.ones(8, 8)), r"mlp.mlp.4.weight has shape \[8, 8\], needs \[8, 59\]"),
        ("distance", ("void.background", torch.full((3,), torch.nan)), "NaN"),
    ],
)
def test_other_tensors_are_refused(
    text: Path, tmp_path: Path, component: str, change: tuple[str, Any], message: str
) -> None:
    settings = shap_e.read_settings(text, shap_e.Knobs(**KNOBS), False)
    part = "prior" if component == "prior" else "shap_e_renderer"
    state = load_file(text / part / "diffusion_pytorch_model.safetensors")
    name, value = change
    state = {k: v for k, v in state.items() if k != name} | ({} if value is None else {name: value})
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=message):
        loading.load_component(component, settings, tmp_path / "w", "stored", loading.Reading())


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("model_index.json", {"_class_name": "PointEPipeline"}, "and ShapEPipeline or ShapEImg2ImgPipeline"),
        ("prior/config.json", {"num_embeddings": 31}, "must be equal, and are 31 and 32"),
        ("prior/config.json", {"additional_embeddings": 4}, "prior.additional_embeddings"),
        ("prior/config.json", {"clip_embed_dim": 4}, "clip_embed_dim=4 is less than embedding_dim=12"),
        ("prior/config.json", {"embedding_proj_dim": 9}, "must be equal, and are 14 and 9"),
        ("shap_e_renderer/config.json", {"d_hidden": 9}, "param_shapes are"),
        ("shap_e_renderer/config.json", {"insert_direction_at": 2}, "insert_direction_at=2"),
        ("scheduler/scheduler_config.json", {"prediction_type": "epsilon"}, "scheduler.prediction_type"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "linear"}, "scheduler.beta_schedule"),
    ],
)
def test_bad_configurations(file: str, change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = checkpoint(tmp_path) / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UsageError, match=message):
        shap_e.read_settings(tmp_path, shap_e.Knobs(), False)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(), "prompt: empty"),
        (Request(image=sample_image(0)), "image: this model makes an asset of a prompt"),
        (Request(features=np.ones(14)), "of length 3.74"),
        (Request(features=np.ones(15)), r"shape \[15\]"),
    ],
)
def test_bad_requests(request_: Request, message: str, text: Path) -> None:
    settings = shap_e.read_settings(text, shap_e.Knobs(), False)
    with pytest.raises(UsageError, match=message):
        shap_e.begin(settings, request_, text / "tokenizer", np)


def test_a_missing_tokenizer_and_defaults(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    (folder / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match=r"tokenizer.json: not found; copy it from openai/clip"):
        shap_e.read_settings(folder, shap_e.Knobs(), False)
    settings = shap_e.read_settings(WEIGHTS / "Shap-E", shap_e.Knobs(), True)
    assert (settings.steps, settings.guidance_scale, settings.batch) == (64, 15, 2)
    assert shap_e.read_settings(WEIGHTS / "Shap-E-img2img", shap_e.Knobs(), True).guidance_scale == 3
    assert with_run_fields(settings, {"steps": "32", "guidance_scale": "4"}).sampler.steps == 32
    with pytest.raises(UsageError, match="steps=1"):
        with_run_fields(settings, {"steps": "1"})


def test_commands(text: Path, tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    """plan, build, run and parity of the tiny checkpoint."""
    path, bundle = recipe(text, tmp_path / "shape-tiny.yaml"), tmp_path / "bundle"
    code, out, err = cli("plan", path, "-t", fast_target, "--json")
    assert code == 0, err
    names = ["text_encoder", "prior", "layers", "distance", "color"]
    assert [row["name"] for row in json.loads(out)["components"]] == names
    code, _, err = cli("build", path, "-t", fast_target, "-o", bundle)
    assert code == 0, err
    asked = ["run", bundle, "--prompt", "red chair", "--seed", "1"]
    code, out, err = cli(*asked, "-o", tmp_path / "a.glb", "--set", "steps=4", "--json")
    assert code == 0, err
    assert json.loads(out)["assets"][0]["faces"] > 10 and (tmp_path / "a.glb").read_bytes()[:4] == b"glTF"
    code, _, err = cli("run", bundle, "-o", tmp_path / "b.glb")
    assert code == 2 and "prompt: empty" in err and not (tmp_path / "b.glb").exists()
    code, out, err = cli("parity", "shap-e", GOLDEN / "sampler", "--json")
    assert code == 0 and json.loads(out)["passed"], err
