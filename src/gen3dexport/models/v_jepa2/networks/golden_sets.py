"""V-JEPA 2's golden sets, read: the networks with a film, and the patches that are known and asked for; or frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.golden import Golden, read_files, stored_weights
from gen3dexport.models.v_jepa2.host.model import Model, parse_model
from gen3dexport.models.v_jepa2.networks.loading import read_released
from gen3dexport.models.v_jepa2.networks.network import Encoder, Predictor, gathered

FRAMES, PIXELS = "frames", "pixel_values_videos"
"""Names of the tensors of a set of the host's work: frames uint8 [T, H, W, 3], and [T, 3, S, S] that they become."""
INPUT, KNOWN, ASKED = "pixel_values_videos", "context_mask", "target_mask"
"""Names of a set's tensors: the film, and patches [B, K] and [B, M], all of them where a set does not say it."""
FEATURES, PREDICTED, TARGET, MASKED = "last_hidden_state", "predicted", "target", "masked_hidden_state"
"""Outputs: the encoder's, the predictor's, and the encoder's at the patches that are asked for and known."""
_IN_THE_LIBRARY = "predictor_output"
ALSO: Mapping[str, tuple[str, ...]] = {
    FEATURES: ("features",),
    PREDICTED: (f"{_IN_THE_LIBRARY}.last_hidden_state", "predictor_last_hidden_state", _IN_THE_LIBRARY),
    TARGET: (f"{_IN_THE_LIBRARY}.target_hidden_state", "target_hidden_state"),
    MASKED: (f"{_IN_THE_LIBRARY}.masked_hidden_state",),
}
"""What sets may call an output besides its own name."""


class Whole(nn.Module):
    """Features of a film, and what is predicted of some patches where there is a predictor."""

    def __init__(self, encoder: Encoder, predictor: Predictor | None, known: Tensor) -> None:
        super().__init__()
        self.encoder, self.predictor = encoder, predictor
        self.register_buffer("known", known)

    def forward(self, film: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        features: Tensor = self.encoder(film)
        if self.predictor is None:
            return features
        return features, self.predictor(gathered(features, self.get_buffer("known")))


def read_golden(folder: Path) -> Golden:
    """Read a golden folder, weights loaded strictly.

    Raises:
        UsageError: when a file is missing or damaged, the weights do not fit the networks, or a patch is none of the
            film's.
    """
    config, meta, tensors = read_files(folder)
    if f"in.{FRAMES}" in tensors:
        return Golden(None, tensors, config, str(meta["component"]))
    if f"in.{INPUT}" not in tensors:
        raise UsageError(f"{folder}: io.safetensors has no film (in.{INPUT}) and no frames (in.{FRAMES})")
    model = parse_model(config, str(folder / "config.json"))
    wanted = any(stored_as(tensors, name) for name in (PREDICTED, TARGET, MASKED))
    released = read_released(model, *stored_weights(folder), wanted)
    film = tensors[f"in.{INPUT}"]
    if film.ndim != 5 or film.shape[2] != 3:
        raise UsageError(f"{folder}: in.{INPUT} has shape {list(film.shape)}; need [B, T, 3, H, W]")
    count = tokens(model, film)
    encoder = Encoder(released.encoder, model, count)
    every = torch.arange(count)[None]
    known, asked = (tensors.get(f"in.{name}", every) for name in (KNOWN, ASKED))
    for name, ids in ((KNOWN, known), (ASKED, asked)):
        if ids.ndim != 2 or ids.is_floating_point() or not 0 <= int(ids.min()) <= int(ids.max()) < count:
            raise UsageError(f"{folder}: in.{name} is not [B, N] of the film's patches, 0 to {count - 1}")
    predictor = Predictor(released.predictor, model, known, asked) if wanted else None
    outputs = (FEATURES, PREDICTED) if wanted else (FEATURES,)
    network = Whole(encoder, predictor, known).eval().requires_grad_(False)
    component = Component(str(meta["component"]), network, {"film": film}, outputs)
    return Golden(component, tensors, config, str(meta["component"]))


def tokens(model: Model, film: Tensor) -> int:
    """Patches of a film [B, T, 3, H, W]; one with fewer frames than a patch is repeated that many times."""
    _, frames, _, height, width = film.shape
    frames = frames * model.tubelet_size if frames < model.tubelet_size else frames
    return frames // model.tubelet_size * (height // model.patch_size) * (width // model.patch_size)


def stored_as(tensors: Mapping[str, Tensor], name: str) -> str | None:
    """What a set calls an output, if it has it."""
    return next(
        (key for key in (name, *ALSO.get(name, ())) if f"out.{key}" in tensors or f"mid.{key}" in tensors), None
    )
