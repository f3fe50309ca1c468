"""What every asset has."""

from __future__ import annotations

from typing import ClassVar, Protocol


class Asset(Protocol):
    """An asset of any kind: a frozen dataclass that names its kind (`kinds`)."""

    kind: ClassVar[str]
