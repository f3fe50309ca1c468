"""Radiance fields small: the golden set as a checkpoint folder, a recipe, and the same sums written out in NumPy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tiny_recipes
from numpy.typing import NDArray

GOLDEN = Path(__file__).parents[2] / "golden" / "instant_ngp_nerf"
CONFIG: dict[str, Any] = json.loads((GOLDEN / "nerfacto" / "config.json").read_text())


def checkpoint(folder: Path, **fields: Any) -> Path:
    """`folder`, made a checkpoint of the golden set."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, "near_plane": 0.5, "far_plane": 6.0, **fields}))
    shutil.copyfile(GOLDEN / "nerfacto" / "weights.safetensors", folder / "model.safetensors")
    return folder


def recipe(weights: Path, path: Path, knobs: str = "{rays: 200, resolution: 16, views: 3}") -> Path:
    """The recipe of that checkpoint, written to `path`; `knobs` is YAML."""
    summary = "the golden set's field as a pipeline; a camera path in, pictures out"
    return tiny_recipes.recipe("instant_ngp_nerf", weights, path, summary, "view: {ssim: 0.99}", knobs)


Floats = NDArray[np.float64]


def hashed(places: Floats, table: Floats, scalings: Floats, log2_size: int) -> Floats:
    """Features of places [N, 3], corner by corner in Python's integers."""
    size, features = 1 << log2_size, table.shape[1]
    found = np.zeros((len(places), len(scalings), features))
    for n, place in enumerate(places):
        for level, scale in enumerate(scalings):
            scaled = (np.float32(scale) * place.astype(np.float32)).astype(np.float64)
            low = np.floor(scaled)
            for corner in np.ndindex(2, 2, 2):
                cell = [int(np.ceil(s)) if up else int(f) for s, f, up in zip(scaled, low, corner, strict=True)]
                row = (cell[0] ^ (cell[1] * 2654435761) ^ (cell[2] * 805459861)) % size + level * size
                share = np.where(corner, scaled - low, 1 - (scaled - low)).prod()
                found[n, level] += share * table[row]
    return found.reshape(len(places), -1)


def rendered(
    config: dict[str, Any], state: dict[str, Floats], scalings: list[Floats], origins: Floats, directions: Floats
) -> dict[str, Floats]:
    """Rays one by one, in float64 and with sorted searches. `scalings`: of the proposals' grids and of the field's."""
    near, far = config["near_plane"], config["far_plane"]
    to_s = [d / 2 if d < 1 else 1 - 1 / (2 * d) for d in (near, far)]
    rows: dict[str, list[Any]] = {"rgb": [], "depth": [], "accumulation": []}
    counts = [*config["num_proposal_samples_per_ray"], config["num_nerf_samples_per_ray"]]
    for origin, direction in zip(origins, directions, strict=True):
        u = np.linspace(0, 1, counts[0] + 1)
        for k in range(len(counts)):
            s = u * to_s[1] + (1 - u) * to_s[0]
            t = np.where(s < 0.5, 2 * s, 1 / (2 - 2 * s))
            points = origin + direction * ((t[1:] + t[:-1]) / 2)[:, None]
            places, inside = _contracted(points)
            last = k == len(counts) - 1
            grid = config["field"] if last else config["proposal_net_args_list"][k]
            name = "field.mlp_base.model" if last else f"proposal_networks.{k}.mlp_base"
            features = hashed(places, state[f"{name}.0.hash_table"], scalings[k], grid["log2_hashmap_size"])
            made = _layers(features, state, f"{name}.1.layers")
            density = np.exp(made[:, 0]) * inside
            light = np.exp(-np.concatenate([[0], np.cumsum(density * np.diff(t))]))
            weights = light[:-1] - light[1:]
            if not last:
                u = _resampled(weights, u, counts[k + 1])
        colors = _colors(config, state, made[:, 1:], direction)
        middles = (t[1:] + t[:-1]) / 2
        rows["rgb"].append(np.clip(weights @ colors + colors[-1] * (1 - weights.sum()), 0, 1))
        rows["depth"].append([middles[min(np.searchsorted(np.cumsum(weights), 0.5), counts[-1] - 1)]])
        rows["accumulation"].append([weights.sum()])
    return {name: np.array(values) for name, values in rows.items()}


def _contracted(points: Floats) -> tuple[Floats, Floats]:
    reach = np.abs(points).max(1, keepdims=True)
    moved = np.where(reach < 1, points, (2 - 1 / np.maximum(reach, 1)) * points / np.maximum(reach, 1e-9))
    places = (moved + 2) / 4
    inside = ((places > 0) & (places < 1)).all(1)
    return places * inside[:, None], inside.astype(float)


def _layers(x: Floats, state: dict[str, Floats], name: str) -> Floats:
    count = sum(key.startswith(f"{name}.") and key.endswith("weight") for key in state)
    for k in range(count):
        x = x @ state[f"{name}.{k}.weight"].T + state[f"{name}.{k}.bias"]
        x = np.maximum(x, 0) if k + 1 < count else x
    return x


def _resampled(weights: Floats, u: Floats, count: int) -> Floats:
    padded = weights + 0.01
    cdf = np.minimum(1, np.concatenate([[0], np.cumsum(padded / padded.sum())]))
    wanted = np.linspace(0, 1 - 1 / (count + 1), count + 1) + 1 / (2 * (count + 1))
    last = np.clip(np.searchsorted(cdf, wanted, side="right"), 1, len(weights))
    share = np.clip((wanted - cdf[last - 1]) / (cdf[last] - cdf[last - 1]), 0, 1)
    return u[last - 1] + share * (u[last] - u[last - 1])


def _colors(config: dict[str, Any], state: dict[str, Floats], geometry: Floats, direction: Floats) -> Floats:
    x, y, z = (direction + 1) / 2
    basis = [1 / (2 * np.sqrt(np.pi))]
    basis += [np.sqrt(3 / (4 * np.pi)) * v for v in (y, z, x)]
    a, b = np.sqrt(15 / np.pi) / 2, np.sqrt(5 / np.pi) / 4
    basis += [a * x * y, a * y * z, b * (3 * z * z - 1), a * x * z, a / 2 * (x * x - y * y)]
    c, d, e = np.sqrt(35 / (2 * np.pi)) / 4, np.sqrt(105 / np.pi) / 2, np.sqrt(21 / (2 * np.pi)) / 4
    basis += [c * y * (3 * x * x - y * y), d * x * y * z, e * y * (5 * z * z - 1)]
    basis += [np.sqrt(7 / np.pi) / 4 * z * (5 * z * z - 3), e * x * (5 * z * z - 1)]
    basis += [d / 2 * z * (x * x - y * y), c * x * (x * x - 3 * y * y)]
    parts = [np.tile(basis, (len(geometry), 1)), geometry]
    if config["field"]["appearance_embedding_dim"]:
        own = state["field.embedding_appearance.embedding.weight"].mean(0)
        own = own if config["use_average_appearance_embedding"] else 0 * own
        parts.append(np.tile(own, (len(geometry), 1)))
    return 1 / (1 + np.exp(-_layers(np.concatenate(parts, 1), state, "field.mlp_head.layers")))
