"""A component is observed once, whatever it is built for, and what is made of a kept observation is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen3dexport.build import build
from gen3dexport.bundle.manifest import Manifest
from gen3dexport.making import observations
from gen3dexport.plan import Plan, make_plan, read_recipe, read_target

CALIBRATION = "calibration: {prompts: [third, fourth], seed: 7}\n"


@pytest.fixture
def recipe(tiny_recipe: Path) -> Path:
    """The tiny recipe with calibration prompts."""
    tiny_recipe.write_text(tiny_recipe.read_text() + CALIBRATION)
    return tiny_recipe


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The components that were observed, in their order."""
    found: list[str] = []
    real = observations.observe

    def observe(component, *others):  # type: ignore[no-untyped-def]
        found.append(component.name)
        return real(component, *others)

    monkeypatch.setattr(observations, "observe", observe)
    return found


def plan(recipe: Path, *assignments: str) -> Plan:
    target = read_target("eager")
    return make_plan(read_recipe(str(recipe), target, assignments), target)


def built(plan: Plan, out: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(cache))
    return build(plan, out)


STATIC = ("components.decoder.scheme=int8-static", "components.flow.scheme=int8-dynamic")
MIXED = (
    *("components.decoder.scheme=int8-static", "components.decoder.rules={'blocks.0.**': fp32}"),
    "components.flow.scheme=bf16",
)
"""As STATIC, also calibrated, with other programs of both components."""


def test_another_scheme_takes_the_kept_observation(
    recipe: Path, tmp_path: Path, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    built(plan(recipe, *MIXED), tmp_path / "first", tmp_path / "cache", monkeypatch)
    assert seen == ["flow", "decoder"]
    kept = built(plan(recipe, *STATIC), tmp_path / "kept", tmp_path / "cache", monkeypatch)
    assert seen == ["flow", "decoder"]
    fresh = built(plan(recipe, *STATIC), tmp_path / "fresh", tmp_path / "other", monkeypatch)
    assert seen == 2 * ["flow", "decoder"]
    assert kept.files == fresh.files and kept.digest == fresh.digest


@pytest.mark.parametrize("assignment", ["golden.seed=4", "knobs.sampler.steps=3", "golden.prompts=['another']"])
def test_another_request_is_observed(
    assignment: str, recipe: Path, tmp_path: Path, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    built(plan(recipe), tmp_path / "first", tmp_path / "cache", monkeypatch)
    built(plan(recipe, assignment), tmp_path / "second", tmp_path / "cache", monkeypatch)
    assert seen == 2 * ["flow", "decoder"]


def test_a_damaged_observation_is_made_again(
    recipe: Path, tmp_path: Path, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    built(plan(recipe, *MIXED), tmp_path / "first", tmp_path / "cache", monkeypatch)
    for facts in (tmp_path / "cache" / "stages").glob("*/facts.json"):
        facts.write_bytes(facts.read_bytes() + b" ")
    kept = built(plan(recipe, *STATIC), tmp_path / "kept", tmp_path / "cache", monkeypatch)
    assert seen == 2 * ["flow", "decoder"]
    assert kept.files == built(plan(recipe, *STATIC), tmp_path / "fresh", tmp_path / "other", monkeypatch).files
