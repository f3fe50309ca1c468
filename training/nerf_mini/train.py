"""Train nerf-mini on pictures of the scene, and write weights/nerf-mini/model.safetensors.

    python -m training.nerf_mini.train --seconds 200      # again and again, until it says that it is done

A run goes on where the last one ended.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from gen3dexport.models.instant_ngp_nerf.host.model import read_model
from gen3dexport.models.instant_ngp_nerf.networks.field import Nerf
from gen3dexport.models.instant_ngp_nerf.networks.renderer import along
from gen3dexport.models.instant_ngp_nerf.networks.sampling import PADDING, collected, distances, weights_of
from training.nerf_mini.fast_encoding import fast
from training.nerf_mini.views import RUNS, pictures, trained

RELEASE = Path(__file__).parents[2] / "weights" / "nerf-mini"
STEPS, BATCH = 2000, 1024
_RATE, _LAST = 1e-2, 0.03  # Adam's, and the share of it that is left at the end
_EPSILON = 1e-7


def drawn(weights: Tensor, edges: Tensor, count: int) -> Tensor:
    """Edges [R, count + 1] of new bins as `sampling.resampled` makes them, each moved by chance."""
    shares = weights + PADDING
    below = torch.cat([torch.zeros_like(shares[:, :1]), (shares / shares.sum(-1, keepdim=True)).cumsum(-1)], -1)
    wanted = (torch.arange(count + 1) + torch.rand(len(weights), count + 1)) / (count + 1)
    last = torch.searchsorted(below, wanted, right=True).clamp(1, weights.shape[1])
    low, high = below.gather(1, last - 1), below.gather(1, last)
    share = ((wanted - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
    start, end = edges.gather(1, last - 1), edges.gather(1, last)
    return (start + share * (end - start)).detach()


def beyond(fine: Tensor, weights: Tensor, coarse: Tensor, proposed: Tensor) -> Tensor:
    """How much weight a proposal network has too little: the loss of Barron et al. 2022, "Mip-NeRF 360".

    Args:
        fine, weights: edges [R, n + 1] and weights [R, n] of the field, without gradients.
        coarse, proposed: likewise of the proposal network.
    """
    below = torch.cat([torch.zeros_like(proposed[:, :1]), proposed.cumsum(-1)], -1)
    first = (torch.searchsorted(coarse, fine[:, :-1].contiguous(), right=True) - 1).clamp(0, proposed.shape[1] - 1)
    last = torch.searchsorted(coarse, fine[:, 1:].contiguous()).clamp(1, proposed.shape[1])
    bound = below.gather(1, last) - below.gather(1, first)
    return ((weights - bound).clamp(min=0) ** 2 / (weights + _EPSILON)).sum(-1).mean()


def spread(edges: Tensor, weights: Tensor) -> Tensor:
    """How far a ray's weights lie apart: the distortion of Barron et al. 2022."""
    middles, widths = (edges[:, 1:] + edges[:, :-1]) / 2, edges[:, 1:] - edges[:, :-1]
    apart = (middles[:, :, None] - middles[:, None]).abs()
    pairs = (weights[:, :, None] * weights[:, None] * apart).sum((1, 2))
    return (pairs + (weights**2 * widths).sum(-1) / 3).mean()


def seen() -> list[NDArray[np.float32]]:
    """Origins, directions and colours [N, P, 3] of the pictures that are trained on, which are kept meanwhile."""
    data, names = RUNS / "pictures.npz", ("origins", "directions", "colors")
    if not data.exists():
        RUNS.mkdir(parents=True, exist_ok=True)
        np.savez(data, **dict(zip(names, pictures(trained()), strict=True)))
    with np.load(data) as file:
        return [file[name] for name in names]


def quick(nerf: Nerf) -> Nerf:
    """The networks with grids that train fast (see `fast_encoding`)."""
    nerf.field.mlp_base.model[0] = fast(nerf.field.mlp_base.model[0])
    for network in nerf.proposal_networks:
        network.mlp_base[0] = fast(network.mlp_base[0])  # type: ignore[index,operator]
    return nerf


def released(nerf: Nerf) -> dict[str, Tensor]:
    """The tensors by their released names."""
    found = {}
    for name, value in nerf.state_dict().items():
        for grid in ("mlp_base.0.", "mlp_base.model.0."):
            name = name.replace(f"{grid}encoding.", grid)
        found[name] = value.detach().clone()
    return found


def losses(nerf: Nerf, origins: Tensor, directions: Tensor, colors: Tensor) -> tuple[Tensor, Tensor]:
    """The mean square error of rays' colours, and the sum of it and the other losses."""
    model = nerf.model
    counts = [*model.num_proposal_samples_per_ray, model.num_nerf_samples_per_ray]
    edges = (torch.arange(counts[0] + 1) + torch.rand(len(origins), counts[0] + 1)) / (counts[0] + 1)
    rounds: list[tuple[Tensor, Tensor]] = []
    for network, count in zip(nerf.proposal_networks, counts[1:], strict=True):
        t = distances(edges, model.near_plane, model.far_plane)
        weights = weights_of(network(along(origins, directions, t))[..., 0], t)[0]
        rounds.append((edges, weights))
        edges = drawn(weights.detach(), edges, count)
    t = distances(edges, model.near_plane, model.far_plane)
    positions = along(origins, directions, t)
    density, shades = nerf.field(positions, directions[:, None].expand_as(positions))
    weights = weights_of(density[..., 0], t)[0]
    error = ((collected(weights, shades, t, model.background_color)[0] - colors) ** 2).mean()
    proposals = sum((beyond(edges, weights.detach(), *one) for one in rounds), torch.zeros(()))
    return error, error + proposals + 2e-3 * spread(edges, weights)


def main() -> None:
    """Train for so long, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1e9, help="end after so long; the next run goes on")
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    begun = time.monotonic()
    RUNS.mkdir(parents=True, exist_ok=True)
    kept, rays = RUNS / "state.pt", [torch.from_numpy(values.reshape(-1, 3)) for values in seen()]
    torch.manual_seed(0)
    nerf = quick(Nerf(read_model(RELEASE)).train())
    optimiser = torch.optim.Adam(nerf.parameters(), lr=_RATE, betas=(0.9, 0.99), eps=1e-15)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda k: min(1, (k + 1) / 50) * _LAST ** min(1, k / given.steps)
    )
    step, spent = 0, 0.0
    if kept.exists():
        state: dict[str, Any] = torch.load(kept, weights_only=True)
        nerf.load_state_dict(state["nerf"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        step, spent = state["step"], state["spent"]
    errors: list[float] = []
    while step < given.steps and time.monotonic() - begun < given.seconds:
        rows = torch.randint(len(rays[0]), (BATCH,))
        error, loss = losses(nerf, *(values[rows] for values in rays))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        step += 1
        errors.append(error.item())
        if step % 100 == 0:
            psnr = -10 * np.log10(np.mean(errors[-100:]))
            print(f"{step}: {psnr:.2f} dB of the last hundred, {time.monotonic() - begun:.0f} s", flush=True)
    spent += time.monotonic() - begun
    own: dict[str, Any] = {"nerf": nerf.state_dict(), "optimiser": optimiser.state_dict()}
    own |= {"schedule": schedule.state_dict(), "random": torch.get_rng_state(), "step": step, "spent": spent}
    torch.save(own, kept)
    save_file(released(nerf), RELEASE / "model.safetensors")
    (RELEASE / "model.safetensors").chmod(0o644)
    print(f"{'done' if step >= given.steps else 'goes on'} after {step} steps, {spent:.0f} s in all", flush=True)


if __name__ == "__main__":
    main()
