"""The quantization schemes: what is true of each on every backend that takes it, in one table. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Scheme:
    """One scheme.

    Attributes:
        summary: what it does, for people.
        covers: what it takes where no layers are named.
        bytes: of a parameter that it covers, with its share of what a group keeps.
        half: torch's name of the half-precision dtype of the blocks; "" for other schemes.
        group: inputs of a layer that share a scale; 0 where an output channel has one scale.
        multiple: what a layer's inputs must be a multiple of.
        calibrated: whether ranges of activations are observed before quantizing.
        per_token: whether linear layers round what they read, with a scale for each token.
        embeddings: whether embeddings that a rule names take it: their rows have a scale each.
        compute: least compute capability of a CUDA GPU whose matrix units take its products, e.g. 89; 0 for any.
    """

    summary: str
    covers: Literal["nothing", "blocks", "linears", "convolutions"]
    bytes: float
    half: str = ""
    group: int = 0
    multiple: int = 1
    calibrated: bool = False
    per_token: bool = False
    embeddings: bool = False
    compute: int = 0


_GROUP = 32
_LINEARS = "linears of the blocks with"
_BLOCKS = "norms and ends in float32"

SCHEMES: Mapping[str, Scheme] = {
    "fp32": Scheme("everything in float32", "nothing", 4, embeddings=True),
    "fp16": Scheme(f"repeated blocks in float16, {_BLOCKS}", "blocks", 2, half="float16"),
    "bf16": Scheme(f"repeated blocks in bfloat16, {_BLOCKS}", "blocks", 2, half="bfloat16"),
    "int8-dynamic": Scheme(
        f"{_LINEARS} int8 weights per channel, int8 activations per token",
        "linears",
        1,
        embeddings=True,
        per_token=True,
    ),
    "int8-weight": Scheme(
        f"{_LINEARS} int8 weights per channel, activations as they are", "linears", 1, embeddings=True
    ),
    "int8-static": Scheme(
        "convolutions with int8 weights per channel, int8 activations in calibrated ranges",
        "convolutions",
        1,
        calibrated=True,
    ),
    "float8-weight": Scheme(f"{_LINEARS} float8 (e4m3) weights per channel, activations as they are", "linears", 1),
    "float8-dynamic": Scheme(
        f"{_LINEARS} float8 (e4m3) weights per channel, float8 activations per token",
        "linears",
        1,
        multiple=16,  # of both widths of a layer, for the matrix unit
        per_token=True,
        compute=89,
    ),
    "int4-dynamic": Scheme(
        f"{_LINEARS} int4 weights in groups of {_GROUP}, int8 activations per token",
        "linears",
        0.5 + 2 / _GROUP,  # a half-precision scale for each group
        group=_GROUP,
        multiple=_GROUP,
        per_token=True,
    ),
    "int4-weight": Scheme(
        f"{_LINEARS} int4 weights in groups of {_GROUP}, activations as they are",
        "linears",
        0.5 + 2.5 / _GROUP,  # a half-precision scale and four bits of zero point for each group
        group=_GROUP,
        multiple=_GROUP,
    ),
}

CALIBRATED = tuple(name for name, scheme in SCHEMES.items() if scheme.calibrated)
"""Schemes whose ranges of activations are observed before quantizing."""

OF_EMBEDDINGS = tuple(name for name, scheme in SCHEMES.items() if scheme.embeddings)
"""Schemes that an embedding takes: in int8 its rows have a scale each, and activations do not matter."""

IN_BYTES = "torchao keeps int4 in bytes: no smaller than int8-dynamic and less exact; use int8-dynamic"
"""Why a backend that takes torchao's form of int4-dynamic refuses it."""

NO_FLOAT8_ON_CPUS: Mapping[str, str] = {
    "float8-weight": "CPUs have no float8 arithmetic: weights are widened in every call; use int8-dynamic, as small",
    "float8-dynamic": "CPUs have no float8 arithmetic: both operands are widened in every call; use int8-dynamic",
}
"""Why backends for CPUs refuse float8."""


def described(own: Mapping[str, str]) -> dict[str, str]:
    """A backend's `SCHEMES`: what each of its schemes does, and in brackets what is its own about it, if anything."""
    return {name: SCHEMES[name].summary + (f" ({note})" if note else "") for name, note in own.items()}
