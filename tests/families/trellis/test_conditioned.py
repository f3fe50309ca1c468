"""Pipelines with an encoder of their own, tiny: image and prompt to an asset, and the cache of conditions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_encoders
from conftest import TINY_RECIPE
from PIL import Image
from safetensors.numpy import load_file

from gen3dexport.assets import mesh_files as assets
from gen3dexport.bundle.manifest import read_manifest
from gen3dexport.errors import MissingError, UsageError
from gen3dexport.models.image_preparation import sample_image
from gen3dexport.plan import make_plan, read_recipe, read_target
from gen3dexport.runtime import condition_cache, load
from gen3dexport.runtime.condition_cache import ConditionCache

Cli = Callable[..., tuple[int, str, str]]

KINDS = {"image": ("dinov2", "image_cond_model", "dinov2_vitl14_reg"), "text": ("clip", "text_cond_model", "")}
COMPONENTS = {"image": ("image_encoder", "flow", "decoder"), "text": ("text_encoder", "flow", "decoder")}


def _named(folder: Path, kind: str) -> Path:
    """The tiny weights' `pipeline.json` with an encoder's name in it; returns where the encoder belongs."""
    path = folder / "pipeline.json"
    pipeline = json.loads(path.read_text())
    _, key, name = KINDS[kind]
    pipeline["args"][key] = name or "openai/clip-vit-large-patch14"
    path.write_text(json.dumps(pipeline))
    return folder / "encoders" / (name or "clip-vit-large-patch14")


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def weights(kind: str, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny weights with an encoder."""
    folder = Path(shutil.copytree(tiny_weights, tmp_path_factory.mktemp(kind) / "weights"))
    tiny_encoders.write(_named(folder, kind), KINDS[kind][0])
    return folder


@pytest.fixture(scope="module")
def built(kind: str, weights: Path, validated: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of it for the eager target, validated; a validation runs the encoder."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEN3DEXPORT_CACHE", str(cache))
        made = validated(TINY_RECIPE.format(weights=weights).replace("first, second", "a red chair, a tall table"))
    assert not (cache / "conditions").exists()
    return made


@pytest.fixture
def asked(kind: str, tmp_path: Path) -> tuple[str | Path, ...]:
    """Options of `run` that say what to make."""
    if kind == "text":
        return ("--prompt", "a round chair")
    Image.fromarray(sample_image(5, 100)).save(tmp_path / "ball.png")
    return ("--image", tmp_path / "ball.png")


def test_the_encoder_is_a_component_like_the_others(kind: str, built: Path) -> None:
    manifest = read_manifest(built)
    assert manifest.components == COMPONENTS[kind]
    encoder = manifest.component(COMPONENTS[kind][0])
    assert list(encoder.inputs) == ["image" if kind == "image" else "ids"]
    assert encoder.outputs["features"].shape == (1, 11, 48)
    assert manifest.calls == {COMPONENTS[kind][0]: 1 if kind == "image" else 2, "flow": 8, "decoder": 1}
    assert (built / "host" / "tokenizer.json").is_file() == (kind == "text")
    report = json.loads((built / "report.json").read_text())
    assert report["verdict"] == "pass"
    scores = [q["scores"]["voxels"][0] for q in report["pipeline"]["quality"]]
    assert [(s["name"], round(s["value"], 2)) for s in scores] == [("iou", 1.0)] * 2


def test_run_makes_an_asset_and_the_second_time_without_the_encoder(
    kind: str, built: Path, asked: tuple[str | Path, ...], tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(tmp_path / "cache"))
    name, branches = COMPONENTS[kind][0], 1 if kind == "image" else 2
    made = []
    for number, calls in enumerate((branches, 0)):
        out = tmp_path / f"{number}.glb"
        code, text, error = cli("run", built, *asked, "-o", out, "--json")
        assert code == 0, error
        assert json.loads(text)["encoder"] == {name: {"calls": calls, "cached": branches - calls}}
        made.append(assets.read(out))
    np.testing.assert_array_equal(made[0].vertices, made[1].vertices)
    assert len(list((tmp_path / "cache" / "conditions").glob("*.safetensors"))) == branches
    code, text, error = cli("run", built, *asked, "-o", tmp_path / "2.glb", "--json", "--no-cache")
    assert code == 0, error
    assert json.loads(text)["encoder"] == {}
    np.testing.assert_array_equal(assets.read(tmp_path / "2.glb").vertices, made[0].vertices)


