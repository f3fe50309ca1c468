"""Bad input: each a clear message with the remedy, its exit code, nothing half-written. One list."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY_RECIPE
from filelock import FileLock
from safetensors.numpy import load_file, save_file

Cli = Callable[..., tuple[int, str, str]]


class Place:
    """A folder with a private copy of the tiny model and its recipe."""

    def __init__(
        self, folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.request = request
        self.weights = Path(shutil.copytree(weights, folder / "weights"))
        self.flow = self.weights / "ckpts" / "ss_flow_tiny.safetensors"
        self.recipe = folder / "recipe.yaml"
        self.recipe.write_text(TINY_RECIPE.format(weights=self.weights))
        self.out = folder / "bundle"

    def build(self, *arguments: str) -> list[str]:
        return ["build", str(self.recipe), "--target", "eager", "-o", str(self.out), *arguments]

    def built(self) -> Path:
        """A bundle of the tiny model, to harm."""
        return Path(shutil.copytree(self.request.getfixturevalue("tiny_bundle"), self.out))

    def edit(self, old: str, new: str) -> None:
        self.recipe.write_text(self.recipe.read_text().replace(old, new))

    def tensors(self, change: Callable[[dict[str, np.ndarray]], object]) -> None:
        state = load_file(self.flow)
        change(state)
        save_file(state, self.flow)


@pytest.fixture
def place(tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Place:
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path, tiny_weights, monkeypatch, request)


def malformed_yaml(p: Place) -> list[str]:
    p.recipe.write_text("name: [1\n")
    return p.build()


def yaml_that_is_a_list(p: Place) -> list[str]:
    p.recipe.write_text("- a\n- b\n")
    return p.build()


def binary_recipe(p: Place) -> list[str]:
    p.recipe.write_bytes(b"\xff\xfe\x00")
    return p.build()


def unknown_key(p: Place) -> list[str]:
    p.edit("summary:", "sumary:")
    return p.build()


def wrong_type(p: Place) -> list[str]:
    p.edit("prompts: [first, second]", "prompts: 3")
    return p.build()


def newer_recipe(p: Place) -> list[str]:
    p.edit("schema: 2", "schema: 3")
    return p.build()


def unknown_recipe(p: Place) -> list[str]:
    return ["build", "trellis-mni", "--target", "eager", "-o", str(p.out)]


def missing_recipe_file(p: Place) -> list[str]:
    return ["build", str(p.folder / "none.yaml"), "--target", "eager", "-o", str(p.out)]


def unknown_target(p: Place) -> list[str]:
    return ["build", str(p.recipe), "--target", "tpuv5e", "-o", str(p.out)]


def unknown_scheme(p: Place) -> list[str]:
    return p.build("components.flow.scheme=int8-dynamik")


def unknown_component(p: Place) -> list[str]:
    return p.build("components.flwo.scheme=fp32")


def unknown_family(p: Place) -> list[str]:
    return p.build("family=treliss")


def refused_scheme(p: Place) -> list[str]:
    return ["build", str(p.recipe), "components.flow.scheme=int8-weight", "-t", "executorch", "-o", str(p.out)]


def scheme_that_matches_nothing(p: Place) -> list[str]:
    return p.build("components.decoder.scheme=int8-dynamic")


def two_recipes(p: Place) -> list[str]:
    return p.build("another")


def override_of_unknown_key(p: Place) -> list[str]:
    return p.build("knobs.sampler.stepz=4")


def override_of_a_key_of_format_1(p: Place) -> list[str]:
    return p.build("sampler.steps=4")


def missing_weights_folder(p: Place) -> list[str]:
    shutil.rmtree(p.weights)
    return p.build()


def missing_weights_file(p: Place) -> list[str]:
    p.flow.unlink()
    return p.build()


def missing_network_configuration(p: Place) -> list[str]:
    p.flow.with_suffix(".json").unlink()
    return p.build()


def damaged_pipeline_json(p: Place) -> list[str]:
    (p.weights / "pipeline.json").write_text('{"args": {}}')
    return p.build()


def truncated_weights(p: Place) -> list[str]:
    p.flow.write_bytes(p.flow.read_bytes()[:-1000])
    return p.build()


def wrong_shape(p: Place) -> list[str]:
    p.tensors(lambda state: state.update({"out_layer.bias": np.zeros(9, np.float32)}))
    return p.build()


def missing_tensor(p: Place) -> list[str]:
    p.tensors(lambda state: state.pop("pos_emb"))
    return p.build()


def unexpected_tensor(p: Place) -> list[str]:
    p.tensors(lambda state: state.update({"extra.bias": np.zeros(1, np.float32)}))
    return p.build()


def nan_weights(p: Place) -> list[str]:
    p.tensors(lambda state: state["out_layer.bias"].fill(np.nan))
    return p.build()


def pickle_as_weights(p: Place) -> list[str]:
    import torch

    p.flow.unlink()
    torch.save({"a": torch.zeros(1)}, p.flow.with_suffix(".pt"))
    return p.build()


def pickle_with_code(p: Place) -> list[str]:
    p.flow.unlink()
    p.flow.with_suffix(".pt").write_bytes(pickle.dumps(print))
    return p.build("--allow-pickle")


def pickle_of_something_else(p: Place) -> list[str]:
    import torch

    p.flow.unlink()
    torch.save({"epoch": 3}, p.flow.with_suffix(".pt"))
    return p.build("--allow-pickle")


def git_lfs_pointer(p: Place) -> list[str]:
    p.flow.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n")
    return p.build()


def prefixed_names(p: Place) -> list[str]:
    save_file({f"module.{name}": value for name, value in load_file(p.flow).items()}, p.flow)
    return p.build()


def integer_weights(p: Place) -> list[str]:
    p.tensors(lambda state: state.update({"out_layer.bias": np.zeros(8, np.int64)}))
    return p.build()


def unimplemented_option(p: Place) -> list[str]:
    path = p.flow.with_suffix(".json")
    config = json.loads(path.read_text())
    config["args"]["pe_mode"] = "rope"
    path.write_text(json.dumps(config))
    return p.build()


def output_is_a_file(p: Place) -> list[str]:
    p.out.write_text("precious")
    return p.build()


def output_in_a_file(p: Place) -> list[str]:
    (p.folder / "file").write_text("x")
    return ["build", str(p.recipe), "--target", "eager", "-o", str(p.folder / "file" / "bundle")]


def not_a_bundle(p: Place) -> list[str]:
    return ["run", str(p.weights), "--prompt", "a chair"]


def unknown_asset_format(p: Place) -> list[str]:
    return ["run", str(p.weights), "--prompt", "a chair", "-o", str(p.folder / "a.fbx")]


def unknown_list(p: Place) -> list[str]:
    return ["ls", "recipe"]


def unknown_document(p: Place) -> list[str]:
    return ["show", "trellis-minny"]


def copy_over_a_file(p: Place) -> list[str]:
    return ["cp", "trellis-mini", str(p.recipe)]


def parity_of_unknown_family(p: Place) -> list[str]:
    return ["parity", "treliss", str(p.weights)]


def parity_of_another_folder(p: Place) -> list[str]:
    return ["parity", "trellis", str(p.weights)]


def tampered_bundle(p: Place) -> list[str]:
    path = p.built() / "programs" / "flow.pt2"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return ["validate", str(p.out)]


def truncated_bundle(p: Place) -> list[str]:
    path = p.built() / "programs" / "flow.pt2"
    path.write_bytes(path.read_bytes()[:-100])
    return ["validate", str(p.out)]


def bundle_of_a_newer_schema(p: Place) -> list[str]:
    path = p.built() / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    return ["validate", str(p.out)]


def _disk_refuses(p: Place, number: int) -> list[str]:
    from gen3dexport import build as module

    def refuse(*arguments: object) -> None:
        raise OSError(number, os.strerror(number), str(p.out))

    p.monkeypatch.setattr(module, "write_manifest", refuse)
    return p.build()


def full_disk(p: Place) -> list[str]:
    return _disk_refuses(p, errno.ENOSPC)


def read_only_disk(p: Place) -> list[str]:
    return _disk_refuses(p, errno.EROFS)


def interrupted_build(p: Place) -> list[str]:
    from gen3dexport.backends import eager

    lower = eager.lower

    def interrupted(captured: Any, options: Any, out: Path) -> Any:
        if captured.component.name == "decoder":
            os.kill(os.getpid(), signal.SIGINT)
        return lower(captured, options, out)

    p.monkeypatch.setenv("GEN3DEXPORT_CACHE", os.environ["GEN3DEXPORT_CACHE"] + "-interrupted")
    p.monkeypatch.setattr(eager, "lower", interrupted)
    return p.build()


def two_builds_at_once(p: Place) -> list[str]:
    lock = FileLock(p.out.parent / f".{p.out.name}.lock")
    lock.acquire()
    p.monkeypatch.setattr(p, "lock", lock, raising=False)  # held until the test ends
    return p.build()


def _prompting(p: Place, prompt: str) -> list[str]:
    """A run of a bundle that takes prompts."""
    bundle = p.request.getfixturevalue("prompted")
    return ["run", str(bundle), "--prompt", prompt, "-o", str(p.folder / "asset.glb")]


def empty_prompt(p: Place) -> list[str]:
    return _prompting(p, "   ")


def too_long_prompt(p: Place) -> list[str]:
    return _prompting(p, "a very long chair " * 40)


def unwritable_asset(p: Place) -> list[str]:
    (p.folder / "file").write_text("x")
    return ["run", str(p.built()), "-o", str(p.folder / "file" / "asset.glb")]


CASES: dict[Callable[[Place], list[str]], tuple[int, str]] = {
    malformed_yaml: (2, "not valid YAML"),
    yaml_that_is_a_list: (2, "`key: value`"),
    binary_recipe: (2, "UTF-8"),
    unknown_key: (2, "did you mean 'summary'?"),
    wrong_type: (2, "golden.prompts"),
    newer_recipe: (2, "schema"),
    unknown_recipe: (2, "did you mean 'trellis-mini'?"),
    missing_recipe_file: (2, "not found"),
    unknown_target: (2, "did you mean 'tpu-v5e'?"),
    unknown_scheme: (2, "did you mean 'int8-dynamic'?"),
    unknown_component: (2, "did you mean 'flow'?"),
    unknown_family: (2, "did you mean 'trellis'?"),
    refused_scheme: (2, "is refused"),
    scheme_that_matches_nothing: (2, "use scheme fp32"),
    two_recipes: (2, "one recipe at a time"),
    override_of_unknown_key: (2, "did you mean 'steps'?"),
    override_of_a_key_of_format_1: (2, "this format has it as knobs.sampler"),
    missing_weights_folder: (2, "weights=FOLDER"),
    missing_weights_file: (2, "weights not found"),
    missing_network_configuration: (2, "not found"),
    damaged_pipeline_json: (2, "not in the released layout"),
    truncated_weights: (2, "copy it again"),
    wrong_shape: (2, "needs [8]"),
    missing_tensor: (2, "missing pos_emb"),
    unexpected_tensor: (2, "unexpected extra.bias"),
    nan_weights: (2, "NaN"),
    pickle_as_weights: (2, "convert"),
    pickle_with_code: (2, "safetensors"),
    pickle_of_something_else: (2, "state dict"),
    git_lfs_pointer: (2, "run `git lfs pull`"),
    prefixed_names: (2, "`strip_prefix: module.`"),
    integer_weights: (2, "out_layer.bias has numbers of type int64"),
    unimplemented_option: (2, "pe_mode='rope' is not implemented"),
    output_is_a_file: (2, "is not a bundle"),
    output_in_a_file: (2, "file"),
    not_a_bundle: (2, "not a bundle"),
    unknown_asset_format: (2, ".glb"),
    tampered_bundle: (7, "SHA-256 differs"),
    truncated_bundle: (7, "the manifest says"),
    bundle_of_a_newer_schema: (7, "upgrade gen3dexport"),
    full_disk: (2, "the disk is full"),
    read_only_disk: (2, "cannot be written"),
    interrupted_build: (130, "stage cache"),
    two_builds_at_once: (2, "another build is writing this bundle"),
    empty_prompt: (2, "empty"),
    too_long_prompt: (2, "shorten it"),
    unwritable_asset: (2, "name an output in a folder"),
    unknown_list: (2, "did you mean 'recipes'?"),
    unknown_document: (2, "did you mean 'trellis-mini'?"),
    copy_over_a_file: (2, "exists"),
    parity_of_unknown_family: (2, "did you mean 'trellis'?"),
    parity_of_another_folder: (2, "golden folder"),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_bad_input(case: Callable[[Place], list[str]], place: Place, cli: Cli) -> None:
    code, message = CASES[case]
    arguments = case(place)
    before = sorted(str(f) for f in place.folder.rglob("*") if not f.name.endswith(".lock"))
    found, _, error = cli(*arguments)
    assert found == code, error
    assert message in error, error
    assert "Traceback" not in error
    after = sorted(str(f) for f in place.folder.rglob("*") if not f.name.endswith(".lock"))
    assert after == before, "something half-written was left"


def test_errors_are_json_too(cli: Cli) -> None:
    code, out, _ = cli("show", "nothing", "--json")
    assert code == 2
    assert json.loads(out)["error"] == "UsageError"


def test_a_pickle_is_read_when_it_is_allowed(place: Place, tiny_bundle: Path, cli: Cli) -> None:
    import torch

    torch.save({k: torch.from_numpy(v) for k, v in load_file(place.flow).items()}, place.flow.with_suffix(".pt"))
    place.flow.unlink()
    code, _, error = cli(*place.build("--allow-pickle", "--skip-validation"))
    assert code == 0, error
    assert _made(place.out) == _made(tiny_bundle)


def _made(bundle: Path) -> dict[str, Any]:
    """Digests of a bundle's programs and golden data: these hold every weight and what the network makes of them."""
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    return {name: file for name, file in files.items() if name.startswith(("programs/", "golden/"))}


