"""From a released layout (`ckpts/NAME.json` and `ckpts/NAME.safetensors`) to a network, strictly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from gen3dexport.documents.json_file import read_json
from gen3dexport.documents.plain import shown
from gen3dexport.documents.record import told
from gen3dexport.errors import GenExportError, UsageError
from gen3dexport.models.component import Component, Euler
from gen3dexport.models.declaration import AS_STORED, Declaration, Reading, Weights
from gen3dexport.models.trellis.host.conditioning import text_encoder_folder
from gen3dexport.models.trellis.host.gaussian_attributes import perturbation
from gen3dexport.models.trellis.host.settings import Sampling, Settings
from gen3dexport.models.trellis.host.slat_inputs import Tables, flow_tables, mesh_inputs, window_inputs
from gen3dexport.models.trellis.host.structure_stage import shell
from gen3dexport.models.trellis.host.voxel_budget import Budget
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
from gen3dexport.networks.checkpoints import load_strictly, read_weights
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

_LARGEST = 2**20
"""The largest size that a configuration may ask for."""
_MOST_BLOCKS = 1000
_GATHERED = 2**27  # bytes of gathered rows that a sparse convolution may hold


def network(name: str, args: Mapping[str, Any]) -> nn.Module:
    """A network of that class with random weights.

    Raises:
        UsageError: for a class or an option that is not implemented.
    """
    cls = _CLASSES.get(name.removeprefix("Elastic")) if isinstance(name, str) else None
    if cls is None:
        raise UsageError(f"network class {name!r}: unknown; there are {', '.join(_CLASSES)}")
    for key, value in _FIXED.items():
        if args.get(key, value) != value:
            raise UsageError(
                f"{name}: {key}={shown(args[key])} is not implemented (no release uses it); only {value!r} is: use that"
            )
    kept = {k: v for k, v in args.items() if k not in _FIXED and k not in _IGNORED}
    _check_types(name, cls, kept)
    for key, value in kept.items():
        counted = key.startswith("num_") and "block" in key
        least, most = (0, _MOST_BLOCKS) if counted else (2**-20, _LARGEST)
        if any(not least <= number <= most for number in _numbers(value)):
            raise UsageError(f"{name}: {key}={shown(value)}: needs numbers above 0, {most} at most")
    width, heads = kept.get("model_channels"), kept.get("num_heads")
    if isinstance(width, int) and isinstance(heads, int) and width % heads:
        raise UsageError(f"{name}: model_channels={width} is no multiple of num_heads={heads}")
    try:
        return cls(**kept).eval()
    except GenExportError:
        raise
    except Exception as error:  # torch and Python raise many types on sizes that make no network
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"{name}: no network has such a configuration ({said[0]}); copy the file again") from error


def _check_types(name: str, cls: type[nn.Module], args: Mapping[str, Any]) -> None:
    """Check arguments by the types that a network's constructor names; what it does not know is told when it is called.

    Raises:
        UsageError: with every problem.
    """
    problems = []
    for key, hint in get_type_hints(cls.__init__).items():
        try:
            if key in args:
                TypeAdapter(hint).validate_python(args[key], strict=True)
        except ValidationError as error:
            problems.append(f"{name}: {key}={shown(args[key])}: {told(error)}; copy the file again")
    if problems:
        raise UsageError.of(problems)


def _numbers(value: Any) -> tuple[float, ...]:
    """A size, or those of a list; what is inside a mapping may be negative."""
    values = value if isinstance(value, list | tuple) else (value,)
    return tuple(n for n in values if isinstance(n, int | float) and not isinstance(n, bool))


def _read_config(stem: Path) -> tuple[str, dict[str, Any]]:
    """Class and arguments of the network of `STEM.json`.

    Raises:
        UsageError: when the file is missing, damaged or another one.
    """
    path = stem.with_name(stem.name + ".json")
    config = read_json(path, "a network's configuration")
    name, args = config.get("name"), config.get("args")
    if not isinstance(name, str) or not isinstance(args, dict):
        raise UsageError(
            f"{path}: not a network's configuration, which has a text `name` and a mapping `args`; copy it again"
        )
    if args.get("num_blocks") == 0:
        raise UsageError(f"{path}: args.num_blocks=0: a released network has blocks; needs a number above 0")
    return name, args


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors inside with the file that they are of."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def load_checkpoint(stem: Path, source: Weights = "stored", reading: Reading = AS_STORED, seed: int = 0) -> nn.Module:
    """The network of `STEM.json` with the weights of `STEM.safetensors`, its sparse convolutions as released.

    Raises:
        UsageError: when a file is missing, damaged or does not fit.
    """
    name, args = _read_config(stem)
    with _naming(stem.with_name(f"{stem.name}.json")), torch.device("meta") if source == "shapes" else nullcontext():
        module = random_network(name, args, seed) if source == "random" else network(name, args)
    if source != "stored":
        return module
    weights = stem.with_name(f"{stem.name}.safetensors")
    module = load_strictly(module, read_weights(weights, reading.allow_pickle, reading.strip_prefix), str(weights))
    _check_perturbation(module, weights)
    return module


def _check_perturbation(module: nn.Module, weights: Path) -> None:
    """The host computes the offsets that a Gaussian decoder's checkpoint stores; refuse one with others."""
    if isinstance(module, SLatGaussianDecoder) and not module.get_buffer("offset_perturbation").is_meta:
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


