"""From the published pickles, read as tensors alone, to the components, strictly."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Weights
from gen3dexport.models.xfeat.host.settings import FEATURES, GIVEN, MATCHER, OUTPUTS, Settings
from gen3dexport.models.xfeat.networks.lighterglue import LighterGlue
from gen3dexport.models.xfeat.networks.network import XFeat
from gen3dexport.networks.checkpoints import load_strictly, read_weights

_MATCHER, _COPY = "matcher.", "extractor."
_COMPUTED = "confidence_thresholds"  # a buffer of the published class, made and not stored


def features(folder: Path) -> XFeat:
    """XFeat with the weights of `folder`/xfeat.pt.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    path = folder / f"{FEATURES}.safetensors"  # or the pickle beside it
    network = load_strictly(XFeat(), read_weights(path, allow_pickle=True), str(path.with_suffix(".pt")))
    assert isinstance(network, XFeat)
    return network


def matcher(folder: Path) -> LighterGlue:
    """LighterGlue with the weights of `folder`/xfeat-lighterglue.pt; its copy of XFeat, which differs, is left.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    path = folder / f"{MATCHER}.safetensors"
    state = read_weights(path, allow_pickle=True)
    own = {name.removeprefix(_MATCHER): value for name, value in state.items() if not name.startswith(_COPY)}
    own.pop(_COMPUTED, None)
    network = load_strictly(LighterGlue(), own, str(path.with_suffix(".pt")))
    assert isinstance(network, LighterGlue)
    return network


def load_component(name: str, settings: Settings, folder: Path, weights: Weights) -> Component:
    """One component with the weights of `folder`, with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    if weights == "stored":
        return component_of(features(folder) if name == FEATURES else matcher(folder))
    made = XFeat if name == FEATURES else LighterGlue
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return component_of(made())
    with torch.device("meta"):
        return component_of(made()).with_inputs(example_inputs(name, settings))


def example_inputs(name: str, settings: Settings) -> dict[str, Tensor]:
    """Inputs of a component, all zero."""
    if name == FEATURES:
        return {"image": torch.zeros(1, 3, settings.height, settings.width)}
    count = settings.keypoints
    shapes = {"points": (count, 2), "descriptors": (count, 64), "mask": (1, count)}
    return {given: torch.zeros(1, *shapes[given.rstrip("01")]) for given in GIVEN}


def component_of(network: XFeat | LighterGlue) -> Component:
    """The component of a published network, which is changed into what is built."""
    if isinstance(network, XFeat):
        return Component("xfeat", network.fold().eval().requires_grad_(False), {}, OUTPUTS)
    return Component("lighterglue", network.lean().eval().requires_grad_(False), {}, ("log_assignment",))
