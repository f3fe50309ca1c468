"""Rules of a recipe inside a component: which layer gets which scheme, by patterns on module names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate
from types import ModuleType
from typing import Any

import torch
from torch import nn

from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.quantization.int8_embedding import Int8Embedding
from gen3dexport.quantization.quantize import HALVES, InDtype, default_layers
from gen3dexport.quantization.schemes import OF_EMBEDDINGS, SCHEMES

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)


def layers_of(component: Component) -> list[str]:
    """Names of the layers that a rule can take: linear layers, convolutions and embeddings, wherever they are."""
    return [name for name, module in component.module.named_modules() if isinstance(module, _LAYERS)]


def embeddings(component: Component) -> set[str]:
    """Names of its embeddings."""
    return {name for name, module in component.module.named_modules() if isinstance(module, nn.Embedding)}


def generic(component: Component, name: str) -> str:
    """`name` with `*` for its place in lists of modules: `blocks.*.mlp.mlp.0` of `blocks.3.mlp.mlp.0`."""
    parts = name.split(".")
    owners = ["", *accumulate(parts[:-1], lambda path, part: f"{path}.{part}")]
    lists = [isinstance(component.module.get_submodule(owner), nn.ModuleList) for owner in owners]
    return ".".join("*" if inside else part for part, inside in zip(parts, lists, strict=True))


def exceptions(component: Component, rules: Mapping[str, str]) -> dict[str, str]:
    """Layer -> scheme of the layers that rules take; the last rule that matches wins.

    A scheme that embeddings do not take leaves them out where its rule matches other layers too.

    Raises:
        UsageError: with every rule that matches no layer, and the nearest names; or embeddings alone, which do not take
            its scheme.
    """
    layers, tables = layers_of(component), embeddings(component)
    chosen: dict[str, str] = {}
    problems = []
    for pattern, scheme in rules.items():
        matched = [layer for layer in layers if _matches(layer, pattern)]
        if scheme not in OF_EMBEDDINGS:
            if matched and {*matched} <= tables:
                where, taken = f"components.{component.name}.rules: {pattern!r}", ", ".join(OF_EMBEDDINGS)
                problems.append(f"{where}: an embedding takes {taken}, not {scheme}")
                continue
            matched = [layer for layer in matched if layer not in tables]
        chosen |= dict.fromkeys(matched, scheme)
        if not matched:
            known = {path for layer in layers for path in _paths(generic(component, layer))}
            problems.append(
                f"components.{component.name}.rules: {pattern!r} matches no layer of {component.name}"
                f"{did_you_mean(pattern, known) if known else ', which has none'}"
            )
    if problems:
        raise UsageError.of(problems)
    return chosen


def _paths(name: str) -> list[str]:
    """The name and those of the modules around it, outermost first."""
    return list(accumulate(name.split("."), lambda path, part: f"{path}.{part}"))


def _matches(layer: str, pattern: str) -> bool:
    """Whether the layer, or a module around it, has a name that the pattern fits."""
    return any(_fits(path.split("."), pattern.split(".")) for path in _paths(layer))


def _fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts or not names:
        return not names and all(part == "**" for part in parts)
    if parts[0] == "**":
        return _fits(names, parts[1:]) or _fits(names[1:], parts)
    return fnmatchcase(names[0], parts[0]) and _fits(names[1:], parts[1:])


def per_token(component: Component, scheme: str, rules: Mapping[str, str]) -> set[str]:
    """Names of the layers that `scheme` with its exceptions gives a scheme that rounds what they read."""
    chosen = exceptions(component, rules)
    default = default_layers(component, scheme) if SCHEMES[scheme].per_token else []
    return {n for n in default if n not in chosen} | {n for n, own in chosen.items() if SCHEMES[own].per_token}


def quantize_by_rules(
    backend: ModuleType, component: Component, scheme: str, rules: Mapping[str, str], options: Any
) -> Component:
    """`component` in `scheme`, except for the layers that `rules` take; in place.

    Raises:
        UsageError: when a rule matches nothing, or the backend has no such form of the component.
    """
    if not rules:
        quantized: Component = backend.quantize(component, scheme, options)
        return quantized
    chosen = exceptions(component, rules)
    for table in embeddings(component) & {*chosen}:
        if chosen.pop(table) != "fp32":
            embedding = component.module.get_submodule(table)
            assert isinstance(embedding, nn.Embedding), table
            component.module.set_submodule(table, Int8Embedding(embedding))
    rest = [layer for layer in default_layers(component, scheme) if layer not in chosen]
    groups = {s: [layer for layer, own in chosen.items() if own == s] for s in dict.fromkeys(chosen.values())}
    if scheme in HALVES:
        component = _in_half(backend, component, scheme, groups, options)
        groups[scheme] = [layer for layer in groups.get(scheme, ()) if not _has_dtype(component, layer, HALVES[scheme])]
    elif scheme != "fp32" and rest:
        component = backend.quantize(component, scheme, options, rest)
    for other, layers in groups.items():
        if other != "fp32" and layers:
            component = backend.quantize(component, other, options, layers)
    return component


def _in_half(
    backend: ModuleType, component: Component, scheme: str, groups: Mapping[str, Sequence[str]], options: Any
) -> Component:
    """The component in half precision, but for layers of other float schemes, whose float32 weights are kept."""
    others = [layer for other in ("fp32", *HALVES) if other != scheme for layer in groups.get(other, ())]
    aside = {layer: component.module.get_submodule(layer) for layer in others}
    for layer in aside:
        component.module.set_submodule(layer, nn.Identity())
    component = backend.quantize(component, scheme, options)
    for layer, module in aside.items():
        own = InDtype(module, torch.float32) if layer in groups.get("fp32", ()) else module
        component.module.set_submodule(layer, own)
    return component


def _has_dtype(component: Component, layer: str, dtype: torch.dtype) -> bool:
    return next(component.module.get_submodule(layer).parameters()).dtype == dtype