def encoder(
    declared: Declaration, settings: Settings, folder: Path, weights: Weights, reading: Reading = AS_STORED
) -> Component:
    """The network that makes the condition features: a released encoder, or the text encoder of a package."""
    if (released := settings.encoder) is None:
        module: nn.Module = _text_encoder(declared.checkpoint, weights)
    else:
        place = (folder / declared.checkpoint).parent if weights == "stored" else None
        with _device(weights):
            made = dino_encoder if released.reads_image else clip_encoder
            module = made(released.config, place, reading.allow_pickle, reading.strip_prefix)
    component = Component(declared.name, module, {}, declared.outputs, stack=getattr(module, "stack", None))
    return _with_shapes(component, declared, weights, _encoder_shapes(settings))


def flow(
    declared: Declaration, settings: Settings, folder: Path, weights: Weights, reading: Reading = AS_STORED
) -> Component:
    """A flow, of either stage: its timestep as a table and its condition from outside, as the sampler's knobs say."""
    module = load_checkpoint(folder / declared.checkpoint, weights, reading)
    assert isinstance(module, SparseStructureFlow | SLatFlow)
    size = (len(module.blocks), len(module.get_parameter("blocks.0.norm2.weight")))
    sampling: Sampling = settings
    if isinstance(module, SLatFlow):
        assert settings.slat is not None
        sampling = settings.slat
    with _device(weights):
        if sampling.tabulate_time:
            tabulate_time(module, _timesteps(sampling))
        if sampling.cache_context:
            hold_context(module)
        prepared = _folded(module, settings)
    # Blocks that read each a context of their own are no stack: what they share is all that one may be given.
    stack = None if sampling.cache_context else module.stack
    component = Component(declared.name, prepared, {}, declared.outputs, stack=stack, loop=_loop(sampling))
    if isinstance(module, SLatFlow):
        return _with_shapes(component, declared, weights, _slat_flow_shapes(settings, size))
    return _with_shapes(component, declared, weights, _flow_shapes(settings, settings.latent, settings, size))


def context(
    declared: Declaration, settings: Settings, folder: Path, weights: Weights, reading: Reading = AS_STORED
) -> Component:
    """A flow's half that makes keys and values of the condition."""
    with _device(weights):
        module = FlowContext(load_checkpoint(folder / declared.checkpoint, weights, reading)).eval()
    component = Component(declared.name, module, {}, declared.outputs)
    return _with_shapes(component, declared, weights, {"cond": (1, *settings.condition)})


def structure_decoder(
    declared: Declaration, settings: Settings, folder: Path, weights: Weights, reading: Reading = AS_STORED
) -> Component:
    """The decoder of the structure latent."""
    module = load_checkpoint(folder / declared.checkpoint, weights, reading)
    with _device(weights):
        component = Component(declared.name, _folded(module, settings), {}, declared.outputs)
    return _with_shapes(component, declared, weights, {"z": (1, *settings.latent)})


