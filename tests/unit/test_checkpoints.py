"""Weights as trainers and mirrors write them: shards, pickles, prefixes, Git LFS pointers; read whole or refused."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gen3dexport.documents.json_file import read_json
from gen3dexport.errors import UsageError
from gen3dexport.models.weights import files_of
from gen3dexport.networks.checkpoints import headers_alone, load_strictly, read_weights

State = dict[str, Tensor]


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


@pytest.fixture
def state() -> State:
    torch.manual_seed(0)
    return dict(_network().state_dict())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.safetensors"


def _same(found: State, expected: State) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[k], expected[k]) for k in expected)


def _write_shards(path: Path, state: State) -> list[Path]:
    shards = [path.with_name(f"net-0000{number}-of-00002.safetensors") for number in (1, 2)]
    parts = ({k: v for k, v in state.items() if k.startswith(start)} for start in ("0.", "1."))
    for shard, part in zip(shards, parts, strict=True):
        save_file(part, shard)
    places = {k: shards[int(k[0])].name for k in state}
    path.with_name("net.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return shards


def test_shards_are_read_as_one_file(path: Path, state: State) -> None:
    shards = _write_shards(path, state)
    assert _same(read_weights(path), state)
    assert files_of(path.with_suffix("")) == sorted([*shards, path.with_name("net.safetensors.index.json")])


@pytest.mark.parametrize("how", ["safetensors", "shards", "pickle"])
def test_headers_alone_have_names_shapes_and_types(how: str, path: Path, state: State) -> None:
    state |= {"0.steps": torch.tensor(3), "1.half": torch.full((2, 0, 5), torch.nan, dtype=torch.bfloat16)}
    state["0.weight"][:] = torch.nan  # values are looked at when they are read
    if how == "shards":
        _write_shards(path, state)
    elif how == "pickle":
        torch.save(state, path.with_suffix(".pt"))
    else:
        save_file(state, path)
    with headers_alone():
        found = read_weights(path, allow_pickle=True)
        network = load_strictly(_network(), {k: v for k, v in found.items() if k in _network().state_dict()}, "here")
    assert all(parameter.is_meta for parameter in network.parameters())
    kinds = {k: torch.float32 if v.is_floating_point() else v.dtype for k, v in state.items()}
    assert {k: (v.shape, v.dtype, v.is_meta) for k, v in found.items()} == {
        k: (v.shape, kinds[k], True) for k, v in state.items()
    }
    with pytest.raises(UsageError, match="NaN"):
        read_weights(path, allow_pickle=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda path, shards: shards[1].unlink(),
            r"1 of its 2 shards are missing: net-00002-of-00002.saf.*; copy",
        ),
        (lambda path, shards: save_file({"0.bias": torch.zeros(4)}, shards[0]), "has no tensor 0.weight, which net"),
        (
            lambda path, shards: path.with_name(f"{path.name}.index.json").unlink(),
            "copy net.saf.*.index.json too",
        ),
        (
            lambda path, shards: shards[0].write_bytes(shards[0].read_bytes()[:-4]),
            "00001-of.* cannot read it .*copy",
        ),
        (lambda path, shards: _index(path, {"0.bias": "../net.safetensors"}), "not a file of its own folder"),
        (lambda path, shards: _index(path, {"0.bias": 1}), "weight_map: needs a shard's name"),
        (lambda path, shards: _index(path, []), "weight_map: needs a shard's name"),
        (lambda path, shards: _index(path, {"0.bias": ""}), "'' is not a file of its own folder"),
    ],
    ids=["missing", "tensor", "index", "truncated", "outside", "number", "list", "no name"],
)
def test_damaged_shards(path: Path, state: State, damage: Callable[[Path, list[Path]], Any], message: str) -> None:
    damage(path, _write_shards(path, state))
    with pytest.raises(UsageError, match=message):
        read_weights(path)


def _index(path: Path, places: Any) -> None:
    path.with_name(f"{path.name}.index.json").write_text(json.dumps({"weight_map": places}))


@pytest.mark.parametrize("name", ["net.safetensors", "net.ckpt", "net-00001-of-00002.safetensors"])
def test_git_lfs_pointers_are_named(path: Path, state: State, name: str) -> None:
    if "-of-" in name:
        _write_shards(path, state)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n"
    path.with_name(name).write_text(pointer)
    with pytest.raises(UsageError, match=rf"{name}: a Git LFS pointer.*run `git lfs pull`"):
        read_weights(path)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_base_models.generator."])
def test_a_prefix_of_all_names_is_named_and_taken_off(path: Path, state: State, prefix: str) -> None:
    save_file({prefix + k: v for k, v in state.items()}, path)
    with pytest.raises(UsageError, match=rf"net: all names .* begin with '{prefix}'.*`strip_prefix: {prefix}`"):
        load_strictly(_network(), read_weights(path), "net")
    for written in (prefix, prefix.removesuffix(".")):
        module = load_strictly(_network(), read_weights(path, strip_prefix=written), "net")
        assert _same(module.state_dict(), state)


def test_a_file_without_the_prefix_keeps_its_names(path: Path, state: State) -> None:
    save_file(state, path)
    assert _same(read_weights(path, strip_prefix="module."), state)


def test_a_prefix_of_some_names_is_refused(path: Path, state: State) -> None:
    save_file({**{f"module.{k}": v for k, v in state.items()}, "ema.0.bias": torch.zeros(4)}, path)
    with pytest.raises(UsageError, match=r"strip_prefix: 4 of 5 .*'module.', and ema.0.bias does not"):
        read_weights(path, strip_prefix="module.")


def test_names_that_the_network_has_anyway_are_no_prefix(state: State) -> None:
    """One missing tensor leaves names that all begin with `0.`, as the network's do."""
    with pytest.raises(UsageError, match=r"missing 1.bias; missing 1.weight$"):
        load_strictly(_network(), {k: v for k, v in state.items() if k.startswith("0.")}, "net")