def test_a_cached_encoder_is_not_even_loaded(kind: str, built: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"image": sample_image(1)} if kind == "image" else {"prompt": "a table"}
    load(built, conditions=tmp_path).generate_assets(**given)
    again = load(built, conditions=tmp_path)
    again.load_programs()
    again.generate_assets(**given)
    assert set(again.programs) == {"flow", "decoder"}
    other: dict[str, Any] = {"image": sample_image(2)} if kind == "image" else {"prompt": "a chair"}
    again.generate_assets(**other)
    assert set(again.programs) == set(COMPONENTS[kind])
    assert again.encoders[COMPONENTS[kind][0]].calls == 1  # the empty prompt is still there


def test_a_loaded_bundle_remembers_the_last_conditions(kind: str, built: Path) -> None:
    first: dict[str, Any] = {"image": sample_image(1)} if kind == "image" else {"prompt": "a table"}
    other: dict[str, Any] = {"image": sample_image(2)} if kind == "image" else {"prompt": "a chair"}
    remembering, always = load(built), load(built, remember=False)
    for asset, calls in ((first, 1 if kind == "image" else 2), (other, 1), (first, 0)):
        encoder = remembering.encoders[COMPONENTS[kind][0]]
        before = encoder.calls
        found, expected = (loaded.generate_assets(**asset)["mesh"] for loaded in (remembering, always))
        np.testing.assert_array_equal(found.vertices, expected.vertices)
        assert encoder.calls - before == calls
    assert always.encoders == {}


def test_damaged_entries_are_made_anew(kind: str, built: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"image": sample_image(1)} if kind == "image" else {"prompt": "a table"}
    load(built, conditions=tmp_path).generate_assets(**given)
    entries = sorted(tmp_path.glob("*.safetensors"))
    before = [load_file(entry)["features"] for entry in entries]
    for damage in (lambda b: b[:-20], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b""):
        for entry in entries:
            entry.write_bytes(damage(entry.read_bytes()))
        loaded = load(built, conditions=tmp_path)
        loaded.generate_assets(**given)
        assert loaded.encoders[COMPONENTS[kind][0]].calls == len(entries)
        for entry, expected in zip(entries, before, strict=True):
            np.testing.assert_allclose(load_file(entry)["features"], expected, atol=1e-6)


def test_what_does_not_fit_is_refused(
    kind: str, built: Path, asked: tuple[str | Path, ...], tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "no.png").write_text("no picture")
    Image.new("RGB", (30, 30)).save(tmp_path / "opaque.png")
    wrong = {
        "image": [
            (("--prompt", "a chair"), "give it one (--image FILE)"),
            ((*asked, "--prompt", "a"), "leave --prompt"),
        ],
        "text": [((), "prompt: empty"), (("--image", tmp_path / "opaque.png"), "give it a prompt, no image")],
    }[kind]
    for options, message in [*wrong, (("--image", tmp_path / "no.png"), "not a readable image")]:
        code, _, error = cli("run", built, *options, "-o", tmp_path / "asset.glb")
        assert code == UsageError.exit_code, error
        assert message in error
    if kind == "image":
        code, _, error = cli("run", built, "--image", tmp_path / "opaque.png", "-o", tmp_path / "asset.glb")
        assert code == MissingError.exit_code
        assert "gen3dexport[background]" in error


