"""V-JEPA 2's pipeline on the host: film -> features of its patches -> prediction of the later ones. No torch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport.arrays import on_host
from gen3dexport.assets.feature_film import FeatureFilm
from gen3dexport.models import Request
from gen3dexport.models.declaration import AS_STORED, Call, Declaration, Reading, State, Weights
from gen3dexport.models.v_jepa2.host.clip import clip_of
from gen3dexport.models.v_jepa2.host.settings import (
    CHECKPOINT,
    CONTEXT,
    ENCODER,
    FEATURES,
    FILM,
    PREDICTED,
    PREDICTOR,
    Settings,
)

_KNOWN = "known"  # features of the known moments, where they are encoded alone


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The encoder, film [1, T, 3, S, S] -> features [1, N, C]; where asked, one of the known frames alone, and the
    predictor, features of the known patches -> those of the others."""
    found = [_declared(ENCODER, FILM, FEATURES, partial(_encode, FEATURES, None), settings)]
    if settings.blind:
        frames = settings.known * settings.model.tubelet_size
        found.append(_declared(CONTEXT, FILM, FEATURES, partial(_encode, _KNOWN, frames), settings))
    if settings.predictor:
        found.append(_declared(PREDICTOR, FEATURES, PREDICTED, partial(_predict, settings), settings))
    return tuple(found)


def _declared(name: str, given: str, made: str, advance: Any, settings: Settings) -> Declaration:
    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.v_jepa2.networks.loading import load_component

        return load_component(name, settings, folder / CHECKPOINT, weights, reading)

    return Declaration(name, CHECKPOINT, (given,), (made,), advance, load)


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """The clip [1, T, 3, S, S] as the encoder takes it, and the seconds at which its moments begin.

    Raises:
        UsageError: see `clip.clip_of`.
    """
    clip = clip_of(request, settings)
    return {FILM: xp.asarray(clip.frames[None]), "times": clip.times[:: settings.model.tubelet_size]}


def _encode(into: str, frames: int | None, state: State, program: Call, xp: Any) -> State:
    """One call of an encoder, for all frames or so many from the first on."""
    film = state[FILM] if frames is None else xp.asarray(np.ascontiguousarray(on_host(state[FILM])[:, :frames]))
    return state | {into: program({FILM: film})[FEATURES]}


def _predict(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """One call of the predictor, for all later moments."""
    known = on_host(state[_KNOWN if settings.blind else FEATURES])[:, : settings.known * settings.model.places]
    return state | {PREDICTED: program({FEATURES: xp.asarray(np.ascontiguousarray(known))})[PREDICTED]}


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The features of a finished state over time, with what was predicted of the later ones."""
    grid, width = settings.model.grid, settings.model.hidden_size

    def moments(values: Any) -> Any:
        return on_host(values)[0].astype(np.float32).reshape(-1, grid, grid, width)

    features = moments(state[FEATURES])
    predicted = repeated = features[:0]
    if settings.predictor:
        known = moments(state[_KNOWN]) if settings.blind else features
        predicted, repeated = moments(state[PREDICTED]), known[settings.known - 1 : settings.known]
    times = on_host(state["times"]).astype(np.float64)
    return {"feature_film": FeatureFilm(features, times, predicted, repeated)}
