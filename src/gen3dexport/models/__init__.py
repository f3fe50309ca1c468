"""Model families. A family is one folder here, or a package named by an entry point of `gen3dexport.families`, with the
names of `Family`. Its package imports no torch, for applications import it too: networks are loaded through the
declarations that `components` gives.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, Protocol, cast

from gen3dexport import plugins
from gen3dexport.documents.host_steps import HostSteps
from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UsageError
from gen3dexport.models.declaration import Declaration, State
from gen3dexport.models.weights import WeightFiles

_GROUP = "gen3dexport.families"
_REQUIRED = ("Knobs", "Settings", "read_settings", "components", "begin", "make_assets")


@dataclass(frozen=True)
class Request:
    """What a user asks of a pipeline.

    Attributes:
        prompt: text to make an asset of.
        seed: of the noise.
        features: condition features [L, C] that replace the pipeline's own encoder, e.g. of an image.
        image: what to make an asset of, where the pipeline takes an image: a file's path, an uint8 array
            [H, W, 3 or 4], or a Pillow image; several as a list, an array or a folder.
        video: a film's pictures in order, where the pipeline makes one asset of a film; rate: how many a second.
        stand_in: that golden data is made: the family makes up, from the seed, what the request lacks (a picture,
            token ids, features), and with `random` also what networks without trained weights cannot decide.
        inputs: arrays by name, where the pipeline takes such (a model of one's own).
    """

    prompt: str = ""
    seed: int = 0
    features: Any = None
    image: Any = None
    video: Iterable[Any] | None = None
    rate: float | None = None
    stand_in: Literal["", "trained", "random"] = ""
    inputs: Mapping[str, Any] | None = None


class KnobsModel(Protocol):
    """What a recipe may set for a family, under `knobs`; a frozen pydantic model that forbids other keys.

    Attributes:
        WEIGHTS: which files make up a checkpoint of the family.
    """

    WEIGHTS: ClassVar[WeightFiles]

    def __call__(self, **fields: Any) -> Any: ...


class PipelineSettings(Protocol):
    """Everything a family's host steps need; a frozen pydantic model that the manifest keeps.

    Attributes:
        RUN_FIELDS: what an application may change when it runs a bundle: name -> dotted path of the field.
        asset_kinds: kinds of the assets that the pipeline makes.
        left_out: components that the checkpoint names and whose weights are not here; a recipe may speak of them.

    Settings may have `takes_film`: whether the pipeline makes one asset of a whole film (`Request.video`).
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]]

    @property
    def asset_kinds(self) -> tuple[str, ...]: ...
    @property
    def left_out(self) -> tuple[str, ...]: ...


class Family(Protocol):
    """The names of a family's package.

    Attributes:
        Knobs: the model of `knobs` in a recipe; Settings: the model of what the host needs.
    """

    Knobs: Any
    Settings: Any

    def read_settings(self, folder: Path, knobs: Any, random_weights: bool) -> Any:
        """Settings of a checkpoint folder with the recipe's knobs on top.

        Raises:
            UsageError: when a file is missing or damaged, or a knob is for something that the checkpoint has not.
        """

    def components(self, settings: Any) -> tuple[Declaration, ...]:
        """The pipeline's components, in the order they run."""

    def begin(self, settings: Any, request: Request, files: Path, xp: Any) -> State:
        """What is known before any network ran.

        Args:
            files: folder with the host files that the components declare.
            xp: Array API namespace of the arrays.

        Raises:
            UsageError: for a request that the pipeline cannot take.
        """

    def make_assets(self, state: State, settings: Any) -> dict[str, Any]:
        """The assets of a finished state, by kind; an asset of which there is nothing is an empty one."""

    def agreement(self) -> ModuleType:
        """The module for `gen3dexport parity`; imports torch. It has

        read(folder) -> Golden                      a golden set of the family, its network with the stored weights
        outputs(golden, run) -> (found, expected)   its outputs by name, from a run of its network
        NOISE: Mapping[str, float]                  of outputs whose reference is not exact: by how much; may be missing
        """

    def host_steps(self, settings: Any) -> HostSteps | None:
        """What the host does between the programs, as data that the manifest keeps; None where the operations there are
        do not describe it. A family may leave the function out."""


def names() -> list[str]:
    """Every family: the folders here and those of the entry-point group."""
    return sorted({*_here(), *plugins.found(_GROUP)})


def _here() -> set[str]:
    return {m.name for m in pkgutil.iter_modules(__path__) if m.ispkg}


def module_name(family: str) -> str:
    """The package of a family, not imported; a folder here comes before an entry point. A name may have `-` for `_`,
    as recipes and folders do.

    Raises:
        UsageError: when there is no such family.
    """
    known = names()
    family = next((name for name in known if name.replace("-", "_") == family.replace("-", "_")), family)
    if family not in known:
        raise UsageError(f"family {family!r}: unknown{did_you_mean(family, known)}")
    return f"{__name__}.{family}" if family in _here() else plugins.found(_GROUP)[family].value


def find(family: str) -> Family:
    """The family of that name; imports no torch.

    Raises:
        UsageError: when there is no such family, or its package cannot be imported or lacks a name.
    """
    return cast(Family, package(family))


def host_steps(family: Family, settings: Any) -> HostSteps | None:
    """The host steps that a family declares for these settings; None where it declares none."""
    declare = getattr(family, "host_steps", None)
    return None if declare is None else declare(settings)


def package(family: str) -> ModuleType:
    """The family's package as a module; imports no torch.

    Raises:
        UsageError: when there is no such family, or its package cannot be imported or lacks a name.
    """
    name = module_name(family)
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"family {family!r}: its package {name} cannot be imported ({error}); install it") from error
    missing = [n for n in _REQUIRED if not hasattr(module, n)]
    if missing:
        lacks = ", ".join(missing)
        raise UsageError(f"family {family!r}: its package {name} lacks {lacks}; see gen3dexport.models.Family")
    return module
