"""From a recipe's factory to the settings of its pipeline. No torch before it is called."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from gen3dexport.documents.caches import private_folder
from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UsageError
from gen3dexport.models.custom.host.asset import Surface
from gen3dexport.models.custom.host.settings import Knobs, Settings


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of the factory's pipeline: it is imported, called, and run once on its example inputs.

    Raises:
        UsageError: when there is no factory, it cannot be imported, or what it gives is no pipeline of tensors.
    """
    if not knobs.factory:
        raise UsageError("family custom: no factory; write `model: {factory: package.module:function}` in the recipe")
    from gen3dexport.models.custom.networks.described import describe

    own = not random_weights and folder == private_folder("factories")
    settings = describe(knobs, own)
    if (asset := settings.asset) is not None:
        _check_asset(asset, settings)
    return settings


def _check_asset(asset: Any, settings: Settings) -> None:
    """Raises UsageError where an asset is made of what the pipeline does not give, or of another shape."""
    where = f"factory {settings.factory}: asset {asset.kind}"
    for name in asset.outputs:
        if name not in settings.gives:
            raise UsageError(f"{where}: {name!r} is no output{did_you_mean(name, settings.gives)}")
    if not isinstance(asset, Surface):
        return
    if asset.points not in settings.takes:
        raise UsageError(f"{where}: points {asset.points!r} is no input{did_you_mean(asset.points, settings.takes)}")
    taken, last = settings.takes[asset.points].shape, settings.parts[-1]
    if len(taken) not in (2, 3) or taken[-1] != 3 or taken[:-2] not in ((), (1,)):
        raise UsageError(f"{where}: {asset.points} has shape {list(taken)}; needs [1, N, 3] or [N, 3]")
    if asset.points not in last.inputs or asset.values not in last.outputs:
        raise UsageError(f"{where}: {asset.points} and {asset.values} must be of the last part, {last.name}")
    if any(asset.points in part.inputs for part in settings.parts[:-1]):
        raise UsageError(f"{where}: {asset.points} goes into another part than the last; give that an input of its own")
    given, count = settings.gives[asset.values].shape, taken[-2]
    if math.prod(given) != count:
        raise UsageError(f"{where}: {asset.values} has shape {list(given)}; needs one value for each of {count} points")
