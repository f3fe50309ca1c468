"""From a released layout (`ckpts/NAME.json` and `ckpts/NAME.safetensors`) to a network, strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component, Euler
from gen3dexport.models.trellis.host.conditioning import text_encoder_folder
from gen3dexport.models.trellis.host.encoders import Encoder
from gen3dexport.models.trellis.host.gaussian_attributes import perturbation
from gen3dexport.models.trellis.host.pipeline import inputs_of
from gen3dexport.models.trellis.host.settings import Sampling, Settings
from gen3dexport.models.trellis.host.slat_inputs import flow_tables, mesh_inputs, window_inputs
from gen3dexport.models.trellis.host.structure_stage import shell
from gen3dexport.models.trellis.networks.checkpoints import load_strictly, read_weights
from gen3dexport.models.trellis.networks.held_context import FlowContext, hold_context
from gen3dexport.models.trellis.networks.mesh_decoder import SLatMeshDecoder
from gen3dexport.models.trellis.networks.slat_decoders import SLatEncoder, SLatGaussianDecoder, SLatRadianceFieldDecoder
from gen3dexport.models.trellis.networks.slat_flow import SLatFlow
from gen3dexport.models.trellis.networks.sparse_layers import (
    fit_neighbour_gather,
    fold_convolutions,
    set_neighbour_gather,
)
from gen3dexport.models.trellis.networks.structure import (
    SparseStructureDecoder,
    SparseStructureEncoder,
    SparseStructureFlow,
)
from gen3dexport.models.trellis.networks.time_table import tabulate_time
from gen3dexport.networks.bert import BertTokenEncoder, minilm_args
from gen3dexport.networks.clip import clip_encoder
from gen3dexport.networks.dino import dino_encoder

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

_GATHERED = 2**27  # bytes of gathered rows that a sparse convolution may hold


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
    """The network of `STEM.json` with the weights of `STEM.safetensors`, its sparse convolutions as released."""
    config = _read_config(stem)
    if random_weights:
        return random_network(config["name"], config["args"], seed)
    weights = stem.with_name(stem.name + ".safetensors")
    module = load_strictly(network(config["name"], config["args"]), read_weights(weights, allow_pickle), str(weights))
    _check_perturbation(module, weights)
    return module


def _check_perturbation(module: nn.Module, weights: Path) -> None:
    """The host computes the offsets that a Gaussian decoder's checkpoint stores; refuse one with others."""
    if isinstance(module, SLatGaussianDecoder):
        stored = module.get_buffer("offset_perturbation")
        computed = torch.tensor(perturbation(module.representation))
        if not torch.allclose(stored, computed, atol=1e-4):
            raise UsageError(
                f"{weights}: offset_perturbation is not that of its representation_config (largest difference "
                f"{(stored - computed).abs().max():.2g}); the configuration and the weights do not belong together"
            )


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
    if settings.encoder is not None and name == settings.encoder.component:
        place = None if random_weights else (folder / checkpoint).parent
        return _component(name, _encoder(settings.encoder, place), settings)
    if name == "text_encoder":
        return _component(name, _text_encoder(checkpoint), settings)
    module = load_checkpoint(folder / checkpoint, random_weights, allow_pickle)
    return _component(name, _prepared(name, module, settings), settings)


def skeleton(name: str, settings: Settings, folder: Path) -> Component:
    """One component with its shapes and no weights (tensors on the meta device): for planning."""
    with torch.device("meta"):
        if settings.encoder is not None and name == settings.encoder.component:
            component = _component(name, _encoder(settings.encoder, None), settings)
        elif name == "text_encoder":
            component = _component(name, BertTokenEncoder(**minilm_args()).eval(), settings)
        else:
            config = _read_config(folder / settings.checkpoints[name])
            module = network(config["name"], config["args"])
            component = _component(name, _prepared(name, module, settings), settings)
    flow = component.module if isinstance(component.module, SparseStructureFlow | SLatFlow) else None
    size = (0, 0) if flow is None else (len(flow.blocks), len(flow.get_parameter("blocks.0.norm2.weight")))
    return component.with_inputs(_meta_inputs(name, settings, size))


def _component(name: str, module: nn.Module, settings: Settings) -> Component:
    """The component of a network: its outputs, repeated stack and sampler loop, without example inputs."""
    if isinstance(module, FlowContext):
        return Component(name, module, {}, ("context",))
    if isinstance(module, SparseStructureFlow | SLatFlow):
        sampling = _sampling(name, settings)
        # Blocks that read each a context of their own are no stack: what they share is all that one may be given.
        stack = None if sampling.cache_context else module.stack
        return Component(name, module, {}, ("v",), stack=stack, loop=_loop(sampling))
    if name.endswith("_encoder"):
        return Component(name, module, {}, ("features",), stack=getattr(module, "stack", None))
    return Component(name, module, {}, ("logits" if name == "decoder" else "feats",))


