"""Weights of a network: read from safetensors (or a pickle, on demand), checked, and loaded strictly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from gen3dexport.documents.git_lfs import refuse_pointer
from gen3dexport.errors import UsageError
from gen3dexport.networks.shards import index_of, read_index

_ADVICE = ("Weights only load failed", "Check the documentation")
_PICKLES = (".pt", ".pth", ".ckpt", ".bin")
_BEGINNINGS = (b"PK\x03\x04", b"\x80")  # what files of torch.save begin with
_headers_alone: ContextVar[bool] = ContextVar("headers_alone", default=False)


@contextmanager
def headers_alone() -> Iterator[None]:
    """While networks are made on the meta device, and weights are read as names, shapes and types without values.

    Whether all checkpoints of a pipeline fit their networks is known so before gigabytes of the first one are read.
    """
    token = _headers_alone.set(True)
    try:
        with torch.device("meta"):
            yield
    finally:
        _headers_alone.reset(token)


def read_weights(path: Path, allow_pickle: bool = False, strip_prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of the shards that `PATH.index.json` names; floats as float32.

    Args:
        allow_pickle: where there is only a pickle beside it (.pt, .pth, .ckpt, .bin), read that, tensors only.
        strip_prefix: taken off the names of a file where all begin with it; other files keep theirs.

    Raises:
        UsageError: when a file is missing, truncated, a pickle, a Git LFS pointer, or holds values that are not finite.
    """
    pickles = [p for suffix in _PICKLES if (p := path.with_suffix(suffix)).exists()]
    if path.exists():
        state = _read_file(path)
    elif index_of(path).exists():
        state = _read_shards(index_of(path))
    elif not pickles:
        shards = sorted(path.parent.glob(f"{path.stem}-*-of-*.safetensors"))
        here = f" (only shards of it; copy {index_of(path).name} too)" if shards else ""
        raise UsageError(
            f"{path}: weights not found{here}; name the folder of the checkpoint with weights=FOLDER, or build for "
            "sizing with --random-weights"
        )
    else:
        state = _read_pickle(pickles[0], path, allow_pickle)
    state = _stripped(state, strip_prefix, path)
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    refuse_not_finite(state, str(path))
    return state


def refuse_not_finite(state: Mapping[str, Tensor], where: str) -> None:
    """Raises UsageError where a tensor holds NaN or infinity."""
    known = {} if _headers_alone.get() else state
    bad = [k for k, v in known.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        raise UsageError(
            f"{where}: {len(bad)} tensors hold NaN or infinity, first {bad[0]}; the checkpoint is damaged, copy it "
            "again"
        )


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        _refuse_what_is_no_weights(path)
        return _read_header(path) if _headers_alone.get() else dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path}: safetensors cannot read it ({error}); copy it again") from error


def _read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of a file without their values."""
    found = {}
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118, it is no mapping
            part = file.get_slice(name)
            shape = part.get_shape()
            kind = (part[:0] if shape else file.get_tensor(name)).dtype
            found[name] = torch.empty(shape, dtype=kind, device="meta")
    return found


def _read_shards(index: Path) -> dict[str, Tensor]:
    """The tensors that an index names, from their shards."""
    state: dict[str, Tensor] = {}
    for shard, names in read_index(index).items():
        tensors = _read_file(shard)
        if absent := [name for name in names if name not in tensors]:
            raise UsageError(f"{shard}: has no tensor {absent[0]}, which {index.name} says it has; copy both again")
        state |= {name: tensors[name] for name in names}
    return state


def _refuse_what_is_no_weights(path: Path) -> None:
    if not path.is_file():  # a pipe or a device may give no end
        raise UsageError(f"{path}: a folder, a pipe or a device, and no file; put the weights there")
    refuse_pointer(path)


def _read_pickle(path: Path, wanted: Path, allowed: bool) -> dict[str, Tensor]:
    """The tensors of a pickled state dict, read without running its code.

    Args:
        wanted: the safetensors file that is not there.
    """
    try:
        _refuse_what_is_no_weights(path)
        with path.open("rb") as file:
            begins = file.read(4)
        if not begins.startswith(_BEGINNINGS):
            raise UsageError(
                f"{path}: begins with {begins!r}, as no file of torch.save does; copy it again, or download it anew"
            )
        if not allowed:
            raise UsageError(
                f"{path}: a pickle can run code when it is opened, and is not read; convert it once with:\n"
                f'  python -c "import torch, safetensors.torch as s; '
                f"s.save_file(torch.load('{path}', weights_only=True), '{wanted}')\"\n"
                "  (of a state dict inside a larger one: torch.load(...)['ITS NAME'])\n"
                "  or let this build read its tensors, and nothing else, with --allow-pickle"
            )
        where = "meta" if _headers_alone.get() else "cpu"
        found = torch.load(path, map_location=where, weights_only=True)
    except UsageError:
        raise
    except Exception as error:  # torch and pickle raise many types on what is no pickle of tensors; the cause is kept
        raise UsageError(
            f"{path}: torch cannot read tensors alone from it ({_reason(error)}); ask its maker for a safetensors file"
        ) from error
    return _state_of(found, path, wanted)


def _reason(error: Exception) -> str:
    """What torch says of a pickle, without its advice to run the pickle's code or to trust more of it."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and "weights_only" not in line and not line.startswith(_ADVICE)]
    first = told[0] if told else type(error).__name__
    return first.removeprefix("WeightsUnpickler error: ").partition(" Please ")[0].rstrip(".")


