"""Captions that name every attribute of a shape (or, on request, only some of them)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

from training.trellis_mini.looks import MATERIALS, Look, accent_noun
from training.trellis_mini.shapes import CATEGORIES

# Irrelevant words that people write, and looser wordings of some attributes; short captions use both.
_FILLER = (
    "red",
    "blue",
    "green",
    "white",
    "black",
    "wooden",
    "metal",
    "old",
    "modern",
    "simple",
    "cute",
    "toy",
    "nice",
)
_LOOSE = {
    ("chair", "back", "low"): ("a low back",),
    ("chair", "back", "high"): ("a high back", "a tall back"),
    ("chair", "back", "none"): ("no back",),
    ("chair", "seat", "high"): ("long legs",),
    ("chair", "arms", "yes"): ("arms",),
    ("bench", "back", "high"): ("a high back", "a back"),
    ("bench", "back", "low"): ("a low back", "a back"),
    ("table", "legs", "thin"): ("four legs", "thin legs"),
    ("table", "legs", "thick"): ("four legs", "thick legs"),
    ("house", "roof", "gable"): ("a pitched roof", "a steep roof", "a pointed roof"),
    ("house", "roof", "hip"): ("a steep roof", "a pointed roof"),
    ("house", "chimney", "left"): ("a chimney",),
    ("house", "chimney", "right"): ("a chimney",),
    ("mug", "handle", "large"): ("a handle", "a big handle"),
    ("mug", "handle", "small"): ("a handle", "a little handle"),
    ("boat", "deck", "sail"): ("a tall sail", "sails"),
    ("rocket", "fins", "four"): ("fins", "tail fins"),
    ("airplane", "engines", "two"): ("engines",),
    ("stairs", "rail", "both"): ("railings",),
    ("shelf", "boards", "three"): ("many shelves",),
    ("lamp", "size", "wide"): ("a wide shade",),
    ("tree", "size", "wide"): ("a wide crown",),
    ("mushroom", "size", "wide"): ("a wide cap",),
}


def _join(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def _article(text: str) -> str:
    if text.endswith("stairs"):
        return text
    return ("an " if text[0] in "aeiou" and not text.startswith("one") else "a ") + text


def _name_colors(
    words: dict[str, list[str]], look: Look, category: str, params: Mapping[str, str], rng: Random | None
) -> None:
    """Add a look: color and material last before the noun, the accent's color before the accent's noun."""
    material = MATERIALS[look.material]
    words["adj"] += [word for word in (look.main, material[0] if rng is None else rng.choice(material)) if word]
    noun = accent_noun(category, params)
    if noun is None or look.accent == look.main:  # nothing else named: all of it has the one color
        return
    for index, part in enumerate(words["part"]):
        painted = re.sub(rf"\b{noun}\b", f"{look.accent} {noun}", part, count=1)
        if painted != part:
            words["part"][index] = painted.replace("a orange", "an orange")
            return
    plural = noun.endswith("s") and noun != "mattress"
    words["part"].append(f"{look.accent} {noun}" if plural else _article(f"{look.accent} {noun}"))


def caption(
    category: str,
    params: Mapping[str, str],
    rng: Random | None = None,
    keep: float = 1.0,
    look: Look | None = None,
) -> str:
    """A caption of a shape, and of its look if one is given.

    Without `rng` the canonical one; with it a paraphrase: another template, order, noun or wording.  With `keep` < 1
    every attribute is named with that probability only, so that the caption leaves the rest open.
    """
    spec = CATEGORIES[category]
    words: dict[str, list[str]] = {"adj": [], "part": [], "pose": []}
    for attribute in spec.attributes:
        wordings = attribute.options[params[attribute.name]]
        if rng is None:
            words[attribute.kind].append(wordings[0])
        elif keep >= 1 or rng.random() < keep:
            words[attribute.kind].append(wordings[0] if rng.random() < 0.6 else rng.choice(wordings))
    noun = spec.nouns[0]
    template = 0
    if look is not None:
        _name_colors(words, look, category, params, rng)
    if rng is not None:
        rng.shuffle(words["part"])
        if rng.random() < 0.3:
            rng.shuffle(words["adj"])
        if rng.random() < 0.25:
            noun = rng.choice(spec.nouns)
        template = rng.choice((0, 0, 1, 2, 3))
    thing = _article(" ".join([*words["adj"], noun]))
    pose = words["pose"][0] if words["pose"] else ""
    if not words["part"]:
        return f"{thing}, {pose}" if pose else thing
    parts = _join(words["part"])
    if template == 1:
        verb = "that have" if noun == "stairs" else "that has"
        text = f"{thing} {verb} {parts}"
    elif template == 2:
        text = f"{thing}: {parts}"
    elif template == 3:
        text = f"{noun}, {', '.join(words['adj'])}, with {parts}" if words["adj"] else f"{noun} with {parts}"
    else:
        text = f"{thing} with {parts}"
    return f"{text}, {pose}" if pose else text


def short_caption(category: str, params: Mapping[str, str], rng: Random, look: Look | None = None) -> str:
    """A caption as people type it: the noun, few of the attributes, the look or now and then an irrelevant word."""
    spec = CATEGORIES[category]
    keep = rng.random() * 0.6
    words: dict[str, list[str]] = {"adj": [], "part": [], "pose": []}
    for attribute in spec.attributes:
        if rng.random() < keep:
            value = params[attribute.name]
            wordings = attribute.options[value] + _LOOSE.get((category, attribute.name, value), ())
            words[attribute.kind].append(rng.choice(wordings))
    if look is not None:
        _name_colors(words, look, category, params, rng)
    elif rng.random() < 0.25:
        words["adj"].insert(rng.randrange(len(words["adj"]) + 1), rng.choice(_FILLER))
    rng.shuffle(words["part"])
    noun = rng.choice(spec.nouns) if rng.random() < 0.25 else spec.nouns[0]
    thing = " ".join([*words["adj"], noun])
    text = thing if rng.random() < 0.15 else _article(thing)
    if words["part"]:
        text += f" with {_join(words['part'])}"
    return f"{text}, {words['pose'][0]}" if words["pose"] else text
