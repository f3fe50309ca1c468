"""Figures of released sizes stand beside what the shipped recipe plans; rows of another recipe are marked as such."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import released  # noqa: E402
import released_renderers  # noqa: E402

FILES = [path for path in BENCHMARKS.glob("results/*_released.json") if not path.name.startswith("cuda")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_recipe_in_the_file_is_the_shipped_one(path: Path) -> None:
    content = json.loads(path.read_text())
    recipe = next(iter(content["rows"])).split("/")[0]
    assert content.get("recipe") == released.recipe_today(recipe, content["rows"]), (
        f"run: benchmarks/released.py {recipe}"
    )


def test_rows_of_another_recipe_are_marked() -> None:
    planned = {"parameters": 407_000_000, "scheme": "fp32"}
    rows = {
        "large/onnx/flow": planned,
        "large/onnx/decoder": {**planned, "scheme": "int8-static"},
        "large/tpu/flow": {"parameters": 556_000_000, "scheme": "bf16"},
        "large/tpu/encoder": planned,
        "large/tpu/decoder": {"failed": "no memory"},
    }
    content = {"rows": rows, "recipe": {key: planned for key in rows if "encoder" not in key}}
    assert released_renderers.differences(content) == {
        "large/onnx/decoder": "fp32",
        "large/tpu/flow": "fp32, 407 M",
        "large/tpu/encoder": "left out",
    }
    text = released_renderers.differences_text(content)
    assert "onnx decoder has fp32; tpu flow has fp32, 407 M; tpu encoder has left out" in text
    assert released_renderers.differences_text({"rows": {}, "recipe": {}}) == ""
