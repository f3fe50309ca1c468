"""`build --check-reproducible`: two builds in processes of their own, and what differs between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from paper_bundle import rewrite, write_paper_bundle

from gen3dexport.bundle.files import file_of
from gen3dexport.errors import UsageError
from gen3dexport.plan import make_plan, read_recipe, read_target
from gen3dexport.validation import reproducible

Cli = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("target", ["onnx"])
def test_the_bytes_of_a_build_repeat(target: str, tiny_recipe: Path, cli: Cli) -> None:
    if find_spec(target) is None:
        pytest.skip(f"needs the extra: pip install 'gen3dexport[{target}]'")
    code, out, error = cli("build", tiny_recipe, "-t", target, "--check-reproducible", "--json")
    found = json.loads(out)
    assert code == 0, found
    assert (found["reproducible"], found["differences"]) == (True, []), error
    assert found["files"] >= 4 and found["bytes"] > 100_000


def test_a_difference_is_told_with_its_place(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second build names its folder in a program."""
    target = read_target("eager")
    plan = make_plan(read_recipe("trellis-mini", target), target)

    def built(arguments: list[str], place: Path, seed: str) -> Path:
        bundle, program = place / "bundle", place / "bundle" / "programs" / "flow.bin"
        write_paper_bundle(plan, bundle)
        program.write_text(f"kernel\nof {place.name}, seed {seed}\n")
        listed = file_of(program).model_dump()
        rewrite(bundle, lambda data: data["files"].update({"programs/flow.bin": listed}))
        return bundle

    monkeypatch.setattr(reproducible, "_built", built)
    code, out, _ = cli("build", "trellis-mini", "-t", "eager", "--check-reproducible")
    assert code == reproducible.EXIT_CODE == 9
    assert out.splitlines()[1:] == ["  programs/flow.bin: line 2: of first, seed 1 | of another_builder, seed 2"]


def test_it_keeps_no_bundle(tiny_recipe: Path, tmp_path: Path, cli: Cli) -> None:
    code, _, error = cli("build", tiny_recipe, "-t", "eager", "--check-reproducible", "-o", tmp_path / "x")
    assert code == UsageError.exit_code and "leave -o out" in error


def test_a_build_that_fails_is_its_own_error(tmp_path: Path) -> None:
    arguments = ["trellis-mini", "--target", "eager", "weights=nothing"]
    with pytest.raises(UsageError, match="weights 'nothing'"):
        reproducible.build_twice(arguments)
