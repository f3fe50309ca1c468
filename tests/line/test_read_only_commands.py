"""Commands that only look, for every shipped recipe on every shipped target, in one process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fetched_weights import need_weights
from paper_bundle import write_paper_bundle

from gen3dexport.cli.app import COMMANDS
from gen3dexport.cli.ls import KINDS
from gen3dexport.documents.shipped import documents
from gen3dexport.documents.target import aliases
from gen3dexport.plan import make_plan, read_recipe, read_target

Cli = Callable[..., tuple[int, str, str]]
RECIPES, TARGETS = sorted(documents("recipes")), sorted(documents("targets"))
LOOKING = {"ls", "show", "plan", "doctor"}
OTHERS = {"verify", "inspect", "compare", "parity", "sbom"}
"""Commands that look at a bundle, a report or a golden set: they are tried beside what makes those."""


def test_every_command_either_looks_or_makes_something() -> None:
    makers = {"build", "validate", "run", "cp", "sensitivity", "tune", "cache", "sign", "push", "pull", "embed-kit"}
    makers |= {"web", "serve", "android", "matrix", "profile", "init"}
    assert LOOKING | OTHERS | makers == set(COMMANDS)


@pytest.mark.usefixtures("exported_once")
@pytest.mark.parametrize("recipe", RECIPES)
def test_plan(recipe: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    need_weights(recipe)
    monkeypatch.setenv("COLUMNS", "300")  # no name is folded
    for target in TARGETS:
        code, out, error = cli("plan", recipe, "--target", target, "--json")
        assert code == 0, (target, error)
        found = json.loads(out)
        assert (found["recipe"], found["target"]) == (recipe, target)
        assert found["components"] and all(c["parameters"] > 0 and c["bytes"] > 0 for c in found["components"])
    code, out, error = cli("plan", recipe, "--target", target)
    assert code == 0 and all(c["name"] in out for c in found["components"]), error


@pytest.mark.parametrize("recipe", RECIPES)
def test_inspect_and_verify(recipe: str, cli: Cli, tmp_path: Path) -> None:
    need_weights(recipe)
    for name in TARGETS:
        target = read_target(name)
        plan = make_plan(read_recipe(recipe, target), target)
        write_paper_bundle(plan, bundle := tmp_path / name)
        code, out, error = cli("inspect", bundle)
        assert code == 0 and all(component in out for component in plan.schemes), (name, error)
        code, out, error = cli("inspect", bundle, "--json")
        assert code == 0 and json.loads(out)["target"]["name"] == name, (name, error)
        code, out, error = cli("verify", bundle, "--json")
        assert code == 0 and json.loads(out)["files"] == 1 + 2 * len(plan.schemes), (name, error)


@pytest.mark.parametrize("as_json", [False, True])
def test_show(as_json: bool, cli: Cli) -> None:
    for name in (*RECIPES, *TARGETS, *aliases()):
        code, out, error = cli("show", name, *(["--json"] if as_json else []))
        assert code == 0, (name, error)
        assert f"name: {aliases().get(name, name)}\n" in (json.loads(out)["text"] if as_json else out)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("kind", ["", *KINDS])
def test_ls(kind: str, as_json: bool, cli: Cli) -> None:
    code, out, error = cli("ls", *filter(None, [kind]), *(["--json"] if as_json else []))
    assert code == 0, error
    shown = {"recipes": RECIPES, "targets": TARGETS}
    for name in [*shown.get(kind, []), *(RECIPES + TARGETS if not kind else [])]:
        assert name in out


@pytest.mark.parametrize("as_json", [False, True])
def test_doctor(as_json: bool, cli: Cli) -> None:
    code, out, error = cli("doctor", *(["--json"] if as_json else []))
    assert code == 0 and all(name in out for name in TARGETS), error
    for target in TARGETS:
        code, out, error = cli("doctor", "--target", target, "--json")
        (row,) = json.loads(out)["targets"]
        assert row["name"] == target and code == (3 if row["missing"] else 0), error
