"""Knobs of a sampler that no schedule has are told as the recipe's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gen3dexport.errors import UsageError

Cli = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["step_times=[1.0,0.5]", "steps=2"], "step_times takes the place of steps"),
        (["step_times=[1.0,0.5]", "steps=2", "rescale_t=3.0"], "step_times takes the place of steps and rescale_t"),
        (["step_times=[0.9,0.5]"], "begin with 1 and fall"),
        (["reuse_guidance=[1,1]"], "rise, each once"),
        (["steps=2", "reuse_guidance=[7]"], "knobs: a sampler's reuse_guidance: 7 takes no step's guidance"),
        (["order=3"], "order"),
    ],
)
def test_a_schedule_that_is_none(words: list[str], told: str, tiny_recipe: Path, cli: Cli) -> None:
    code, _, error = cli("plan", tiny_recipe, "-t", "eager", *(f"knobs.sampler.{word}" for word in words))
    assert code == UsageError.exit_code and told in error
    assert "copy it again" not in error
