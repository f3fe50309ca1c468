"""Programs on disk: what a backend wrote, and what a bundle's manifest holds of it. No vendor package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator

from gen3dexport.documents.record import Record, told
from gen3dexport.errors import VerificationError

Needs = TypeVar("Needs", bound=Record)
_INTEGERS = r"u?int(8|16|32|64)"
_FLOATS = r"bfloat16|float(8_e4m3fn|8_e5m2|16|32|64)"


@dataclass(frozen=True)
class Estimate:
    """A number that no device measured: value in the unit of its key, and the cost model that gave it."""

    value: float
    by: str


@dataclass(frozen=True)
class Lowered:
    """What `lower` wrote.

    Attributes:
        files: names of the files inside the folder that make up the program; the first is the program itself.
        requires: what `load` needs to know, as a record of the backend's own.
        facts: JSON-able facts for people (delegation, planned memory, operators, cubin architectures, ...); only pages
            and tables read them.
        estimates: e.g. {"latency_ms": [Estimate(0.58, "roofline v5e"), Estimate(0.61, "libtpu cost analysis")]}.
        unmeasured: why the program cannot be run on its device here, or None when it can; e.g. "no sm_90 device".
        extra: further programs made from the same component, by name: NAME_sampler is its whole sampler loop as one
            program, every other one a twin, a form of the component for the device alone.
        inputs, outputs: the program's own, when they are not the component's (a sampler loop's).
    """

    files: tuple[str, ...]
    requires: Record | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    estimates: Mapping[str, tuple[Estimate, ...]] = field(default_factory=dict)
    unmeasured: str | None = None
    extra: Mapping[str, Lowered] = field(default_factory=dict)
    inputs: Mapping[str, TensorSpec] | None = None
    outputs: Mapping[str, TensorSpec] | None = None


class ProgramRecord(Record):
    """One program as the manifest has it: enough to load and call it.

    Attributes:
        requires: the backend's own record of what `load` needs, see `required`; facts: for people alone.
    """

    name: str
    component: str
    role: Literal["component", "sampler", "twin"] = "component"
    files: tuple[str, ...] = Field(min_length=1)
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    scheme: str = "fp32"
    requires: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    estimates: dict[str, tuple[Estimate, ...]] = {}
    unmeasured: str | None = None

    @property
    def rules(self) -> Mapping[str, str]:
        """Exceptions to its scheme, pattern -> scheme."""
        rules: Mapping[str, str] = self.facts.get("rules", {})
        return rules

    @field_validator("facts")
    @classmethod
    def _rules_are_texts(cls, facts: dict[str, Any]) -> dict[str, Any]:
        rules = facts.get("rules", {})
        if not isinstance(rules, Mapping) or not all(isinstance(text, str) for pair in rules.items() for text in pair):
            raise ValueError("rules: needs patterns and their schemes")
        return facts


class TensorSpec(Record):
    """Shape and dtype (NumPy's name, e.g. float32, int64) of an input or output."""

    shape: tuple[Annotated[int, Field(ge=1)], ...]
    dtype: str = Field(pattern=rf"^(bool|{_INTEGERS}|{_FLOATS})$")


def specs(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    """Specs of NumPy arrays or torch tensors by name."""
    return {k: TensorSpec(shape=tuple(v.shape), dtype=str(v.dtype).removeprefix("torch.")) for k, v in tensors.items()}


def program_record(
    name: str,
    lowered: Lowered,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    *,
    component: str | None = None,
    role: Literal["component", "sampler", "twin"] = "component",
    scheme: str = "fp32",
) -> ProgramRecord:
    """The record of a lowered program: what it knows of itself, else what its component takes and gives."""
    return ProgramRecord(
        name=name,
        component=component or name,
        role=role,
        files=lowered.files,
        inputs=dict(lowered.inputs or inputs),
        outputs=dict(lowered.outputs or outputs),
        scheme=scheme,
        requires={} if lowered.requires is None else lowered.requires.model_dump(mode="json"),
        facts=dict(lowered.facts),
        estimates=dict(lowered.estimates),
        unmeasured=lowered.unmeasured,
    )


def required(program: ProgramRecord, needs: type[Needs]) -> Needs:
    """What `load` needs to know of a program, as its backend's own record.

    Raises:
        VerificationError: when the manifest says too little or something else.
    """
    try:
        return needs.model_validate(program.requires)
    except ValidationError as error:
        raise VerificationError(
            f"program {program.name}: the manifest's `requires` is not what its backend wrote ({told(error)}); build "
            "the bundle again"
        ) from error


ProgramRecord.model_rebuild()
