"""Licences: under which terms a recipe's model is used and passed on, as SPDX expressions, and what they forbid."""

from __future__ import annotations

import re
from typing import Annotated, Self

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from pydantic import AfterValidator, Field, model_validator

from gen3dexport.documents.record import Record

OWN = "Apache-2.0"
"""The licence of this package's code, whose text is the file LICENSE."""
UNKNOWN = "not known"

_IDENTIFIER = re.compile(r"[\w.+-]+")
_FORBIDS_COMMERCE = re.compile(r"(^|-)NC(-|$)|noncommercial", re.IGNORECASE)
_OWN_TERMS = "LicenseRef-"
_ADDRESS = re.compile(r"https?://([\w.~:/?#@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+|([\w.~-][\w.~/-]*)?", re.ASCII)
_SPDX_LIST = "https://spdx.org/licenses/{}.html"


def _spdx(text: str) -> str:
    try:
        return canonicalize_license_expression(text)
    except InvalidLicenseExpression as error:
        words = str(error)
        raise ValueError(
            f"{words[0].lower()}{words[1:]}; write SPDX identifiers (MIT, Apache-2.0, CC-BY-NC-4.0, joined by AND and "
            f"OR), or {_OWN_TERMS}NAME with a link"
        ) from error


def _address(text: str) -> str:
    if _ADDRESS.fullmatch(text) is None:
        raise ValueError(f"{text[:100]!r} is no address; write https://..., or a path within the project")
    return text


Spdx = Annotated[str, Field(max_length=200), AfterValidator(_spdx)]
"""An SPDX licence expression, written as SPDX writes it."""

Link = Annotated[str, Field(max_length=500), AfterValidator(_address)]
"""Where something stands: an address that programs may open, a path within the project, or "" for none."""


class Licences(Record):
    """Under which terms a model is used and passed on; None where nobody has said.

    Attributes:
        code: of the published code that the networks come from. This package has none of it: its own is `OWN`.
        weights: of all weights that go into a bundle, the encoders' too.
        data: of what the weights were trained on.
        non_commercial: that commercial use of the weights is forbidden, where their expression does not say so itself.
        link: where terms stand that SPDX has no identifier for; needed for those.
        notice: what has to be said to whoever gets the model, word for word.
    """

    code: Spdx | None = None
    weights: Spdx | None = None
    data: Spdx | None = None
    non_commercial: bool = False
    link: Link = ""
    notice: str = Field(default="", max_length=5000)

    @model_validator(mode="after")
    def _terms_can_be_found(self) -> Self:
        own = [text for text in (self.code, self.weights, self.data) if text and _OWN_TERMS in text]
        if own and not self.link:
            raise ValueError(f"needs `link: ADDRESS`, where the terms of {own[0]} stand, which SPDX has no text of")
        return self

    @property
    def forbidding(self) -> dict[str, str]:
        """What commercial use is forbidden of -> the expression that says so."""
        parts = {"code": self.code, "weights": self.weights}
        found = {what: text for what, text in parts.items() if text and forbids_commerce(text)}
        return found | ({"weights": self.weights or UNKNOWN} if self.non_commercial else {})

    def lines(self) -> list[tuple[str, str]]:
        """Each part of the model with its licence, for people."""
        parts = {"code": self.code, "weights": self.weights, "training data": self.data}
        return [(what, text or UNKNOWN) for what, text in parts.items()]


def forbids_commerce(expression: str) -> bool:
    """Whether every choice that an expression leaves has a licence that forbids commercial use.

    An expression with parentheses counts as forbidding when any of its licences does.
    """
    choices = [expression] if "(" in expression else expression.split(" OR ")
    return all(any(map(_FORBIDS_COMMERCE.search, _IDENTIFIER.findall(choice))) for choice in choices)


def links(expression: str, own: str) -> list[str]:
    """Where the terms of an expression stand.

    Args:
        own: where those stand that SPDX has no identifier for.
    """
    names = [name for name in _IDENTIFIER.findall(expression) if name not in ("AND", "OR", "WITH")]
    found = (own if name.startswith(_OWN_TERMS) else _SPDX_LIST.format(name.rstrip("+")) for name in names)
    return [*dict.fromkeys(found)]


def warning(name: str, licences: Licences) -> str | None:
    """What is said of a model that must not be used commercially; None for any other.

    Args:
        name: of the recipe.
    """
    if not licences.forbidding:
        return None
    terms = ", ".join(f"{what} {text}" for what, text in licences.forbidding.items())
    known = [text for text in licences.forbidding.values() if text != UNKNOWN]
    where = dict.fromkeys([link for text in known for link in links(text, licences.link)] + [licences.link])
    return f"{name}: for non-commercial use only: {terms}" + "".join(f"; {link}" for link in where if link)
