"""The recipe that `tune` writes: the source recipe with exceptions for the target, and the evidence as a comment."""

from __future__ import annotations

import io
import shlex
from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from gen3dexport.documents.document import parse_assignment, read_yaml, with_overrides
from gen3dexport.documents.recipe import ComponentChoice
from gen3dexport.documents.shipped import documents, locate
from gen3dexport.reports.judge import number_of
from gen3dexport.reports.records import Measured
from gen3dexport.reports.text import basis_text, number
from gen3dexport.search.records import Built, Samplers, Tuned
from gen3dexport.search.sampler_knobs import text
from gen3dexport.search.tune import loss_text


def tuned_recipe(recipe: str, assignments: Sequence[str], result: Tuned, components: Sequence[str]) -> str:
    """YAML of `recipe` with the chosen schemes, rules and sampler knobs as exceptions for the target that was tuned for
    (its backend, where the target is not a shipped one)."""
    data = with_overrides(read_yaml(locate("recipes", recipe)), dict(parse_assignment(text) for text in assignments))
    chosen = result.best
    exceptions = CommentedMap()
    for name in components:
        own = chosen.choices.get(name, ComponentChoice(scheme="fp32"))
        exceptions[f"components.{name}.scheme"] = own.scheme
        exceptions[f"components.{name}.rules"] = CommentedMap(own.rules)
    exceptions.update({f"knobs.{path}": _plain(value) for path, value in chosen.knobs.items()})
    targets = data.setdefault("targets", CommentedMap())
    key = result.target if result.target in documents("targets") else result.backend  # a YAML file's own name
    before = targets.pop(key, CommentedMap())  # last, so that it wins over wider exceptions
    targets[key] = CommentedMap({**before, **exceptions})
    data["name"] = f"{data['name']}-tuned"
    data.yaml_set_start_comment(evidence(recipe, assignments, result))
    stream = io.StringIO()
    yaml = YAML(typ="rt")
    yaml.width = 120
    yaml.dump(data, stream)
    return stream.getvalue()


def evidence(recipe: str, assignments: Sequence[str], result: Tuned) -> str:
    """What the search found of the recipe that it chose, in lines for people."""
    chosen = result.best
    lines = [
        f"Written by gen3dexport tune {shlex.join((recipe, *assignments))} --target {result.target} "
        f"--max-loss {result.max_loss:g} --minimize {result.minimize}:",
        f"{result.minimize} {number(number_of(chosen.found), 4)} {result.unit} "
        f"({basis_text(chosen.found)}{_place(chosen)}), loss {chosen.loss:.4f} ({chosen.loss_of}); "
        f"{100 * result.gain:.0f}% below the best uniform choice ({result.best_uniform}).",
    ]
    if result.samplers is not None:
        lines.append(_samplers_text(result, result.samplers))
    if result.held_out is not None:
        held = result.held_out
        many = f"{len(held.prompts)} prompts ({held.source})"
        said = f"loss {loss_text(chosen.held_out)} ({chosen.loss_of}) on {many}" if held.prompts else held.source
        lines.append(f"Held out: {said}.")
    return "\n".join(lines)


def _place(chosen: Built) -> str:
    """The device of a measured quantity."""
    return f" on {chosen.device}" if chosen.device and isinstance(chosen.found, Measured) else ""


def _samplers_text(result: Tuned, found: Samplers) -> str:
    """The chosen sampler settings and their calls beside the recipe's own."""
    chosen, own = result.best, found.rows[0]
    tried = f"{len(found.rows) - 1} other settings tried, {len(found.joint)} together with schemes"
    if not chosen.knobs:
        return f"Samplers: as the recipe has them ({tried}; none was faster within the loss)."
    calls = (f"{n} {own.calls[n]} -> {count}" for n, count in chosen.calls.items() if count != own.calls.get(n, count))
    return f"Samplers: {text(chosen.knobs)}; calls: {', '.join(calls)} ({tried})."


def _plain(value: Any) -> Any:
    """A knob's value as YAML has it."""
    if isinstance(value, tuple | list):
        made = CommentedSeq(_plain(inner) for inner in value)
        made.fa.set_flow_style()
        return made
    return value
