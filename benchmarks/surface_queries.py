"""What coarse-to-fine queries save: `python benchmarks/surface_queries.py [--resolution 256]`.

Analytic distance fields, and TripoSG's query network at a small width fitted here to a ring: the whole grid, then the
search from every 4th and every 8th point, and how Hunyuan3D-2's release decodes (a grid of one point more). Queries,
CPU seconds, and how far the mesh's vertices lie from those of the whole grid's, in grid steps. The network runs in
eager mode on one thread; a released decoder takes longer for a point, and as many.
Writes `benchmarks/results/surface_queries.json`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import result_file
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.spatial import KDTree

from gen3dexport.models.hunyuan3d_2.host.volume import decode, hierarchical_levels
from gen3dexport.models.isosurface import surface
from gen3dexport.models.point_queries import answers
from gen3dexport.models.surface_search import sample
from gen3dexport.models.triposg.host.model import Vae
from gen3dexport.models.triposg.networks.layers import unpack
from gen3dexport.models.triposg.networks.vae import Autoencoder, Query

RESULT = Path(__file__).parent / "results" / "surface_queries.json"
CHUNK, TOKENS = 8192, 64
Points = NDArray[np.float32]
Field = Callable[[Points], NDArray[Any]]

VAE = Vae(
    latent_channels=8, num_attention_heads=4, width_encoder=16, width_decoder=64, num_layers_encoder=1,
    num_layers_decoder=1, embed_frequency=5,
)  # fmt: skip


def ring(p: Points) -> NDArray[Any]:
    """Above 0 inside of a ring."""
    return 0.17 - np.hypot(np.hypot(p[:, 0], p[:, 1]) - 0.6, p[:, 2])


def ball(p: Points) -> NDArray[Any]:
    """Above 0 inside of a ball of four fifths of the cube."""
    return 0.8 - np.linalg.norm(p, axis=1)


def chair(p: Points) -> NDArray[Any]:
    """Above 0 inside of a seat, a back and four legs that are a thirtieth of the cube thick."""

    def box(centre: tuple[float, float, float], half: tuple[float, float, float]) -> NDArray[Any]:
        return -np.max(np.abs(p - np.array(centre)) - np.array(half), axis=1)

    legs = [box((x, y, -0.5), (0.033, 0.033, 0.4)) for x in (-0.45, 0.45) for y in (-0.45, 0.45)]
    parts = [box((0, 0, -0.08), (0.5, 0.5, 0.06)), box((0, 0.45, 0.45), (0.5, 0.05, 0.5)), *legs]
    found: NDArray[Any] = np.max(parts, axis=0)
    return found


def fitted(steps: int) -> tuple[Field, float]:
    """The query network and the keys and values it reads, fitted to the ring: logits, and the last loss."""
    torch.manual_seed(0)
    made = Autoencoder(VAE)
    unpack(made)
    query = Query(made, VAE).train()
    heads, width = VAE.num_attention_heads, VAE.width_decoder
    context = torch.randn(1, 2, heads, TOKENS, width // heads, requires_grad=True)
    every = [context, *(p.requires_grad_() for p in query.parameters())]
    optimizer, loss = torch.optim.Adam(every, lr=3e-3), torch.tensor(0.0)
    for _ in range(steps):
        points = torch.rand(1, 2048, 3) * torch.tensor([1.8, 1.8, 0.8]) - torch.tensor([0.9, 0.9, 0.4])
        points = torch.cat([points, torch.rand(1, 512, 3) * 2 - 1], 1)
        wanted = torch.from_numpy(ring(points[0].numpy()))[None, :, None].float()
        loss = ((query(context, points) - (8 * wanted).clamp(-1, 1)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    query.eval().requires_grad_(False)

    def program(inputs: Any) -> dict[str, Any]:
        with torch.no_grad():
            return {"logits": query(context.detach(), torch.from_numpy(inputs["points"])).numpy()}

    def logits(points: Points) -> NDArray[Any]:
        return answers(program, {}, points, CHUNK, {"logits": 1}, np)["logits"][:, 0]

    return logits, float(loss.detach())


def run(field: Field, resolution: int, coarse: int) -> tuple[dict[str, Any], tuple[NDArray[Any], NDArray[Any]]]:
    """Queries and CPU seconds of one search, and its surface."""
    start = time.process_time()
    found = sample(lambda p: field(p).astype(np.float32), resolution, coarse, 0.0)
    row = {"coarse": coarse, "queries": found.queries, "seconds": time.process_time() - start}
    return row, surface(found.values, 0.0)


def release(field: Field, resolution: int) -> dict[str, Any]:
    """Queries and CPU seconds of the levels that Hunyuan3D-2's release asks; its faces' places are its own.

    It asks around every value below 0.95, which is meant for logits: these values are distances, and are multiplied
    by the grid's steps first, so that this adds next to nothing.
    """
    start = time.process_time()
    found = decode(lambda p: (resolution * field(p)).astype(np.float32), hierarchical_levels(resolution), bound=1.0)
    return {"coarse": "release", "queries": sum(found.asked), "seconds": time.process_time() - start}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--steps", type=int, default=400, help="of fitting the network")
    options = parser.parse_args()
    network, loss = fitted(options.steps)
    fields: dict[str, Field] = {"ring": ring, "ball": ball, "chair": chair, "network": network}
    rows: list[dict[str, Any]] = []
    table = Table("field", "coarse", "queries", "of the whole", "CPU s", "faces", "off, grid steps")
    for name, field in fields.items():
        whole: tuple[NDArray[Any], NDArray[Any]] | None = None
        for coarse in (1, 4, 8):
            row, mesh = run(field, options.resolution, coarse)
            whole = whole or mesh
            ends = (KDTree(whole[0]).query(mesh[0])[0].max(), KDTree(mesh[0]).query(whole[0])[0].max())
            row |= {"field": name, "faces": len(mesh[1]), "off_steps": float(max(ends)) * (options.resolution - 1)}
            rows.append(row)
            share = f"1 / {options.resolution**3 / row['queries']:.1f}"
            table.add_row(
                name, str(coarse), f"{row['queries']:,}", share, f"{row['seconds']:.2f}", str(row["faces"]),
                f"{row['off_steps']:.4f}",
            )  # fmt: skip
        row = release(field, options.resolution) | {"field": name, "faces": None, "off_steps": None}
        rows.append(row)
        share = f"1 / {options.resolution**3 / row['queries']:.1f}"
        table.add_row(name, "release", f"{row['queries']:,}", share, f"{row['seconds']:.2f}", "", "")
    Console(width=120).print(table)
    result_file.write(RESULT, __file__, {"resolution": options.resolution, "loss": loss, "rows": rows})


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
