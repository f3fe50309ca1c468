"""Weights of a network: read from safetensors (or a pickle, on demand), checked, and loaded strictly."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gen3dexport.errors import UsageError


def read_weights(path: Path, allow_pickle: bool = False) -> dict[str, Tensor]:
    """The tensors of a safetensors file, half precision up-cast to float32.

    Args:
        allow_pickle: where there is only a pickle beside it (.pt, .pth, .ckpt, .bin), read that, tensors only.

    Raises:
        UsageError: when the file is missing, truncated, a pickle, or holds values that are not finite.
    """
    pickles = [p for suffix in (".pt", ".pth", ".ckpt", ".bin") if (p := path.with_suffix(suffix)).exists()]
    if path.exists():
        try:
            state = load_file(path)
        except (SafetensorError, OSError) as error:
            raise UsageError(f"{path}: not a readable safetensors file ({error}); copy it again") from error
    elif not pickles:
        raise UsageError(
            f"{path}: weights not found; name the folder of the checkpoint with weights=FOLDER, or build for "
            "sizing with --random-weights"
        )
    elif allow_pickle:
        state = _read_pickle(pickles[0])
    else:
        raise UsageError(
            f"{pickles[0]}: a pickle can run code when it is opened, and is not read; convert it once with:\n"
            f'  python -c "import torch, safetensors.torch as s; '
            f"s.save_file(torch.load('{pickles[0]}', weights_only=True), '{path}')\"\n"
            "  or let this build read its tensors, and nothing else, with --allow-pickle"
        )
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    bad = [k for k, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        raise UsageError(f"{path}: {len(bad)} tensors hold NaN or infinity, first {bad[0]}; the checkpoint is damaged")
    return state


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a pickled state dict, read without running its code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise UsageError(
            f"{path}: torch cannot read tensors alone from it ({str(error).splitlines()[0]}); ask its maker for a "
            "safetensors file"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UsageError(f"{path}: holds something else than a state dict (names to tensors); save only that")
    return dict(state)


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], where: str) -> nn.Module:
    """`state` into `module`: exactly its keys and shapes.

    Raises:
        UsageError: with every missing, unexpected and misshapen key.
    """
    own = module.state_dict()
    problems = [f"missing {k}" for k in own.keys() - state.keys()]
    problems += [f"unexpected {k}" for k in state.keys() - own.keys()]
    problems += [
        f"{k} has shape {list(state[k].shape)}, needs {list(own[k].shape)}"
        for k in own.keys() & state.keys()
        if own[k].shape != state[k].shape
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        raise UsageError(f"{where}: does not fit the network: {shown}")
    module.load_state_dict(state, strict=True, assign=True)
    return module.eval()
