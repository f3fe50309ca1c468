"""The factory of a recipe: imported, called, and what it gave as one pipeline of modules on the CPU."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UsageError
from gen3dexport.models.custom.host.declared import Part, Pipeline
from gen3dexport.models.custom.host.sources import digests
from gen3dexport.models.custom.networks.user_code import told

_FORM = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
_imported: dict[str, dict[str, str]] = {}


def source(factory: str) -> dict[str, str]:
    """SHA-256 of the files of an imported factory's code, by module.

    Raises:
        UsageError: when one was changed after this process imported it, so that it is not the code that runs.
    """
    module = factory.partition(":")[0]
    found = digests(module)
    before = _imported.setdefault(module, found)
    changed = sorted(name for name in before.keys() | found.keys() if before.get(name) != found.get(name))
    if changed:
        raise UsageError(
            f"factory {factory}: {', '.join(changed)} changed after this process imported it; start a new process"
        )
    return found


def find(factory: str) -> Callable[..., Any]:
    """The function or class that a factory's name is of, from the Python path or the current folder.

    Raises:
        UsageError: when the name is none, its module cannot be imported, or has no such function.
    """
    if not _FORM.match(factory):
        raise UsageError(f"factory {factory!r}: write package.module:function, e.g. my_models.field:make")
    module_name, _, path = factory.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # it stays: modules import others when they are called
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # a module runs any code when it is imported; the cause is kept
        if isinstance(error, ModuleNotFoundError) and module_name.startswith(str(error.name)):
            raise UsageError(
                f"factory {factory}: no module {error.name}; install its package, or run from the folder that has it"
            ) from error
        raise UsageError(f"factory {factory}: {module_name} cannot be imported: {told(error)}") from error
    source(factory)
    for name in path.split("."):
        if not hasattr(found, name):
            known = [n for n in vars(found) if not n.startswith("_")] if hasattr(found, "__dict__") else []
            raise UsageError(f"factory {factory}: {module_name} has no {name}{did_you_mean(name, known)}")
        found = getattr(found, name)
    if isinstance(found, nn.Module) or not callable(found):
        what = "a module that is made already" if isinstance(found, nn.Module) else f"a {type(found).__name__}"
        raise UsageError(f"factory {factory}: is {what}; name a function that makes one, or its class")
    return found  # type: ignore[no-any-return]


def make(factory: str, arguments: Mapping[str, Any], outputs: Sequence[str] = ()) -> Pipeline:
    """What the factory gives, called with the same random numbers every time.

    Args:
        outputs: names of what a single module returns, where the factory does not name them.

    Raises:
        UsageError: as `find` does; when the call needs other arguments, fails, or gives something else than modules.
    """
    function = find(factory)
    _check_arguments(factory, function, arguments)
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.manual_seed(0)
            made = function(**arguments)
    except UsageError:
        raise
    except Exception as error:  # user code raises any type; the cause is kept
        raise UsageError(f"factory {factory}: {told(error)}{_of_cuda(error)}") from error
    pipeline = _pipeline(factory, made, outputs)
    parts = [pipeline.parts] if isinstance(pipeline.parts, Part) else list(pipeline.parts)
    if not parts or not all(isinstance(part, Part) for part in parts):
        raise UsageError(f"factory {factory}: parts are no sequence of gen3dexport.models.custom.Part")
    return Pipeline([_ready(factory, part) for part in parts], pipeline.examples, pipeline.asset)


def _check_arguments(factory: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Raises UsageError where a call needs other arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # it has none that Python knows
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = {name: p for name, p in signature.parameters.items() if p.kind in kinds}
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    problems = [
        f"factory {factory}: argument {name!r}: unknown{did_you_mean(name, named)}"
        for name in arguments
        if name not in named and not anything
    ]
    needs = [name for name, p in named.items() if p.default is inspect.Parameter.empty and name not in arguments]
    if needs:
        given = ", ".join(f"{name}: ..." for name in needs)
        problems.append(
            f"factory {factory}: needs {', '.join(needs)}; give them as `arguments: {{{given}}}` under model (init: "
            "--argument NAME=VALUE), or name a function that makes the module without arguments"
        )
    if problems:
        raise UsageError.of(problems)


def _of_cuda(error: Exception) -> str:
    text = str(error).lower()
    cuda = "cuda" in text or "nvidia driver" in text
    return "; it asks for a GPU: make the module on the CPU, gen3dexport places it on the target" if cuda else ""


def _pipeline(factory: str, made: Any, outputs: Sequence[str]) -> Pipeline:
    if isinstance(made, Pipeline):
        return made
    if isinstance(made, Part):
        return Pipeline(made)
    if isinstance(made, nn.Module):
        return Pipeline(Part(made, outputs=tuple(outputs)))
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module) and isinstance(made[1], Mapping):
        return Pipeline(Part(made[0], outputs=tuple(outputs)), made[1])
    raise UsageError(
        f"factory {factory}: gave a {type(made).__name__}; needs a torch module, (module, example inputs by name), or "
        "a gen3dexport.models.custom.Pipeline"
    )


def _ready(factory: str, part: Part) -> Part:
    """The part with its module on the CPU, in float32, for inference.

    Raises:
        UsageError: for one that is scripted or compiled already, or has tensors without values.
    """
    module, where = part.module, f"factory {factory}: part {part.name}"
    if isinstance(module, torch.jit.ScriptModule):
        raise UsageError(
            f"{where}: is scripted or traced already, and torch.export takes the Python module; give that one, without "
            "torch.jit"
        )
    if not isinstance(module, nn.Module):
        raise UsageError(f"{where}: is a {type(module).__name__}, no torch module")
    if type(module).__name__ == "OptimizedModule" and hasattr(module, "_orig_mod"):
        module = vars(module)["_modules"]["_orig_mod"]  # what torch.compile wraps
    tensors = [*module.named_parameters(), *module.named_buffers()]
    if lazy := [name for name, tensor in tensors if is_lazy(tensor)]:
        raise UsageError(f"{where}: {lazy[0]} has no shape before the first call; write the layer with its sizes")
    if empty := [name for name, tensor in tensors if tensor.is_meta]:
        raise UsageError(f"{where}: {empty[0]} has no values (device meta); make the module on the CPU")
    if strange := [name for name, tensor in tensors if tensor.is_complex()]:
        raise UsageError(f"{where}: {strange[0]} is complex, which no target has; keep torch.view_as_real of it")
    made: nn.Module = module.cpu().float().eval().requires_grad_(False)
    return Part(made, part.name, tuple(part.inputs), tuple(part.outputs))


def plain(value: Any, where: str) -> Tensor:
    """An example input as a program takes it: on the CPU, floats as float32, with plain strides.

    Raises:
        UsageError: for what is no tensor of numbers.
    """
    try:
        tensor = torch.as_tensor(value).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{where}: is a {type(value).__name__}, no tensor") from error
    if tensor.is_complex():
        raise UsageError(f"{where}: is complex, which no target takes; give torch.view_as_real of it")
    if not tensor.numel():
        raise UsageError(f"{where}: has shape {list(tensor.shape)}, which is nothing")
    tensor = tensor.float() if tensor.is_floating_point() else tensor
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise UsageError(f"{where}: holds NaN or infinity")
    return tensor.contiguous().clone()
