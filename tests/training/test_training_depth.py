"""depth-mini's scenes, its head's names, and what its recipe and its card say of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gen3dexport.networks.dpt import DptDecoder, DptHead
from gen3dexport.plan import read_recipe
from training.depth_mini.digest import digest
from training.depth_mini.evaluate import SCORES, table
from training.depth_mini.loss import loss_of
from training.depth_mini.scenes import view
from training.depth_mini.tokens import GRID, MODEL
from training.depth_mini.tracing import FAR, Part, spans, trace
from training.depth_mini.train import decoder, released

ROOT = Path(__file__).resolve().parents[2]


def test_the_recipe_has_the_digest_of_its_scenes() -> None:
    data = read_recipe("depth-mini").training_data
    assert data is not None and data.sha256 == digest()


def test_the_card_has_the_scores() -> None:
    found = json.loads(SCORES.read_text())
    card = (ROOT / "training" / "depth_mini" / "README.md").read_text()
    for name in ("held_out", "middlebury"):
        assert table(found[name]) in card


def test_rays_meet_convex_parts() -> None:
    origin, ahead = np.zeros((3, 3), np.float32), np.array([[0, 1, 0], [0, 1, 0.2], [1, 0, 0]], np.float32)
    shift, scale = np.array([0, 5, 0], np.float32), np.eye(3, dtype=np.float32)
    for kind, met in (("sphere", 4.0), ("cube", 4.0), ("cylinder", 4.0)):
        ends, which = trace([Part(kind, scale, shift, ())], origin, ahead)
        np.testing.assert_allclose(ends[0], met, rtol=1e-6)
        assert which.tolist() == [0, 0 if kind != "sphere" else which[1], -1] and ends[2] == FAR
        first, last = spans(kind, origin, np.array([[0.1, 1, 0]] * 3, np.float32))
        assert (first < last).all()  # from the middle: left behind it, and before it
    inside, which = trace([Part("cube", 3 * scale, np.zeros(3, np.float32), ())], origin, ahead)
    np.testing.assert_allclose(inside, 3, rtol=1e-6)  # a room is a cube from inside
    hidden, which = trace([Part("cube", scale, 2 * shift, ()), Part("cube", scale, shift, ())], origin, ahead)
    assert which[0] == 1 and hidden[0] == 4


def test_a_scene_is_its_seed() -> None:
    found, again, other = view(3, 28), view(3, 28), view(4, 28)
    assert found.picture.shape == (28, 28, 3) and found.nearness.shape == (28, 28)
    np.testing.assert_array_equal(found.picture, again.picture)
    np.testing.assert_array_equal(found.nearness, again.nearness)
    assert (found.picture != other.picture).any()
    assert np.isfinite(found.nearness).all() and found.nearness.min() >= 0 and np.ptp(found.nearness) > 0.05


def test_the_trained_decoder_is_the_released_head() -> None:
    torch.manual_seed(0)
    made = decoder()
    state = {name: value.float() for name, value in released(made, dict(made.named_parameters())).items()}
    head = DptHead(MODEL.hidden_size, MODEL.neck_hidden_sizes, MODEL.fusion_hidden_size, MODEL.head_hidden_size)
    head.load_state_dict(state, strict=True)
    tokens = [torch.randn(1, 1 + GRID * GRID, MODEL.hidden_size) for _ in MODEL.out_indices]
    with torch.no_grad():
        expected, found = made(tokens), DptDecoder(head, (GRID, GRID), MODEL.patch_size)(tokens)
    assert (found - expected).abs().max() <= 2e-3 * expected.abs().max()  # float16 weights


def test_the_loss_knows_no_scale_but_for_a_little() -> None:
    wanted = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0))
    assert loss_of(wanted, wanted) == 0
    assert loss_of(3 * wanted + 1, wanted) < 0.1 * (2 * wanted + 1).mean() * 1.01
    assert loss_of(1 - wanted, wanted) > 1
