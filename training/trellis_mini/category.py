"""How a category of shapes is described: its attributes, their wordings and the function that builds a shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from training.trellis_mini.sdf import Field

Params = Mapping[str, str]


@dataclass(frozen=True)
class Attribute:
    """One choice of a category.  `kind` says where its wording goes in a caption: "adj", "part" or "pose"."""

    name: str
    kind: str
    options: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Category:
    """A noun (with synonyms), its attributes and the builder of the shape that a choice of all attributes names.

    Builders make shapes that face the front (-y); an attribute called "facing" turns the result.
    """

    name: str
    nouns: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    build: Callable[[Params], Field]


def adj(name: str, **options: str) -> Attribute:
    """An attribute worded as an adjective before the noun; wordings are separated by "|"."""
    return Attribute(name, "adj", {key: tuple(text.split("|")) for key, text in options.items()})


def part(name: str, **options: str) -> Attribute:
    """An attribute worded as something the shape has; wordings are separated by "|"."""
    return Attribute(name, "part", {key: tuple(text.split("|")) for key, text in options.items()})


FACING = Attribute(
    "facing",
    "pose",
    {
        "front": ("facing the front", "facing forward"),
        "right": ("facing right", "facing to the right"),
        "back": ("facing the back", "facing backward"),
        "left": ("facing left", "facing to the left"),
    },
)

TURNS = {"front": 0, "right": 1, "back": 2, "left": 3}
