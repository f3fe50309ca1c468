"""A user's module as a component: tensors in by position, tensors out in order, layers under their own names."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError

_OUTPUT = "output"


def parameters(module: nn.Module) -> dict[str, inspect.Parameter]:
    """The parameters of a module's forward, by name."""
    return dict(inspect.signature(module.forward).parameters)


def needed(module: nn.Module) -> list[str]:
    """Those that have no default: its inputs, where nobody says which they are."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_ONLY)
    return [name for name, p in parameters(module).items() if p.kind in named and p.default is inspect.Parameter.empty]


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in what a module returned, with names made of keys, fields and positions; `None` is left out.

    Raises:
        UsageError: for something that is no tensor.
    """
    if isinstance(value, Tensor):
        yield name or _OUTPUT, value
    elif value is None:
        return
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from flat(part, _joined(name, str(key)))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for key in value._fields:
            yield from flat(getattr(value, key), _joined(name, key))
    elif isinstance(value, tuple | list):
        for index, part in enumerate(value):
            yield from flat(part, f"{name or _OUTPUT}_{index}")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from flat(getattr(value, field.name), _joined(name, field.name))
    else:
        where = f"its output {name}" if name else "it"
        raise UsageError(
            f"{where} returns {type(value).__name__} {value!r:.50}; a program gives tensors alone: return a tensor, or "
            "leave it out"
        )


def _joined(name: str, key: str) -> str:
    plain = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in key)
    plain = plain if plain[:1].isalpha() or plain.startswith("_") else f"_{plain}"
    return f"{name}_{plain}" if name else plain


def chosen(found: Sequence[str], wanted: Sequence[str], where: str) -> dict[str, str]:
    """Name of an output -> its own name in what the module returned.

    Args:
        wanted: names of some of the outputs, or new names of all of them, in order; all under their own, where empty.

    Raises:
        UsageError: when the two do not go together, or there is no output.
    """
    if not found:
        raise UsageError(f"{where}: returns no tensor")
    if len({*found}) < len(found):
        raise UsageError(f"{where}: returns two outputs of one name: {', '.join(found)}")
    if not wanted or {*wanted} <= {*found}:
        return {name: name for name in wanted or found}
    if len(wanted) == len(found) and len({*wanted}) == len(wanted):
        return dict(zip(wanted, found, strict=True))
    raise UsageError(f"{where}: returns {len(found)} outputs ({', '.join(found)}); outputs names {', '.join(wanted)}")


def adapted(module: nn.Module, inputs: Sequence[str], outputs: Mapping[str, str]) -> nn.Module:
    """The same module, layers and weights under their own names, whose forward takes `inputs` by position and returns
    a tuple of float32, integer or boolean tensors, or the only one.

    Args:
        outputs: as `chosen` gives them.
    """
    own = type(module)

    def forward(self: nn.Module, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        # Class attribute and no wrapper around the module: recipes name layers as the user's code does.
        given = dict(zip(inputs, tensors, strict=True))
        returned = dict(flat(_call_own(self, own, given)))
        found: list[Tensor] = []
        for name in outputs.values():
            value = returned[name].float() if returned[name].is_floating_point() else returned[name]
            same = any(value is other for other in (*tensors, *found))
            found.append(value.clone() if same else value)  # runtimes name each output once
        return found[0] if len(found) == 1 else tuple(found)

    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = ["self", *inputs]
    forward.__signature__ = inspect.Signature([inspect.Parameter(n, keyword) for n in names])  # type: ignore[attr-defined]
    module.__class__ = type(own.__name__, (own,), {"forward": forward, "__module__": own.__module__})
    return module


def _call_own(module: nn.Module, own: type[nn.Module], inputs: Mapping[str, Tensor]) -> Any:
    kinds = {name: p.kind for name, p in inspect.signature(own.forward).parameters.items()}
    keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    anything = inspect.Parameter.VAR_KEYWORD in kinds.values()
    if all(kinds.get(name) in keyword or (name not in kinds and anything) for name in inputs):
        return own.forward(module, **inputs)
    return own.forward(module, *inputs.values())


def run(module: nn.Module, inputs: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    """The tensors that a module returns for inputs by name, before it is adapted."""
    with torch.no_grad():
        return list(flat(_call_own(module, type(module), inputs)))
