"""Recipes of format 1 are converted when they are read: same values, same lines in errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen3dexport.errors import UsageError
from gen3dexport.plan import make_plan, read_recipe, read_target

OLD = """\
schema: 1
name: trellis-old
summary: a recipe of format 1
family: trellis
weights: trellis-mini-color
sampler: {steps: 7}
slat_sampler:
  steps: 3
  guidance: batched
voxels: {budget: 512, on_overflow: coarsen}
decoders: [gaussian]
components:
  flow: {modules: {out_layer: bf16}}
golden:
  prompts: [a chair]
targets:
  eager: {sampler.steps: 5, voxels.gather: per-line}
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.yaml"
    path.write_text(OLD)
    return path


def test_rules_of_format_1(old: Path) -> None:
    assert read_recipe(str(old)).rules("flow") == {"out_layer": "bf16"}
    assigned = read_recipe(str(old), assignments=["components.flow.modules={blocks.0: fp16}"])
    assert assigned.rules("flow") == {"blocks.0": "fp16"}
    old.write_text(OLD.replace("bf16}", "3}"))
    with pytest.raises(UsageError, match=r"old\.yaml:13: components\.flow\.rules\.out_layer: .*string"):
        read_recipe(str(old))


def test_knobs_of_format_1(old: Path) -> None:
    recipe = read_recipe(str(old))
    assert recipe.schema_version == 2
    assert (recipe.knobs.sampler.steps, recipe.knobs.slat_sampler.steps) == (7, 3)
    assert (recipe.knobs.voxels.budget, recipe.knobs.decoders, recipe.knobs.encoder) == (512, ("gaussian",), None)


def test_exceptions_and_assignments_of_format_1(old: Path) -> None:
    recipe = read_recipe(str(old), read_target("eager"), ["slat_sampler.steps=9", "encoder=none"])
    assert (recipe.knobs.sampler.steps, recipe.knobs.slat_sampler.steps) == (5, 9)
    assert (recipe.knobs.voxels.gather, recipe.knobs.voxels.budget) == ("per-line", 512)
    assert recipe.knobs.encoder == "none"


def test_a_plan_of_format_1(old: Path) -> None:
    plan = make_plan(read_recipe(str(old), read_target("eager")), read_target("eager"))
    assert plan.settings.slat.tokens == 512 and plan.settings.slat.batch == 2
    assert "slat_decoder_mesh" not in plan.declared


@pytest.mark.parametrize(
    ("line", "bad", "number", "message"),
    [
        ("  steps: 3", "  stesp: 3", 8, "knobs.slat_sampler.stesp: unknown key; did you mean 'steps'?"),
        ("sampler: {steps: 7}", "sampler: {steps: many}", 6, "knobs.sampler.steps: input should be a valid integer"),
        ("decoders: [gaussian]", "decoders: [surfels]", 11, "knobs.decoders.0: input should be"),
        ("golden:", "goldn:", 14, "goldn: unknown key; did you mean 'golden'?"),
    ],
)
def test_errors_of_format_1_name_the_line(old: Path, line: str, bad: str, number: int, message: str) -> None:
    old.write_text(OLD.replace(f"{line}\n", f"{bad}\n", 1))
    with pytest.raises(UsageError) as caught:
        read_recipe(str(old))
    assert f"{old}:{number}: {message}" in str(caught.value)


def test_a_key_of_format_1_in_format_2_is_named(old: Path) -> None:
    old.write_text(OLD.replace("schema: 1", "schema: 2"))
    with pytest.raises(UsageError, match=r"sampler: unknown key; this format has it as knobs\.sampler"):
        read_recipe(str(old))
    with pytest.raises(UsageError, match=r"modules: unknown key; this format has it as components\.flow\.rules"):
        read_recipe(str(old))
