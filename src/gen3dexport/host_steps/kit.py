"""A conformance kit on disk: golden values of every host step, for implementations in any language. No NumPy.

KIT/
  kit.json        the index, a `Kit`
  README.md       how an implementation is checked
  noise/SEED.npy  the first numbers of a seed
  K/VALUE.npy     of request K, every value that a step makes; K/VALUE.N.npy a sampler's latent after its step N
  K/KIND.ARRAY.npy, K/KIND.glb, ...   its assets: arrays, and files as `gen3dexport run` writes them
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from gen3dexport.documents.host_steps import HostSteps, Value
from gen3dexport.documents.record import Record, told
from gen3dexport.errors import UsageError, VerificationError

INDEX = "kit.json"
_File = Annotated[str, Field(pattern=r"^(\w[\w.-]*/)?\w[\w.-]*$", max_length=200)]
_Share = Annotated[float, Field(ge=0, le=1)]


class StepValues(Record):
    """What one step made.

    Attributes:
        values: file by value. latents: files of a sampler's latent after each of its steps.
    """

    op: str
    values: dict[Value, _File]
    latents: tuple[_File, ...] = ()


class KitRequest(Record):
    """One request and all that comes of it.

    Attributes:
        features: file of the features that the application gives, or None.
        assets: by kind, file by the asset's array.
        files: by kind, the asset as files of their endings.
    """

    prompt: str
    seed: int = Field(ge=0)
    features: _File | None = None
    steps: tuple[StepValues, ...]
    assets: dict[str, dict[str, _File]]
    files: dict[str, tuple[_File, ...]] = {}


class NoiseCase(Record):
    """Noise of a seed.

    Attributes:
        first: file of its first numbers, float32.
        count: numbers whose bytes, float32 little-endian in their order, have the SHA-256 `sha256`.
    """

    seed: int = Field(ge=0)
    first: _File
    count: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class TokenCase(Record):
    """A text and its tokens, neither filled up nor cut.

    Attributes:
        may_differ: why other implementations read other tokens, or None.
    """

    text: str
    ids: tuple[int, ...]
    may_differ: str | None = None


class Tolerance(Record):
    """How far an implementation's value may be from the kit's: relative L2 norm of the difference; 0: bit for bit."""

    relative_l2: float = Field(ge=0)


class Kit(Record):
    """The index of a kit.

    Attributes:
        bundle: digest of the manifest of the bundle that made the values; recipe, target: of that bundle.
        host_steps: as in the bundle's manifest.
        tolerances: by value. scores: by kind of asset, the floor of its first score.
    """

    version: Literal[1] = 1
    gen3dexport: str
    bundle: str
    recipe: str
    target: str
    host_steps: HostSteps
    requests: tuple[KitRequest, ...] = Field(min_length=1)
    noise: tuple[NoiseCase, ...]
    tokens: tuple[TokenCase, ...]
    tolerances: dict[Value, Tolerance]
    scores: dict[str, _Share]

    @model_validator(mode="after")
    def _every_value_has_its_limit(self) -> Self:
        made = {value for request in self.requests for step in request.steps for value in step.values}
        assets = [(kind, files) for request in self.requests for kind, files in request.assets.items()]
        known = self.scores.keys() & self.host_steps.assets.keys()
        problems = [f"tolerances: {value}: missing" for value in sorted(made - self.tolerances.keys())]
        problems += [
            f"assets: {kind}: has no score or no rule" for kind in sorted({kind for kind, _ in assets} - known)
        ]
        problems += [f"assets: {kind}: has no array" for kind, files in assets if not files]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def read_kit(folder: Path) -> Kit:
    """The index of the kit in `folder`.

    Raises:
        UsageError: when the folder is no kit.
        VerificationError: when its index is damaged.
    """
    path = folder / INDEX
    if not path.is_file():
        raise UsageError(f"{folder}: no kit (no {INDEX}); make one with: gen3dexport embed-kit BUNDLE -o {folder}")
    try:
        return Kit.model_validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        raise VerificationError(f"{path}: damaged: {told(error)}; make the kit again") from error


def kit_text(kit: Kit) -> str:
    """The index as it is written."""
    return json.dumps(kit.model_dump(mode="json"), indent=1) + "\n"
