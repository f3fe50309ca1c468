"""What is known of a bundle, as records: what `measure` finds, and the report that is made of it. No torch, no NumPy.

A number is measured (on this machine), estimated (by a named cost model) or unmeasured (with the reason); nothing else
stands for "not known". Numbers may be infinite or NaN where the mathematics says so; JSON has them as "inf", "-inf" and
"nan".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, field_validator

from gen3dexport.assets.score import Score, loss
from gen3dexport.bundle.program import Estimate
from gen3dexport.documents.licences import Licences
from gen3dexport.documents.record import Record

SCHEMA = 2
Verdict = Literal["pass", "fail", "unmeasured"]
Against = Literal["fp32", "quantized"]
"""What a program's outputs are compared with: the float32 eager model, or its own quantized one."""


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _number(value: Any) -> Any:
    """What `_json_number` wrote, as a number again."""
    return float(value) if value in ("inf", "-inf", "nan") else value


def _score(value: Any) -> Any:
    """A score's fields, or whatever else there is."""
    return {**value, "value": _number(value["value"])} if isinstance(value, Mapping) and "value" in value else value


def _score_fields(score: Score) -> dict[str, float | str]:
    return {"name": score.name, "value": _json_number(score.value), "better": score.better, "unit": score.unit}


Number = Annotated[float, BeforeValidator(_number), PlainSerializer(_json_number, when_used="json")]
_Score = Annotated[Score, BeforeValidator(_score), PlainSerializer(_score_fields, when_used="json")]


class Measured(Record):
    """A number that was measured."""

    basis: Literal["measured"] = "measured"
    value: Number


class Estimated(Record):
    """A number that no device measured, by every cost model that knows it."""

    basis: Literal["estimated"] = "estimated"
    estimates: tuple[Estimate, ...] = Field(min_length=1)

    @property
    def worst(self) -> Estimate:
        """The largest estimate."""
        return max(self.estimates, key=lambda e: e.value)


class Unmeasured(Record):
    """A number that is not known, and why."""

    basis: Literal["unmeasured"] = "unmeasured"
    reason: str


class MeasuredTimes(Record):
    """Percentiles in milliseconds over `runs` calls, after `warmup` that do not count, on so many CPU threads."""

    basis: Literal["measured"] = "measured"
    threads: int
    warmup: int
    runs: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    min_ms: float


class MeasuredMemory(Record):
    """The peak of what a program needed, in bytes of the host's memory or of its device's."""

    basis: Literal["measured"] = "measured"
    bytes: int
    where: Literal["host", "device"]


class MeasuredSlowdown(Record):
    """How much slower a program is than its unquantized one: (own / unquantized) - 1, the median over turns.

    Attributes:
        p50_ms, unquantized_p50_ms: medians of both, in milliseconds; runs: turns; threads: of the CPU.
    """

    basis: Literal["measured"] = "measured"
    slowdown: float
    p50_ms: float
    unquantized_p50_ms: float
    runs: int
    threads: int


Value = Annotated[Measured | Estimated | Unmeasured, Field(discriminator="basis")]
Latency = Annotated[MeasuredTimes | Estimated | Unmeasured, Field(discriminator="basis")]
PeakMemory = Annotated[MeasuredMemory | Unmeasured, Field(discriminator="basis")]
Slowdown = Annotated[MeasuredSlowdown | Estimated | Unmeasured, Field(discriminator="basis")]


class OutputError(Record):
    """The error of one output, the worst of the kept calls; fields as in `TensorError`."""

    max_abs: Number
    relative_l2: Number
    cosine: Number
    psnr_db: Number


class Errors(Record):
    """The errors of a program's outputs by name; none where it did not run."""

    fp32: dict[str, OutputError] = {}
    quantized: dict[str, OutputError] = {}

    def against(self, reference: Against) -> Mapping[str, OutputError]:
        """Those against one reference."""
        return self.fp32 if reference == "fp32" else self.quantized

    def worst(self, reference: Against) -> float | None:
        """The largest relative L2 error of any output; NaN beats every number, None where nothing was compared."""
        return worst(e.relative_l2 for e in self.against(reference).values())


def worst(values: Iterable[float]) -> float | None:
    """The largest; NaN beats every number, None where there is none."""
    return max(values, key=lambda v: (math.isnan(v), v), default=None)


class MeasuredProgram(Record):
    """What `measure` found of one program.

    Attributes:
        errors: on its golden calls; slowdown: beside its unquantized program, where a budget asks for it.
        missing: why it could not be loaded here, or None when it was.
    """

    errors: Errors = Errors()
    latency: Latency
    peak_memory: PeakMemory
    slowdown: Slowdown | None = None
    missing: str | None = None