def test_shards_with_a_prefix_are_read_when_the_recipe_names_it(place: Place, cli: Cli) -> None:
    state = {f"module.{name}": value for name, value in load_file(place.flow).items()}
    first = {name: value for name, value in state.items() if ".blocks.0." in name}
    rest = {name: value for name, value in state.items() if name not in first}
    places = {}
    for number, part in enumerate((first, rest), 1):
        name = f"{place.flow.stem}-0000{number}-of-00002.safetensors"
        save_file(part, place.flow.with_name(name))
        places |= dict.fromkeys(part, name)
    place.flow.with_name(f"{place.flow.name}.index.json").write_text(json.dumps({"weight_map": places}))
    place.flow.unlink()
    code, _, error = cli(*place.build("strip_prefix=module.", "--skip-validation"))
    assert code == 0, error


def _another_size(place: Place) -> None:
    path = place.weights / "ckpts" / "ss_dec_tiny.json"
    config = json.loads(path.read_text())
    config["args"]["num_res_blocks"] += 1
    path.write_text(json.dumps(config))


def _truncated(place: Place) -> None:
    path = place.weights / "ckpts" / "ss_dec_tiny.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def _other_names(place: Place) -> None:
    path = place.weights / "ckpts" / "ss_dec_tiny.safetensors"
    save_file({f"module.{name}": value for name, value in load_file(path).items()}, path)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_another_size, "does not fit the network"),
        (_truncated, "safetensors cannot read it"),
        (_other_names, "strip_prefix: module."),
    ],
)
def test_a_later_component_is_checked_before_the_first_is_worked_on(
    harm: Callable[[Place], None], words: str, place: Place, cli: Cli
) -> None:
    harm(place)
    flow = place.weights / "ckpts" / "ss_flow_tiny.json"
    flow.write_text(json.dumps(json.loads(flow.read_text()) | {"name": "NoNetwork"}))
    code, _, error = cli(*place.build())
    assert code == 2 and "network class 'NoNetwork': unknown" in error and words in error, error
    assert "observe" not in error
