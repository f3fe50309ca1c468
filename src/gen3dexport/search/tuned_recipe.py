"""The recipe that `tune` writes: the source recipe with an exception for the target, and the evidence as a comment."""

from __future__ import annotations

import io
from collections.abc import Sequence

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from gen3dexport.documents.document import parse_assignment, read_yaml, with_overrides
from gen3dexport.documents.recipe import ComponentChoice
from gen3dexport.documents.shipped import documents, locate
from gen3dexport.reports.judge import number_of
from gen3dexport.reports.text import basis_text, number
from gen3dexport.search.records import Tuned


def tuned_recipe(recipe: str, assignments: Sequence[str], result: Tuned, components: Sequence[str]) -> str:
    """YAML of `recipe` with the chosen schemes and rules as exceptions for the target that was tuned for (its backend,
    where the target is not a shipped one)."""
    data = with_overrides(read_yaml(locate("recipes", recipe)), dict(parse_assignment(text) for text in assignments))
    chosen = result.best
    exceptions = CommentedMap()
    for name in components:
        own = chosen.choices.get(name, ComponentChoice(scheme="fp32"))
        exceptions[f"components.{name}.scheme"] = own.scheme
        exceptions[f"components.{name}.rules"] = CommentedMap(own.rules)
    targets = data.setdefault("targets", CommentedMap())
    key = result.target if result.target in documents("targets") else result.backend  # a YAML file's own name
    before = targets.pop(key, CommentedMap())  # last, so that it wins over wider exceptions
    targets[key] = CommentedMap({**before, **exceptions})
    data["name"] = f"{data['name']}-tuned"
    data.yaml_set_start_comment(
        f"Written by gen3dexport tune {recipe} --target {result.target} --max-loss {result.max_loss:g} "
        f"--minimize {result.minimize}:\n{result.minimize} {number(number_of(chosen.found), 4)} {result.unit} "
        f"({basis_text(chosen.found)}), loss {chosen.loss:.4f} ({chosen.loss_of}); {100 * result.gain:.0f}% below the "
        f"best uniform choice ({result.best_uniform})."
    )
    stream = io.StringIO()
    yaml = YAML(typ="rt")
    yaml.width = 120
    yaml.dump(data, stream)
    return stream.getvalue()
