"""One OpenUSD file of a sequence: a prim whose values have time samples. Needs usd-core (extra `usd`).

A time code counts steps of the sequence: `timeCodesPerSecond` says how many make a second, and values between samples
are linear. What is the same all the time is stored once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gen3dexport.assets import usd
from gen3dexport.assets.file_format import FileFormat, written_by
from gen3dexport.assets.sequence import AssetSequence
from gen3dexport.errors import UsageError


def time_codes(sequence: AssetSequence) -> tuple[float, list[float]]:
    """Time codes in a second, by the shortest step, and those of the items: whole numbers where steps are alike."""
    steps = np.diff(sequence.times)
    rate = round(1 / float(steps.min()), 6) if len(steps) else 1.0
    codes = (sequence.times - sequence.times[0]) * rate
    near = np.round(codes)
    return rate, np.where(np.abs(codes - near) < 1e-3, near, codes).tolist()


def content(sequence: AssetSequence, ending: str) -> bytes:
    """The bytes of a stage with the sequence as its default prim.

    Raises:
        UsageError: for items that OpenUSD holds nothing for here.
    """
    drawn = [item for item in sequence.items if isinstance(item, usd.Drawn)]
    if not drawn:
        raise UsageError(
            f"a {ending} holds a sequence of {', '.join(usd.KINDS)}, and this one of {sequence.items[0].kind}; name "
            "another file, e.g. a .zip"
        )

    def fill(stage: Any) -> Any:
        rate, codes = time_codes(sequence)
        stage.SetTimeCodesPerSecond(rate)
        stage.SetFramesPerSecond(rate)
        stage.SetStartTimeCode(codes[0])
        stage.SetEndTimeCode(codes[-1])
        prim = usd.define(stage, drawn[0])
        moments = [usd.values(moment) for moment in drawn]
        for name, first in moments[0].items():
            if any(moment[name] != first for moment in moments):
                for code, moment in zip(codes, moments, strict=True):
                    prim.GetPrim().GetAttribute(name).Set(moment[name], code)
        return prim

    return usd.stage_bytes(fill, ending)


FILES: Mapping[str, FileFormat] = {
    ending: written_by(content, ending, up="z", package="pxr", extra="usd") for ending in usd.FORMATS
}
"""The formats, as the kind sequence lists them."""
