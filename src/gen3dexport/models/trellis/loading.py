"""From a released layout (`ckpts/NAME.json` and `ckpts/NAME.safetensors`) to a network, strictly."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.bert import BertTokenEncoder, minilm_args
from gen3dexport.models.component import Component, Euler
from gen3dexport.models.trellis.mesh_decoder import SLatMeshDecoder
from gen3dexport.models.trellis.networks import SparseStructureDecoder, SparseStructureEncoder, SparseStructureFlow
from gen3dexport.models.trellis.pipeline import Settings, text_encoder_folder
from gen3dexport.models.trellis.slat_decoders import SLatEncoder, SLatGaussianDecoder, SLatRadianceFieldDecoder
from gen3dexport.models.trellis.slat_flow import SLatFlow
from gen3dexport.models.trellis.sparse_layers import fold_convolutions

_CLASSES: dict[str, type[nn.Module]] = {
    "SparseStructureFlowModel": SparseStructureFlow,
    "SparseStructureDecoder": SparseStructureDecoder,
    "SparseStructureEncoder": SparseStructureEncoder,
    "SLatFlowModel": SLatFlow,
    "SLatEncoder": SLatEncoder,
    "SLatGaussianDecoder": SLatGaussianDecoder,
    "SLatRadianceFieldDecoder": SLatRadianceFieldDecoder,
    "SLatMeshDecoder": SLatMeshDecoder,
}
# Options that no release uses: (key, the only value that is implemented).
_FIXED = {
    "pe_mode": "ape",
    "share_mod": False,
    "norm_type": "layer",
    "use_checkpoint": False,
    "attn_mode": "swin",
}
_IGNORED = ("use_fp16",)  # weights are up-cast to float32; half precision is a scheme of the build


def network(name: str, args: Mapping[str, Any]) -> nn.Module:
    """A network of that class with random weights.

    Raises:
        UsageError: for a class or an option that is not implemented.
    """
    cls = _CLASSES.get(name.removeprefix("Elastic"))
    if cls is None:
        raise UsageError(f"network class {name!r}: unknown; there are {', '.join(_CLASSES)}")
    for key, value in _FIXED.items():
        if args.get(key, value) != value:
            raise UsageError(f"{name}: {key}={args[key]!r} is not implemented (no release uses it); only {value!r} is")
    kept = {k: v for k, v in args.items() if k not in _FIXED and k not in _IGNORED}
    try:
        return cls(**kept).eval()
    except TypeError as error:
        raise UsageError(f"{name}: {error}") from error


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
        raise UsageError(f"{path}: weights not found")
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


def _read_config(stem: Path) -> dict[str, Any]:
    """{"name", "args"} of `STEM.json`."""
    path = stem.with_name(stem.name + ".json")
    try:
        config = json.loads(path.read_text())
        return {"name": config["name"], "args": dict(config["args"])}
    except FileNotFoundError:
        raise UsageError(f"{path}: network configuration not found") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a network configuration ({error})") from error


def load_checkpoint(stem: Path, random_weights: bool = False, allow_pickle: bool = False, seed: int = 0) -> nn.Module:
    """The network of `STEM.json` with the weights of `STEM.safetensors`."""
    config = _read_config(stem)
    if random_weights:
        module = random_network(config["name"], config["args"], seed)
    else:
        weights = stem.with_name(stem.name + ".safetensors")
        state = read_weights(weights, allow_pickle)
        module = load_strictly(network(config["name"], config["args"]), state, str(weights))
    fold_convolutions(module)
    return module


def random_network(name: str, args: Mapping[str, Any], seed: int = 0) -> nn.Module:
    """A network with seeded random weights: for sizing, never for assets."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network(name, args)


def load(
    name: str, settings: Settings, folder: Path, random_weights: bool = False, allow_pickle: bool = False
) -> Component:
    """One component of the pipeline, without example inputs.

    Raises:
        UsageError: when its files are missing, damaged or do not fit.
    """
    checkpoint = settings.checkpoints[name]
    if name == "text_encoder":
        return Component(name, _text_encoder(checkpoint), {}, ("features",))
    module = load_checkpoint(folder / checkpoint, random_weights, allow_pickle)
    if name == "flow":
        return Component(name, module, {}, ("v",), stack=SparseStructureFlow.stack, loop=_loop(settings))
    return Component(name, module, {}, ("logits",))


def _text_encoder(package: str) -> BertTokenEncoder:
    path = text_encoder_folder(package) / "model.safetensors"
    module = BertTokenEncoder(**minilm_args())
    load_strictly(module, BertTokenEncoder.drop_unused(read_weights(path)), str(path))
    return module.eval()


def _loop(settings: Settings) -> Euler:
    schedule = settings.schedule
    times = schedule.times
    return Euler(
        timesteps=tuple(1000 * t for t in times[:-1]),
        dts=tuple(t - after for t, after in pairwise(times)),
        guidance=schedule.weights,
    )


def skeleton(name: str, settings: Settings, folder: Path) -> Component:
    """One component with its shapes and no weights (tensors on the meta device): for planning."""
    with torch.device("meta"):
        tokens, width = settings.condition
        if name == "text_encoder":
            ids = torch.zeros(1, tokens, dtype=torch.int64)
            return Component(name, BertTokenEncoder(**minilm_args()).eval(), {"ids": ids, "mask": ids}, ("features",))
        config = _read_config(folder / settings.checkpoints[name])
        module = network(config["name"], config["args"])
        fold_convolutions(module)
        latent = torch.zeros(1, *settings.latent)
        if name == "flow":
            inputs = {"x": latent, "t": torch.zeros(1), "cond": torch.zeros(1, tokens, width)}
            return Component(name, module, inputs, ("v",), stack=SparseStructureFlow.stack, loop=_loop(settings))
        return Component(name, module, {"z": latent}, ("logits",))
