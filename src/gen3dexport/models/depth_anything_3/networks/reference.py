"""The view that others are seen from: its choice, and the order of views with it in front.

Written with comparisons and selections alone, for a program has no index that depends on its data.
Source: Lin et al. 2025, "Depth Anything 3".
"""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dexport.models.depth_anything_3.host.settings import Reference

_LEAST = 1e-8
FEWEST = 3
"""Views from which on one is chosen; of fewer it is the first."""


def chosen(tokens: Tensor, by: Reference) -> Tensor:
    """The place [B] of the reference among the views by their first tokens [B, S, C], as whole numbers in float32."""
    batch, views, _ = tokens.shape
    if by in ("first", "middle"):
        return torch.full((batch,), 0.0 if by == "first" else float(views // 2), device=tokens.device)
    lengths = tokens.norm(dim=-1)
    directions = tokens / lengths[..., None]
    cosines = directions @ directions.mT
    if by == "saddle_sim_range":
        found = spans(cosines)
        return _first(found, found.amax(-1, keepdim=True))
    likeness = (cosines.sum(-1) - 1) / (views - 1)
    spread = directions.var(-1)
    score = sum((_scaled(value) - 0.5).abs() for value in (likeness, lengths, spread))
    assert isinstance(score, Tensor)
    return _first(score, score.amin(-1, keepdim=True))


def spans(cosines: Tensor) -> Tensor:
    """How far apart each view's cosines [..., S] with the views [..., S, S] are, that with itself counting as 0.

    The two views that are most alike, or least, share that cosine, so two of these are often equal.
    """
    others = cosines * (1 - torch.eye(cosines.shape[-1], device=cosines.device))
    return others.amax(-1) - others.amin(-1)


def _scaled(values: Tensor) -> Tensor:
    low, high = values.amin(-1, keepdim=True), values.amax(-1, keepdim=True)
    return (values - low) / (high - low + _LEAST)


def _first(values: Tensor, wanted: Tensor) -> Tensor:
    """The first place of the wanted value."""
    count = values.shape[-1]
    places = torch.arange(count, dtype=torch.float32, device=values.device).expand_as(values)
    return torch.where(values == wanted, places, float(count)).amin(-1)


def to_front(x: Tensor, reference: Tensor) -> Tensor:
    """Views [B, S, ...] in the order reference, 0, 1, ... without the reference."""
    place = reference.reshape(-1, *([1] * (x.ndim - 2)))
    every = x.unbind(1)
    front = every[0]
    for view in range(1, len(every)):
        front = torch.where(place == view, every[view], front)
    rest = [torch.where(place >= view, every[view - 1], every[view]) for view in range(1, len(every))]
    return torch.stack([front, *rest], 1)


def to_input(x: Tensor, reference: Tensor) -> Tensor:
    """Views [B, S, ...] of `to_front` in their order before it."""
    place = reference.reshape(-1, *([1] * (x.ndim - 2)))
    every = x.unbind(1)
    found = []
    for view, own in enumerate(every):
        later = every[view + 1] if view + 1 < len(every) else every[0]  # the last view is not before the reference
        found.append(torch.where(place > view, later, torch.where(place == view, every[0], own)))
    return torch.stack(found, 1)