@pytest.mark.parametrize("wrap", ["model", "state_dict", None])
def test_a_pickle_gives_the_one_state_dict_that_it_holds(path: Path, state: State, wrap: str | None) -> None:
    torch.save({wrap: state, "step": 7, "optimizer": {"state": {}}} if wrap else state, path.with_suffix(".pt"))
    with pytest.raises(UsageError, match="--allow-pickle"):
        read_weights(path)
    assert _same(read_weights(path, allow_pickle=True), state)


def test_a_pickle_with_two_state_dicts_names_both(path: Path, state: State) -> None:
    torch.save({"model": state, "ema": state}, path.with_suffix(".pt"))
    with pytest.raises(UsageError, match=r"(?s)2 state dicts \('model', 'ema'\).*save_file.*\['model'\]") as error:
        read_weights(path, allow_pickle=True)
    assert "\n  python -c" in str(error.value)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (torch.int64, "0.bias has numbers of type int64, needs float32"),
        (torch.bool, "0.bias has numbers of type bool, needs float32"),
        (torch.complex64, "0.bias has numbers of type complex64, needs float32"),
    ],
)
def test_numbers_of_another_kind_are_refused(path: Path, state: State, dtype: torch.dtype, message: str) -> None:
    save_file({**state, "0.bias": state["0.bias"].to(dtype)}, path)
    with pytest.raises(UsageError, match=message):
        load_strictly(_network(), read_weights(path), "net")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_become_float32(path: Path, state: State, dtype: torch.dtype) -> None:
    save_file({k: v.to(dtype) for k, v in state.items()}, path)
    assert {v.dtype for v in read_weights(path).values()} == {torch.float32}


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_file_is_not_waited_for(path: Path, name: str, kind: str) -> None:
    place = path.with_name(name)
    {"folder": place.mkdir, "pipe": lambda: os.mkfifo(place), "device": lambda: place.symlink_to("/dev/zero")}[kind]()
    with pytest.raises(UsageError, match=f"{name}: a folder, a pipe or a device, and no file; put the weights there"):
        read_weights(path, allow_pickle=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with b''"),
        (b"<html>not found</html>", "begins with b'<htm', as no file of torch.save does"),
        ("weights".encode("utf-16"), "begins with "),
        (b"PK\x03\x04" + b"\0" * 50, "torch cannot read tensors alone from it"),
        (b"\x80\x02" + b"\0" * 50, "torch cannot read tensors alone from it"),
    ],
)
def test_what_is_no_pickle_is_told(path: Path, content: bytes, message: str) -> None:
    path.with_suffix(".pt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_weights(path, allow_pickle=True)


@pytest.mark.parametrize("held", [Path("a"), threading.Lock], ids=["library", "builtin"])
def test_what_a_pickle_would_run_is_named_and_not_advised(path: Path, held: Any) -> None:
    torch.save({"model": held}, path.with_suffix(".pt"))
    with pytest.raises(UsageError, match=r"tensors alone from it \(.*(pathlib|thread).*ask its maker") as error:
        read_weights(path, allow_pickle=True)
    assert "weights_only" not in str(error.value) and "safe_globals" not in str(error.value)


def test_a_configuration_may_be_a_pointer_too(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n")
    with pytest.raises(UsageError, match=r"config\.json: a Git LFS pointer"):
        read_json(tmp_path / "config.json", "a configuration")
