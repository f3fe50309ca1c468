"""The process that tries a factory's blocks on a target: `python -m gen3dexport.search.trial_child REQUEST ANSWERS`.

REQUEST is a JSON file: {"knobs": of the recipe, "target": NAME, "skip": [blocks that ended a process before]}. Each
line of ANSWERS is a JSON object: {"begun": BLOCK, "type": CLASS} before a trial, {"trial": {...}} after it.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen3dexport.children import end_with_parent


def main(arguments: Sequence[str]) -> None:
    """Try every part, and write what comes of it."""
    end_with_parent()
    warnings.simplefilter("ignore")
    asked = json.loads(Path(arguments[0]).read_text())
    from gen3dexport.models.custom.host.reading import read_settings
    from gen3dexport.models.custom.host.settings import OWN, Knobs
    from gen3dexport.plan import read_target
    from gen3dexport.search.block_trials import trials

    target = read_target(asked["target"])
    knobs = Knobs(**asked["knobs"])
    folder = Knobs.WEIGHTS.folder(OWN, "init")
    settings = read_settings(folder, knobs, False)
    with Path(arguments[1]).open("a", encoding="utf-8") as answers:

        def say(**what: Any) -> None:
            answers.write(json.dumps(what) + "\n")
            answers.flush()

        for part in parts(settings, folder):
            for trial in trials(part, target, lambda b, t: say(begun=b, type=t), frozenset(asked["skip"])):
                say(trial=trial.model_dump())


def parts(settings: Any, folder: Path) -> list[Any]:
    """The components with their first example as inputs."""
    import torch

    from gen3dexport.models.custom.host.pipeline import components
    from gen3dexport.models.custom.host.settings import examples_file
    from gen3dexport.models.custom.networks.described import read_example

    stored = read_example(examples_file(settings))
    known = {name: stored[f"0.{name}"] for name in settings.takes}
    found = []
    for declared in components(settings):
        component = declared.load(folder).with_inputs({name: known[name] for name in declared.inputs})
        with torch.no_grad():
            known |= component.run()
        found.append(component)
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
