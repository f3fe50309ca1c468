"""What `sensitivity` and `tune` find, as records."""

from __future__ import annotations

from typing import Literal

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
        megabytes: of all weights; of the bundle's programs and weights where it was built.
        loss: of the assets, by the eager model or by built programs (`loss_of`).
    """

    name: str
    uniform: bool
    choices: dict[str, ComponentChoice]
    megabytes: float
    loss: Number
    loss_of: Literal["eager model", "built programs"] = "eager model"


class Built(Tried):
    """A candidate that was built; `found` is what is minimized."""

    found: Value


class Tuned(Record):
    """The evidence of a search.

    Attributes:
        minimize, unit: the quantity; max_loss: the allowed loss.
        chosen: name of the best candidate within it; best_uniform: of the best with one scheme.
        gain: the share of the quantity that the chosen one saves of the best uniform one.
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

    @property
    def best(self) -> Built:
        """The candidate that was chosen."""
        return next(c for c in self.candidates if c.name == self.chosen)
