"""What `sensitivity` and `tune` find, as records."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gen3dexport.documents.recipe import ComponentChoice
from gen3dexport.documents.record import Record
from gen3dexport.reports.records import Number, Value


class Layer(Record):
    """One layer of a component, in every repeated block, quantized alone.

    Attributes:
        pattern: names it; layers: how many it stands for; parameters: of them all.
        saved_bytes: that its weights get smaller by.
        snr_db: at the component's outputs; loss: of the assets.
        reason: why it was not tried, or None when it was; then the three above are known.
    """

    component: str
    scheme: str
    pattern: str
    layers: int
    parameters: int
    saved_bytes: int | None = None
    snr_db: Number | None = None
    loss: Number | None = None
    reason: str | None = None


class Sensitivity(Record):
    """What each layer costs; `loss` says of what the losses are."""

    schema_version: Literal[2] = Field(default=2, alias="schema")
    recipe: str
    target: str
    prompts: tuple[str, ...]
    seed: int
    loss: str
    rows: tuple[Layer, ...]


class Tried(Record):
    """A choice for every component, tried on the eager model.

    Attributes:
        uniform: whether every component has one scheme.
        choices: of the components that are not in float32.
        knobs: of samplers, beside the recipe's own: dotted path below `knobs` -> value; null takes the recipe's out.
        megabytes: of all weights; of the bundle's programs and weights where it was built.
        loss: of the assets, by the eager model or by built programs (`loss_of`).
        held_out: likewise of the held-out prompts' assets; None where they were not asked.
    """

    name: str
    uniform: bool
    choices: dict[str, ComponentChoice]
    knobs: dict[str, Any] = {}
    megabytes: float
    loss: Number
    held_out: Number | None = None
    loss_of: Literal["eager model", "built programs"] = "eager model"


class Built(Tried):
    """A candidate that was built.

    Attributes:
        found: what is minimized; device: where it was measured, if it was.
        calls: for one asset, by component; per_call: milliseconds of one.
    """

    found: Value
    device: str = ""
    calls: dict[str, int] = {}
    per_call: dict[str, Value] = {}


class HeldOut(Record):
    """Prompts that a search is judged by and does not see.

    Attributes:
        source: where they are from, or why there are none.
    """

    prompts: tuple[str, ...]
    source: str


class SamplerTried(Record):
    """Sampler settings that were tried on the eager float32 model.

    Attributes:
        knobs: see `Tried`; calls: for one asset, by component.
        cost: milliseconds of the network calls of one asset, estimated (`Samplers.cost_of`).
        loss: of the golden prompts' assets; held_out: of the held-out ones', where it was asked.
    """

    name: str
    knobs: dict[str, Any]
    calls: dict[str, int]
    cost: float
    loss: Number
    held_out: Number | None = None


class Samplers(Record):
    """The search for sampler settings; the first row is the recipe's own settings.

    Attributes:
        cost_of: by what the costs are estimated.
        joint: settings with schemes that were tried on the eager model before they were built.
    """

    cost_of: str
    rows: tuple[SamplerTried, ...]
    joint: tuple[Tried, ...] = ()


class Tuned(Record):
    """The evidence of a search.

    Attributes:
        minimize, unit: the quantity; max_loss: the allowed loss.
        chosen: name of the best candidate within it; best_uniform: of the best with one scheme.
        gain: the share of the quantity that the chosen one saves of the best uniform one.
        held_out: the prompts that candidates had to keep `max_loss` on as well; None where none were wanted.
        samplers: the search for sampler settings, where there was one.
    """

    schema_version: Literal[2] = Field(default=2, alias="schema")
    recipe: str
    target: str
    backend: str
    minimize: str
    unit: str
    max_loss: float
    chosen: str
    best_uniform: str
    gain: float
    candidates: tuple[Built, ...]
    tried: tuple[Tried, ...]
    sensitivity: Sensitivity
    held_out: HeldOut | None = None
    samplers: Samplers | None = None

    @property
    def best(self) -> Built:
        """The candidate that was chosen."""
        return next(c for c in self.candidates if c.name == self.chosen)
