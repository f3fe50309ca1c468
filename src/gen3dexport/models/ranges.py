"""Ranges of activations, as a calibration observes them for static int8 schemes. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rounding:
    """One tensor's form in int8: value = (integer - zero_point) * scale."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Ranges:
    """What goes into a layer and what comes out of it, in int8."""

    input: Rounding
    output: Rounding
