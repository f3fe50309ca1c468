"""The U-Net's sizes, as they follow from its tensors, and its parts in the order that they run. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from gen3dexport.documents.record import Record, told
from gen3dexport.errors import UsageError

Size = Annotated[int, Field(ge=1, le=2**16)]
NETWORK = "network."
"""What the names of all released tensors begin with."""


class Model(Record):
    """The sizes of a network.

    Attributes:
        size: edge of its maps, in cells.
        channels: of each level, the finest first; each level has half the edge of the one before.
        res_blocks: residual blocks of a level on the way down; there is one more on the way up.
        attention: by level, whether attention follows each of its residual blocks.
        groups: of the norms; head_channels: of a head of attention.
        embedding: channels of the embedding of noise and difficulty.
        frequencies: waves that the noise's level is told in.
    """

    size: Size
    channels: Annotated[tuple[Size, ...], Field(min_length=1, max_length=16)]
    res_blocks: Annotated[int, Field(ge=1, le=64)]
    attention: tuple[bool, ...]
    groups: Size
    head_channels: Size
    embedding: Size
    frequencies: Size

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if len(self.attention) != len(self.channels):
            raise ValueError(f"{len(self.channels)} levels, and attention is said of {len(self.attention)}")
        if self.size % 2 ** (len(self.channels) - 1):
            raise ValueError(f"size {self.size} cannot be halved {len(self.channels) - 1} times")
        for part in every_part(self):
            if part.taken % self.groups or part.given % self.groups:
                raise ValueError(f"{part.name}: {part.taken} or {part.given} channels are not {self.groups} groups")
            if part.kind == "attention" and part.taken % self.head_channels:
                raise ValueError(f"{part.name}: {part.taken} channels are no heads of {self.head_channels}")
        return self


@dataclass(frozen=True)
class Part:
    """A residual block or an attention.

    Attributes:
        name: of its tensors, below `network.`; taken, given: channels.
        resample: what a residual block does to the edge before its first convolution.
    """

    kind: Literal["residual", "attention"]
    name: str
    taken: int
    given: int
    resample: Literal["", "down", "up"] = ""


@dataclass(frozen=True)
class Layout:
    """The parts of a network: blocks of the way down (without the first convolution), middle, blocks of the way up."""

    down: tuple[tuple[Part, ...], ...]
    middle: tuple[Part, ...]
    up: tuple[tuple[Part, ...], ...]


def layout(model: Model) -> Layout:
    """The parts of a network. Each block of the way up takes the result of one of the way down beside its own input."""
    down: list[tuple[Part, ...]] = []
    width, last = model.channels[0], len(model.channels) - 1
    kept = [width]
    for level, channels in enumerate(model.channels):
        for _ in range(model.res_blocks):
            down.append(_level(model, level, f"input_blocks.{len(down) + 1}", width, channels))
            width = channels
            kept.append(width)
        if level < last:
            down.append((Part("residual", f"input_blocks.{len(down) + 1}.0", width, width, "down"),))
            kept.append(width)
    middle = (
        Part("residual", "middle_block.0", width, width),
        Part("attention", "middle_block.1", width, width),
        Part("residual", "middle_block.2", width, width),
    )
    up: list[tuple[Part, ...]] = []
    for level in reversed(range(last + 1)):
        for i in range(model.res_blocks + 1):
            name, channels = f"output_blocks.{len(up)}", model.channels[level]
            parts = _level(model, level, name, width + kept.pop(), channels)
            width = channels
            if level and i == model.res_blocks:
                parts = (*parts, Part("residual", f"{name}.{len(parts)}", width, width, "up"))
            up.append(parts)
    return Layout(tuple(down), middle, tuple(up))


def _level(model: Model, level: int, name: str, taken: int, given: int) -> tuple[Part, ...]:
    residual = Part("residual", f"{name}.0", taken, given)
    return (residual, Part("attention", f"{name}.1", given, given)) if model.attention[level] else (residual,)


def every_part(model: Model) -> Iterator[Part]:
    """All parts, in the order that they run."""
    parts = layout(model)
    for block in (*parts.down, parts.middle, *parts.up):
        yield from block


def released_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of such a network, by its released name."""
    inner, first = model.embedding, model.channels[0]
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *weight: int) -> None:
        shapes.update({f"{NETWORK}{name}.weight": weight, f"{NETWORK}{name}.bias": weight[:1]})

    layer("time_embed.0", inner, 2 * model.frequencies)
    layer("time_embed.2", inner, inner)
    layer("label_emb.0", inner, 1)
    layer("label_emb.2", inner, inner)
    layer("input_blocks.0.0", first, 1, 3, 3)
    for part in every_part(model):
        name, taken, given = part.name, part.taken, part.given
        if part.kind == "attention":
            layer(f"{name}.norm", taken)
            layer(f"{name}.qkv", 3 * taken, taken, 1, 1)
            layer(f"{name}.proj_out", taken, taken, 1, 1)
            continue
        layer(f"{name}.in_layers.0", taken)
        layer(f"{name}.in_layers.2", given, taken, 3, 3)
        layer(f"{name}.emb_layers.1", 2 * given, inner)
        layer(f"{name}.out_layers.0", given)
        layer(f"{name}.out_layers.3", given, given, 3, 3)
        if taken != given:
            layer(f"{name}.skip_connection", given, taken, 1, 1)
    layer("out.0", first)
    layer("out.2", 1, first, 3, 3)
    return shapes


def model_of(tensors: Mapping[str, Any], size: int, groups: int, head_channels: int, where: str) -> Model:
    """The sizes that tensors in the released names have.

    Args:
        size, groups, head_channels: what no tensor tells, see `Model`.

    Raises:
        UsageError: when they are not those of such a network.
    """

    def width(name: str, axis: int = 0) -> int:
        full = f"{NETWORK}{name}"
        if full not in tensors or len(tensors[full].shape) <= axis:
            raise UsageError(f"{where}: {full} is missing or misshapen, so this is no network of this family")
        return int(tensors[full].shape[axis])

    def indices(pattern: str) -> set[int]:
        return {int(m[1]) for m in (re.match(NETWORK + pattern, name) for name in tensors) if m}

    blocks = len(indices(r"input_blocks\.(\d+)\."))
    levels = 1 + len(indices(r"output_blocks\.(\d+)\.[12]\.in_layers\."))  # a second residual block doubles the edge
    res_blocks, rest = divmod(blocks, levels)
    if rest or res_blocks < 2:
        raise UsageError(f"{where}: {blocks} input blocks on {levels} levels make no network of this family")
    firsts = [level * res_blocks + 1 for level in range(levels)]
    try:
        return Model(
            size=size,
            channels=tuple(width(f"input_blocks.{i}.0.out_layers.3.weight") for i in firsts),
            res_blocks=res_blocks - 1,
            attention=tuple(f"{NETWORK}input_blocks.{i}.1.qkv.weight" in tensors for i in firsts),
            groups=groups,
            head_channels=head_channels,
            embedding=width("time_embed.0.weight"),
            frequencies=width("time_embed.0.weight", 1) // 2,
        )
    except ValidationError as error:
        raise UsageError(f"{where}: not a network of this family ({told(error)})") from error
