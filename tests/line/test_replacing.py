"""A bundle that is there goes when the new one was judged to the end, and not before."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gen3dexport.build import build
from gen3dexport.bundle.manifest import read_manifest, verify
from gen3dexport.errors import UnmeasuredError
from gen3dexport.plan import Plan, make_plan, read_recipe, read_target


@pytest.fixture
def plan(tiny_recipe: Path, fast_target: Path) -> Plan:
    """The tiny model on another target than the bundle that is there was built for."""
    target = read_target(str(fast_target)).model_copy(update={"summary": "the new one"})
    return make_plan(read_recipe(str(tiny_recipe), target), target)


def _dies(bundle: Path) -> None:
    verify(bundle)  # whole, but not yet in its place
    raise UnmeasuredError(f"{bundle}: killed by SIGKILL")


def test_a_judge_that_dies_leaves_the_old_bundle(plan: Plan, tiny_bundle: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    before = (out / "manifest.json").read_bytes()
    with pytest.raises(UnmeasuredError) as raised:
        build(plan, out, judge=_dies)
    assert str(raised.value).startswith(f"{out}: killed by SIGKILL\n{out}: the bundle that was there stays")
    assert (out / "manifest.json").read_bytes() == before
    assert not [p for p in tmp_path.iterdir() if ".draft-" in p.name]
    build(plan, out)
    assert read_manifest(out).target["summary"] == "the new one"


def test_where_no_bundle_was_the_new_one_can_be_judged_again(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(UnmeasuredError) as raised:
        build(plan, tmp_path / "bundle", judge=_dies)
    assert str(raised.value) == f"{tmp_path / 'bundle'}: killed by SIGKILL"
    verify(tmp_path / "bundle")


def test_a_missed_budget_is_a_result_and_replaces(
    tiny_recipe: Path, tiny_bundle: Path, fast_target: Path, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    out = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    code, _, error = cli("build", tiny_recipe, "budgets.size_mb=0.001", "-t", fast_target, "-o", out)
    assert code == 6, error
    assert verify(out).recipe["budgets"]["size_mb"] == 0.001 and (out / "report.json").is_file()
