"""nerf-mini's scene, its fast grid, its files, and what its recipe and its card say of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gen3dexport.models.instant_ngp_nerf.host.model import parse_model, read_model
from gen3dexport.models.instant_ngp_nerf.networks.field import Nerf
from gen3dexport.models.instant_ngp_nerf.networks.hash_encoding import HashEncoding
from gen3dexport.models.instant_ngp_nerf.networks.renderer import Renderer
from gen3dexport.plan import read_recipe
from training.nerf_mini import scene
from training.nerf_mini.digest import digest
from training.nerf_mini.evaluate import psnr, rendered
from training.nerf_mini.fast_encoding import fast
from training.nerf_mini.train import RELEASE, beyond, losses, quick, released
from training.nerf_mini.views import held_out, pictures, trained

ROOT = Path(__file__).resolve().parents[2]


def test_the_recipe_has_the_digest_of_its_pictures() -> None:
    data = read_recipe("nerf-mini").training_data
    assert data is not None and data.sha256 == digest()


def test_the_card_has_the_scores() -> None:
    found = json.loads((RELEASE / "scores.json").read_text())["psnr_db"]
    card = (ROOT / "training" / "nerf_mini" / "README.md").read_text()
    for name, value in found.items():
        assert f"| {name} | {value:.2f} |" in card
    assert found["nerf-mini"] > max(value for name, value in found.items() if name != "nerf-mini") + 5


def test_the_weights_are_small_and_show_the_scene() -> None:
    assert (RELEASE / "model.safetensors").stat().st_size <= 4e6
    origins, directions, wanted = pictures(held_out()[:1], 32)
    assert psnr(rendered(origins[0], directions[0]), wanted[0]) > 18  # half of its pixels are at edges


def test_rays_meet_the_shapes() -> None:
    down, up = np.float32([[0, 0, -1]]), np.float32([[0, 0, 1]])
    board, miss = np.float32([[0.75, 0, 2.0]]), np.float32([[2, 2, 2.0]])
    at, hit = scene._traced(np.concatenate([board, miss, board]), np.concatenate([down, down, up]), 1.0, 5.0)
    assert hit.tolist() == [True, False, False] and abs(at[0] - 2.5) < 2e-3
    assert scene.colors(miss, down).tolist() == [[1, 1, 1]]
    distances = scene.distances(np.float32([[0.42, 0.25, 0.2], [0, 0, 0.42]]))
    assert abs(distances[3, 0] - 0.18) < 1e-6 and abs(distances[2, 1] + 0.17) < 1e-6


def test_held_out_cameras_are_others() -> None:
    apart = np.linalg.norm(trained()[:, None, :3, 3] - held_out()[None, :, :3, 3], axis=-1)
    assert apart.min() > 1e-3
    assert np.array_equal(trained(), trained())


def test_a_fast_grid_is_the_grid() -> None:
    torch.manual_seed(0)
    encoding, places = HashEncoding(3, 4, 30, 6, 2), torch.rand(50, 7, 3)
    target = torch.randn(50, 7, 6)
    found = []
    for module in (encoding, fast(encoding)):
        encoding.hash_table.grad = None
        made = module(places)
        ((made - target) ** 2).sum().backward()
        assert encoding.hash_table.grad is not None
        found.append((made.detach(), encoding.hash_table.grad.clone()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_training_makes_the_released_tensors() -> None:
    """A few steps lower the error; what is written is read strictly."""
    config = json.loads((RELEASE / "config.json").read_text())
    config["field"] |= {"num_levels": 3, "max_res": 64, "log2_hashmap_size": 10}
    config["proposal_net_args_list"][0] |= {"num_levels": 2, "log2_hashmap_size": 8}
    torch.manual_seed(0)
    nerf = quick(Nerf(parse_model(config, "here")).train())
    rays = [torch.from_numpy(values[0]) for values in pictures(trained()[:1], 16)]
    optimiser = torch.optim.Adam(nerf.parameters(), lr=1e-2)
    errors = []
    for _ in range(25):
        error, loss = losses(nerf, *rays)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < 0.7 * errors[0]
    made = Nerf(parse_model(config, "here"))
    made.load_state_dict(released(nerf), strict=True)
    assert Renderer(made.eval())(*rays[:2])[0].shape == (256, 3)


def test_a_proposal_that_covers_the_weights_costs_nothing() -> None:
    edges, weights = torch.linspace(0, 1, 9)[None], torch.full((1, 8), 0.1)
    coarse = torch.linspace(0, 1, 5)[None]
    assert beyond(edges, weights, coarse, torch.full((1, 4), 0.21)) == 0
    assert beyond(edges, weights, coarse, torch.full((1, 4), 0.01)) > 0


def test_the_released_configuration_is_read() -> None:
    assert read_model(RELEASE).background_color == "white"
