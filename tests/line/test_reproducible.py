"""`build --check-reproducible`: two builds in processes of their own, and what differs between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from gen3dexport.errors import UsageError
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


def test_a_difference_is_told_with_its_place(tiny_recipe: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend, in both processes, that writes its hash seed: eager's programs are texts here."""
    name = tiny_recipe.parent / "sitecustomize.py"
    name.write_text(
        "import os\n"
        "from gen3dexport.backends import eager\n"
        "from gen3dexport.bundle.program import Lowered\n"
        "def lower(captured, options, out):\n"
        "    name = f'{captured.component.name}.pt2'\n"
        "    (out / name).write_text('kernel\\nseed ' + os.environ['PYTHONHASHSEED'])\n"
        "    return Lowered(files=(name,))\n"
        "eager.lower = lower\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tiny_recipe.parent), prepend=":")
    code, out, _ = cli("build", tiny_recipe, "-t", "eager", "--check-reproducible")
    assert code == reproducible.EXIT_CODE
    assert "programs/flow.pt2: line 2: seed 1 | seed 2" in out and "programs/decoder.pt2: line 2" in out


def test_it_keeps_no_bundle(tiny_recipe: Path, tmp_path: Path, cli: Cli) -> None:
    code, _, error = cli("build", tiny_recipe, "-t", "eager", "--check-reproducible", "-o", tmp_path / "x")
    assert code == UsageError.exit_code and "leave -o out" in error


def test_a_build_that_fails_is_its_own_error(tmp_path: Path) -> None:
    arguments = ["trellis-mini", "--target", "eager", "weights=nothing"]
    with pytest.raises(UsageError, match="weights 'nothing'"):
        reproducible.build_twice(arguments)