class Quality(Record):
    """One golden prompt's assets against the float32 eager ones.

    Attributes:
        scores: by kind of asset; the first of each kind is its primary one.
    """

    prompt: str
    scores: dict[str, tuple[_Score, ...]]

    @property
    def loss(self) -> float:
        """The largest 1 - primary score over the kinds."""
        return loss(self.scores)

    def score(self, kind: str, name: str) -> Score | None:
        """A score by its kind and name; None when there is none."""
        return next((s for s in self.scores.get(kind, ()) if s.name == name), None)


class Pipeline(Record):
    """What is known of whole assets.

    Attributes:
        prompts, seed: what the assets are of.
        quality: per prompt; none where no assets were made, for the reason `missing`.
        latency: of one asset; stages: milliseconds of one asset by component, none where they are not the target's.
        drift: per sampler, prompt and step, the SNR of the latent against float32 in dB; None where both are equal.
    """

    prompts: tuple[str, ...]
    seed: int
    quality: tuple[Quality, ...] = ()
    missing: str | None = None
    latency: Latency
    stages: dict[str, float] = {}
    drift: dict[str, tuple[tuple[float | None, ...], ...]] = {}


class Measurement(Record):
    """What `measure` found of a bundle: its programs by name, and whole assets."""

    device: str
    programs: dict[str, MeasuredProgram]
    pipeline: Pipeline


class Failure(Record):
    """Why `measure` found nothing: an error of this package by its name, and its message."""

    error: str
    message: str


class BesideUnquantized(Record):
    """A quantized program beside its unquantized one, whose scheme and bytes these are; size_ratio is below 1 where
    quantization made it smaller."""

    scheme: str
    bytes: int
    size_ratio: float
    slowdown: Slowdown


class Delegation(Record):
    """How much of a program its delegate took: operators, and the share of the FLOPs, where that is known."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    operators_inside: int | None = None
    operators_outside: int | None = None
    flops_share: float | None = None
    outside: dict[str, int] = {}


class ProgramReport(Record):
    """One program in a report.

    Attributes:
        name: of the program; component: that it is made of; role: the component itself, its sampler loop or a twin.
        program_bytes, weights_bytes: of the program's file, and of those beside it.
        facts: what its backend says of it, for people.
        estimates: of its backend's cost models, by quantity with its unit.
        unquantized: where a budget compares it with its unquantized program.
    """

    name: str
    component: str
    role: Literal["component", "sampler", "twin"]
    scheme: str
    parameters: int
    program_bytes: int
    weights_bytes: int
    errors: Errors
    latency: Latency
    peak_memory: PeakMemory
    missing: str | None
    facts: dict[str, Any]
    estimates: dict[str, tuple[Estimate, ...]]
    unquantized: BesideUnquantized | None

    @field_validator("facts")
    @classmethod
    def _delegation_is_one(cls, facts: dict[str, Any]) -> dict[str, Any]:
        if facts.get("delegation"):
            Delegation.model_validate(facts["delegation"])
        return facts

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return self.program_bytes + self.weights_bytes

    @property
    def delegation(self) -> Delegation | None:
        """How much its delegate took, where its backend says."""
        found = self.facts.get("delegation")
        return Delegation.model_validate(found) if found else None


class Judged(Record):
    """A budget and its verdict.

    Attributes:
        name: of the budget; of a score `KIND.SCORE`.
        floor: whether the limit is a floor; else it is a ceiling.
        value: None when it is unmeasured; by: the cost model of an estimate; reason: why it failed or was not judged.
        exit_code: of the command line when it is missed.
    """

    name: str
    limit: float
    value: Number | None
    unit: str
    basis: Literal["measured", "estimated", "unmeasured"]
    by: str | None
    floor: bool
    verdict: Verdict
    reason: str | None
    exit_code: int


class Report(Record):
    """What a bundle is, what was measured of it, and the verdict on every budget that is set; `report.json`.

    Attributes:
        licences: of the model.
        device: that it was measured on; versions: of the packages here, built_with: where it was built.
        size_bytes: of all programs and weights.
        accept_unmeasured: whether a budget that could not be judged lets the build succeed.
    """

    schema_version: Literal[2] = Field(default=2, alias="schema")
    bundle: str
    recipe: str
    target: str
    backend: str
    device: str
    created: str
    versions: dict[str, str]
    built_with: dict[str, str]
    random_weights: bool
    licences: Licences
    components: tuple[ProgramReport, ...]
    pipeline: Pipeline
    size_bytes: int
    budgets: tuple[Judged, ...]
    verdict: Verdict
    accept_unmeasured: bool

    @property
    def networks(self) -> tuple[ProgramReport, ...]:
        """The programs that are components themselves, in pipeline order."""
        return tuple(c for c in self.components if c.role == "component")

    def to_json(self) -> str:
        """The text of `report.json`."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"