def test_given_features_still_work(kind: str, built: Path, tmp_path: Path, cli: Cli) -> None:
    shape = (2, 11, 48) if kind == "text" else (11, 48)
    np.save(tmp_path / "features.npy", np.random.default_rng(7).standard_normal(shape, dtype=np.float32))
    code, _, error = cli("run", built, "--features", tmp_path / "features.npy", "-o", tmp_path / "asset.glb")
    assert code == 0, error


def test_an_encoder_that_is_not_there_is_left_out(
    kind: str, tiny_weights: Path, weights: Path, tmp_path: Path, cli: Cli
) -> None:
    """And a recipe may still speak of it; with random weights it is built at its released size."""
    bare = Path(shutil.copytree(tiny_weights, tmp_path / "bare"))
    place, name = _named(bare, kind), COMPONENTS[kind][0]
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(TINY_RECIPE.format(weights=bare) + f"components: {{{name}: {{scheme: fp32}}}}\n")

    def names(*overrides: str) -> list[str]:
        target = read_target("eager")
        return list(make_plan(read_recipe(str(recipe), target, overrides), target).declared)

    assert names() == ["flow", "decoder"]
    elsewhere = weights / place.relative_to(bare)
    assert names(f"knobs.encoder={elsewhere}") == list(COMPONENTS[kind])
    code, out, error = cli("plan", recipe, f"knobs.encoder={elsewhere}", "-t", "eager", "--json")
    assert code == 0, error
    assert [row["name"] for row in json.loads(out)["components"]] == list(COMPONENTS[kind])
    code, _, error = cli("plan", recipe, "random_weights=true", "-t", "eager")
    assert code == UsageError.exit_code
    assert "and the flow takes 48" in error
    code, _, error = cli("build", recipe, "-t", "eager", "-o", tmp_path / "b", "--skip-validation")
    assert code == 0, error
    code, _, error = cli("run", tmp_path / "b", "--prompt", "a chair", "-o", tmp_path / "asset.glb")
    assert code == UsageError.exit_code
    assert f"built without its {name}" in error and "--features" in error
    assert names("knobs.encoder=none", f"weights={weights}") == ["flow", "decoder"]


def test_random_weights_need_no_tokenizer(kind: str, weights: Path, tmp_path: Path, cli: Cli) -> None:
    shapes = Path(shutil.copytree(weights, tmp_path / "shapes"))
    for path in (*shapes.glob("encoders/*/*.safetensors"), *shapes.glob("encoders/*/tokenizer.json")):
        path.unlink()
    (tmp_path / "tiny.yaml").write_text(TINY_RECIPE.format(weights=shapes))
    arguments = ("build", tmp_path / "tiny.yaml", "-t", "eager", "-o", tmp_path / "b", "--skip-validation")
    assert cli(*arguments)[0] == UsageError.exit_code
    code, _, error = cli(*arguments, "--random-weights", "golden.assets=false")
    assert code == 0, error
    assert read_manifest(tmp_path / "b").components == COMPONENTS[kind]


def test_the_cache_keeps_to_its_size(tmp_path: Path) -> None:
    array = {"features": np.zeros(1000, np.float32)}
    cache = ConditionCache(tmp_path, most_bytes=38_000)  # nine entries of 4 kB and their heads
    for key in "abcdefghi":
        cache.store(key, array)
    assert cache.find("a") is not None  # used again: the oldest is now b
    cache.store("j", array)
    assert [cache.find(key) is not None for key in "abcj"] == [True, False, True, True]
    cache.store("k", {"features": np.zeros(2000, np.float32)})  # more than an eighth of it
    assert cache.find("k") is None and cache.find("j") is not None
    assert [p.name for p in tmp_path.glob(".*")] == [".lock"]


def test_a_folder_that_cannot_be_written_stops_no_asset(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = ConditionCache(tmp_path / "file")
    with pytest.warns(UserWarning, match="cannot be kept"):
        cache.store("a", {"features": np.zeros(3, np.float32)})
    assert cache.find("a") is None


def test_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(tmp_path))
    assert condition_cache.folder() == tmp_path / "conditions"