def slat_decoder(
    declared: Declaration, settings: Settings, folder: Path, weights: Weights, reading: Reading = AS_STORED
) -> Component:
    """A decoder of the structured latent."""
    module = load_checkpoint(folder / declared.checkpoint, weights, reading)
    with _device(weights):
        component = Component(declared.name, _folded(module, settings), {}, declared.outputs)
    return _with_shapes(component, declared, weights, _slat_decoder_shapes(declared, settings))


def _device(weights: Weights) -> AbstractContextManager[Any]:
    """Where tensors are made: on the meta device when only shapes count."""
    return torch.device("meta") if weights == "shapes" else nullcontext()


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


def _text_encoder(package: str, weights: Weights) -> BertTokenEncoder:
    if weights == "shapes":
        with torch.device("meta"):
            return BertTokenEncoder(**minilm_args()).eval()
    path = text_encoder_folder(package) / "model.safetensors"
    module = BertTokenEncoder(**minilm_args())
    load_strictly(module, BertTokenEncoder.drop_unused(read_weights(path)), str(path))
    return module.eval()


def _loop(sampling: Sampling) -> Euler | None:
    """The loop as data; None where one call is both branches of a step, which `Euler` does not describe."""
    if sampling.guidance == "batched":
        return None
    return Euler.of(sampling.schedule, _timesteps(sampling), "context" if sampling.cache_context else "cond")


def _timesteps(sampling: Sampling) -> tuple[float, ...]:
    """What the network gets as `t` at each step."""
    return tuple(1000 * t for t in sampling.schedule.times[:-1])


Shapes = dict[str, tuple[int, ...] | torch.Tensor]
"""An input's shape, in float32, or the input itself on the meta device."""


def _with_shapes(component: Component, declared: Declaration, weights: Weights, shapes: Shapes) -> Component:
    """The component with inputs on the meta device where only shapes count, else without inputs."""
    if weights != "shapes":
        return component
    found = {
        name: shape if isinstance(shape, torch.Tensor) else torch.zeros(shape, device="meta")
        for name, shape in ((name, shapes[name]) for name in declared.inputs)
    }
    return component.with_inputs(found)


def _encoder_shapes(settings: Settings) -> Shapes:
    ids = torch.zeros(1, settings.condition[0], dtype=torch.int64, device="meta")
    edges = () if settings.encoder is None or not settings.encoder.reads_image else (settings.encoder.image_size,) * 2
    return {"ids": ids, "mask": ids, "image": (1, 3, *edges)}


def _flow_shapes(settings: Settings, latent: tuple[int, ...], sampling: Sampling, size: tuple[int, int]) -> Shapes:
    """Of a flow with `size` blocks and channels, for a latent without its batch."""
    tokens, width = settings.condition
    blocks, channels = size
    return {
        "x": (sampling.batch, *latent),
        "t": (sampling.batch,),
        "cond": (sampling.batch, tokens, width),
        "context": (blocks, 2, sampling.batch, tokens, channels),
    }


def _slat_flow_shapes(settings: Settings, size: tuple[int, int]) -> Shapes:
    slat = settings.slat
    assert slat is not None
    tables = _flow_tables(slat.budget, slat.resolution)
    return _flow_shapes(settings, (slat.tokens, len(slat.mean)), slat, size) | tables


def _slat_decoder_shapes(declared: Declaration, settings: Settings) -> Shapes:
    slat = settings.slat
    assert slat is not None
    tables = _decoder_tables(slat.budget, slat.resolution, slat.windows[declared.name])
    return {"feats": (1, slat.tokens, len(slat.mean)), **tables}


@cache
def _flow_tables(budget: Budget, resolution: int) -> Shapes:
    return _on_meta(flow_tables(shell(budget, resolution), budget))


@cache
def _decoder_tables(budget: Budget, resolution: int, window_size: int) -> Shapes:
    coords = shell(budget, resolution)
    return _on_meta(mesh_inputs(coords, budget.tokens) | window_inputs(coords, budget.tokens, window_size))


def _on_meta(tables: Tables) -> Shapes:
    return {name: torch.from_numpy(table).to("meta") for name, table in tables.items()}
