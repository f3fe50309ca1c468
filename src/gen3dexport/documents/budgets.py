"""Budgets: floors and ceilings that a recipe or a target puts on what is measured."""

from __future__ import annotations

from pydantic import Field

from gen3dexport.documents.document import Record


class Budgets(Record):
    """Limits; a field that is not set asks for nothing.

    Attributes:
        relative_l2: worst relative L2 error of any component against its own quantized eager model (ceiling).
        relative_l2_fp32: the same against the float32 eager model (ceiling).
        iou: mean IoU of the generated against the float32 eager asset's occupancy (floor).
        f_score: mean F-score of the surfaces at 1.5 voxels (floor).
        latency_ms: median time of one asset (ceiling).
        peak_memory_mb: peak memory of the largest component while it runs (ceiling).
        size_mb: programs and weights on disk (ceiling).
        size_ratio: bytes of each quantized program over those of its own unquantized program (ceiling; below 1 the
            build fails where quantization makes nothing smaller).
        allow_slowdown: how much slower than its own unquantized program a quantized program may be, as a fraction: 0.1
            is a tenth slower, 0 not slower, -0.3 at least three tenths faster. Both are timed in one process in turn.
        baseline: scheme of the program that `size_ratio` and `allow_slowdown` compare with.
        accept_estimates: whether an estimated number may pass a budget.
        accept_unmeasured: whether a build succeeds although a budget could not be judged, because the device is not at
            hand; the verdict stays `unmeasured`, and `validate` on a machine with the device judges it.
    """

    relative_l2: float | None = Field(default=None, gt=0)
    relative_l2_fp32: float | None = Field(default=None, gt=0)
    iou: float | None = Field(default=None, ge=0, le=1)
    f_score: float | None = Field(default=None, ge=0, le=1)
    latency_ms: float | None = Field(default=None, gt=0)
    peak_memory_mb: float | None = Field(default=None, gt=0)
    size_mb: float | None = Field(default=None, gt=0)
    size_ratio: float | None = Field(default=None, gt=0)
    allow_slowdown: float | None = Field(default=None, gt=-1)
    baseline: str = "fp32"
    accept_estimates: bool = False
    accept_unmeasured: bool = False

    @property
    def gates(self) -> bool:
        """Whether quantized programs are compared with their own unquantized ones."""
        return self.size_ratio is not None or self.allow_slowdown is not None

    def over(self, base: Budgets) -> Budgets:
        """These budgets, with `base` where nothing is set."""
        return Budgets(**{**base.model_dump(exclude_unset=True), **self.model_dump(exclude_unset=True)})
