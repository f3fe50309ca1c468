"""Captions that name every attribute of a shape (or, on request, only some of them)."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from training.trellis_mini.shapes import CATEGORIES


def _join(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def _article(text: str) -> str:
    if text.endswith("stairs"):
        return text
    return ("an " if text[0] in "aeiou" and not text.startswith("one") else "a ") + text


def caption(category: str, params: Mapping[str, str], rng: Random | None = None, keep: float = 1.0) -> str:
    """A caption of a shape.

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
