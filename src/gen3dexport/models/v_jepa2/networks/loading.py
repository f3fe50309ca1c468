"""From a released file (`model.safetensors`) to the components, strictly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gen3dexport.models.component import Component
from gen3dexport.models.declaration import Reading, Weights
from gen3dexport.models.v_jepa2.host.model import Model
from gen3dexport.models.v_jepa2.host.settings import FEATURES, FILM, PREDICTED, PREDICTOR, Settings
from gen3dexport.models.v_jepa2.networks.layouts import check_layout, has_predictor
from gen3dexport.models.v_jepa2.networks.network import Encoder, Predictor
from gen3dexport.models.v_jepa2.networks.released import Released
from gen3dexport.networks.checkpoints import read_weights


def read_released(
    model: Model, state: Mapping[str, Tensor], where: str, predictor: bool = True, part: str | None = None
) -> Released:
    """The tensors of a whole file, or one part of them.

    Args:
        predictor: whether there must be a predictor; there may be one anyway.
        part: `encoder` or `predictor`; the whole file is checked all the same.

    Raises:
        UsageError: see `layouts.check_layout`.
    """
    with torch.device("meta"):
        whole = Released(model, None if predictor or has_predictor(state) else "encoder")
        made = Released(model, part or (None if predictor else "encoder"))
    check_layout(state, whole.state_dict(), where)
    wanted = made.state_dict().keys()
    made.load_state_dict({name: value for name, value in state.items() if name in wanted}, strict=True, assign=True)
    return made.eval().requires_grad_(False)


def load_component(name: str, settings: Settings, stem: Path, weights: Weights, reading: Reading) -> Component:
    """One component with the weights of `stem`.safetensors, with seeded random ones, or as shapes.

    Raises:
        UsageError: when the file is missing, damaged or does not fit.
    """
    model, part = settings.model, "predictor" if name == PREDICTOR else "encoder"
    if weights == "stored":
        path = stem.with_name(f"{stem.name}.safetensors")
        state = read_weights(path, reading.allow_pickle, reading.strip_prefix)
        return _component(name, settings, read_released(model, state, str(path), settings.predictor, part))
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _component(name, settings, Released(model, part))
    with torch.device("meta"):
        made = _component(name, settings, Released(model, part))
        return made.with_inputs(example_inputs(name, settings))


def _component(name: str, settings: Settings, released: Released) -> Component:
    network: nn.Module
    if name == PREDICTOR:
        places = torch.arange(settings.moments * settings.model.places)[None]
        split = settings.known * settings.model.places
        network = Predictor(released.predictor, settings.model, places[:, :split], places[:, split:])
    else:
        network = Encoder(released.encoder, settings.model, settings.moments_of(name) * settings.model.places)
    outputs = (PREDICTED if name == PREDICTOR else FEATURES,)
    return Component(name, network.eval().requires_grad_(False), {}, outputs, stack=network.stack)


def example_inputs(name: str, settings: Settings) -> dict[str, Tensor]:
    """Inputs of a component, all zero."""
    model = settings.model
    if name == PREDICTOR:
        return {FEATURES: torch.zeros(1, settings.known * model.places, model.hidden_size)}
    frames = settings.moments_of(name) * model.tubelet_size
    return {FILM: torch.zeros(1, frames, 3, model.crop_size, model.crop_size)}
