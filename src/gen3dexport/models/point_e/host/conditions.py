"""What Point-E's networks are conditioned on: a prompt's tokens or a picture for CLIP, or given features. No torch."""

from __future__ import annotations

from pathlib import Path

from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models.clip_conditions import of_picture, of_prompt
from gen3dexport.models.declaration import State
from gen3dexport.models.point_e.host.settings import Settings


def begin_condition(settings: Settings, request: Request, files: Path) -> State:
    """What CLIP takes (`ids` and `end`, or `image`), or what it would make (`vector`, or `grid`).

    Raises:
        UsageError: for a request that the pipeline cannot take.
    """
    match settings.model.made_of:
        case "nothing":
            return _nothing(request)
        case "text":
            tokenizer = files / "tokenizer.json" if settings.tokenizer else None
            return of_prompt(request, settings.clip_text, tokenizer, settings.model.base.clip_width)
        case _:
            width, tokens = settings.model.upsampler.condition
            return of_picture(request, settings.clip_vision, tokens, width)


def _nothing(request: Request) -> State:
    told = {"image": request.image is not None, "features": request.features is not None}
    told["prompt"] = bool(request.prompt) and not request.stand_in
    if given := [name for name, there in told.items() if there]:
        raise UsageError(f"{given[0]}: this model makes clouds of nothing but the seed; leave it out")
    return {}