def _sampling(name: str, settings: Settings) -> Sampling:
    """The sampler's knobs of a flow."""
    return settings.slat if settings.slat is not None and name == "slat_flow" else settings


def _prepared(name: str, module: nn.Module, settings: Settings) -> nn.Module:
    """A checkpoint's network in the form that is built: what the settings fix is folded into its weights."""
    if name.endswith("_context"):  # a flow's half that makes keys and values of the condition
        return FlowContext(module).eval()
    if isinstance(module, SparseStructureFlow | SLatFlow):
        sampling = _sampling(name, settings)
        if sampling.tabulate_time:
            tabulate_time(module, _timesteps(sampling))
        if sampling.cache_context:
            hold_context(module)
    return _folded(module, settings)


def _folded(module: nn.Module, settings: Settings) -> nn.Module:
    """Sparse convolutions as linear layers, gathering as the settings say."""
    if (slat := settings.slat) is not None:
        for part, rows in _grids(module, slat.tokens):
            if slat.gather == "auto":
                fit_neighbour_gather(part, rows, _GATHERED)
            else:
                set_neighbour_gather(part, slat.gather)
    fold_convolutions(module)
    return module


def _grids(module: nn.Module, tokens: int) -> list[tuple[nn.Module, int]]:
    """The parts of a network that convolve, with the most rows of their grids."""
    if isinstance(module, SLatMeshDecoder):
        return [(block, 8**level * tokens) for level, block in enumerate(module.upsample, 1)]
    return [(module, tokens)]


def _encoder(encoder: Encoder, folder: Path | None) -> nn.Module:
    """A released encoder with the weights of `folder`, or random ones."""
    return (dino_encoder if encoder.kind == "dinov2" else clip_encoder)(encoder.config, folder)


def _text_encoder(package: str) -> BertTokenEncoder:
    path = text_encoder_folder(package) / "model.safetensors"
    module = BertTokenEncoder(**minilm_args())
    load_strictly(module, BertTokenEncoder.drop_unused(read_weights(path)), str(path))
    return module.eval()


def _loop(sampling: Sampling) -> Euler | None:
    """The loop as data; None where one call is both branches of a step, which `Euler` does not describe."""
    if sampling.guidance == "batched":
        return None
    schedule = sampling.schedule
    times = schedule.times
    return Euler(
        timesteps=_timesteps(sampling),
        dts=tuple(t - after for t, after in pairwise(times)),
        guidance=schedule.weights,
        cond="context" if sampling.cache_context else "cond",
    )


def _timesteps(sampling: Sampling) -> tuple[float, ...]:
    """What the network gets as `t` at each step."""
    return tuple(1000 * t for t in sampling.schedule.times[:-1])


def _meta_inputs(name: str, settings: Settings, flow_size: tuple[int, int] = (0, 0)) -> dict[str, torch.Tensor]:
    """A component's inputs as shapes; `flow_size` has the blocks and the width of a flow."""
    tokens, width = settings.condition
    shapes: dict[str, torch.Tensor] = {}
    with torch.device("meta"):
        sampling = _sampling(name, settings)
        ids, latent = torch.zeros(1, tokens, dtype=torch.int64), torch.zeros(1, *settings.latent)
        shapes |= {"ids": ids, "mask": ids, "z": latent, "t": torch.zeros(sampling.batch)}
        shapes["x"] = torch.zeros(sampling.batch, *settings.latent)
        shapes["cond"] = torch.zeros(sampling.batch, tokens, width)
        if name == "image_encoder" and settings.encoder is not None:
            shapes["image"] = torch.zeros(1, 3, *(settings.encoder.image_size,) * 2)
    if (slat := settings.slat) is not None and name.startswith("slat_"):
        coords = shell(slat.budget, slat.resolution)
        tables = flow_tables(coords, slat.budget)
        tables |= mesh_inputs(coords, slat.tokens) if name == "slat_decoder_mesh" else {}
        if name in slat.windows:
            tables |= window_inputs(coords, slat.tokens, slat.windows[name])
        shapes |= {key: torch.from_numpy(table).to("meta") for key, table in tables.items()}
        shapes["feats"] = torch.zeros(1, slat.tokens, len(slat.mean), device="meta")
        shapes["x"] = torch.zeros(slat.batch, slat.tokens, len(slat.mean), device="meta")
    if name.endswith("_context"):
        shapes["cond"] = torch.zeros(1, tokens, width, device="meta")
    elif f"{name}_context" in settings.checkpoints:
        blocks, channels = flow_size
        shapes["context"] = torch.zeros(blocks, 2, sampling.batch, tokens, channels, device="meta")
    return {key: shapes[key] for key in inputs_of(name, settings)}