def _state_of(found: Any, path: Path, wanted: Path) -> dict[str, Tensor]:
    """The state dict that a pickle is, or the only one that it holds (`{"model": state, "step": 1}`)."""
    if _is_state(found):
        return dict(found)
    inside = {k: v for k, v in found.items() if _is_state(v)} if isinstance(found, Mapping) else {}
    if len(inside) > 1:
        names = ", ".join(repr(name) for name in inside)
        raise UsageError(
            f"{path}: holds {len(inside)} state dicts ({names}); save the one that is meant, the first of them with:\n"
            f'  python -c "import torch, safetensors.torch as s; '
            f"s.save_file(torch.load('{path}', weights_only=True)[{next(iter(inside))!r}], '{wanted}')\""
        )
    if not inside:
        raise UsageError(f"{path}: holds something else than a state dict (names to tensors); save only that")
    (state,) = inside.values()
    return dict(state)


def _is_state(value: Any) -> bool:
    """Whether a value is a state dict: names to tensors."""
    return isinstance(value, Mapping) and bool(value) and all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items()
    )  # fmt: skip


def _stripped(state: Mapping[str, Tensor], prefix: str, path: Path) -> dict[str, Tensor]:
    """`state` without a prefix that all of its names have."""
    if prefix and not prefix.endswith(".") and all(name.startswith(f"{prefix}.") for name in state):
        prefix += "."
    having = [name for name in state if prefix and name.startswith(prefix)]
    if not having:
        return dict(state)
    if len(having) < len(state):
        other = next(name for name in state if not name.startswith(prefix))
        raise UsageError(
            f"{path}: strip_prefix: {len(having)} of {len(state)} tensors' names begin with {prefix!r}, and {other} "
            "does not; save a file with the network's own tensors alone"
        )
    return {name.removeprefix(prefix): value for name, value in state.items()}


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], where: str) -> nn.Module:
    """`state` into `module`: exactly its keys, shapes and kinds of numbers.

    Raises:
        UsageError: as `check_fit` does.
    """
    check_fit(module.state_dict(), state, where)
    module.load_state_dict(state, strict=True, assign=True)
    return module.eval()


def check_fit(own: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str) -> None:
    """Check that `state` has exactly the keys of `own`, a network's tensors, with their shapes and kinds of numbers.

    Raises:
        UsageError: with every missing, unexpected and misfitting key, and the prefix that all names have too much.
    """
    if own.keys() != state.keys() and (prefix := extra_prefix(state, own)):
        raise UsageError(f"{where}: {strip(prefix)}")
    problems = [f"missing {k}" for k in own.keys() - state.keys()]
    problems += [f"unexpected {k}" for k in state.keys() - own.keys()]
    problems += [problem for k in own.keys() & state.keys() if (problem := _misfit(k, state[k], own[k]))]
    if problems:
        shown = "; ".join(sorted(problems)[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        raise UsageError(f"{where}: does not fit the network (copy weights and configuration again): {shown}")


def _misfit(name: str, given: Tensor, own: Tensor) -> str | None:
    """How a tensor does not fit its place in the network, or None."""
    if given.shape != own.shape:
        return f"{name} has shape {list(given.shape)}, needs {list(own.shape)}"
    if given.is_floating_point() != own.is_floating_point() or given.is_complex() != own.is_complex():
        return f"{name} has numbers of type {_type(given)}, needs {_type(own)}"
    return None


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def extra_prefix(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What all names of `state` begin with too much: without it most of them are the network's; "" where none are."""
    first = min(state, default="")
    ends = [i + 1 for i, character in enumerate(first) if character == "."]
    found, most = "", 0
    for prefix in (first[:end] for end in ends):
        if not all(name.startswith(prefix) for name in state):
            break
        fitting = sum(name.removeprefix(prefix) in own for name in state)
        if fitting > max(most, sum(name in own for name in state)):
            found, most = prefix, fitting
    return found


def strip(prefix: str) -> str:
    """What a user does about a prefix of all names."""
    return (
        f"all names of tensors begin with {prefix!r}, and the network's do not; take it off with the line "
        f"`strip_prefix: {prefix}` in the recipe"
    )
