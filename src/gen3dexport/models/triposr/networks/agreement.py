"""What TripoSR's golden sets say: outputs of a network and of the host's work after it, found and expected."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from gen3dexport.models.golden import Arrays, Golden, Run
from gen3dexport.models.surface_search import grid_points
from gen3dexport.models.triposr.host.model import Renderer
from gen3dexport.models.triposr.host.queries import activated, color, query
from gen3dexport.models.triposr.host.settings import PositionTable
from gen3dexport.models.triposr.networks.golden_sets import CHUNK, image_encoder, read_golden
from gen3dexport.models.triposr.networks.query import Query
from gen3dexport.models.triposr.networks.triplane import planes_of
from gen3dexport.models.triposr.networks.views import Rays, in_box, orbit, rendered

read = read_golden

# Of the one view in a whole model's set: the release's viewer.
_VIEWER = {"elevation_deg": 0.0, "camera_distance": 1.9, "fovy_deg": 40.0}


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected."""
    makers = {"image_tokenizer": _image_tokenizer, "decoder_renderer": _decoder_renderer, "e2e": _whole}
    made = makers.get(golden.subject, _network)(golden, run)
    return golden.compared(made)


def _network(golden: Golden, run: Run) -> Arrays:
    return run(golden.inputs())


def _image_tokenizer(golden: Golden, run: Run) -> Arrays:
    """Tokens by the network, and, in eager mode, those of other position tables."""
    assert golden.component is not None
    images, weights = golden.tensors["in.images"], golden.extra["weights"]
    found = {"tokens": _channels_first(run(golden.inputs())["features"], len(images))}
    others: tuple[tuple[str, str, PositionTable], ...]
    others = (("possize", "images", "size"), ("native", "images_native", "factor"))
    for name, given, table in others:
        if f"in.{given}" in golden.tensors:
            pictures = golden.tensors[f"in.{given}"]
            encoder = image_encoder(golden.extra, weights, pictures.shape[-1], table, name)
            with torch.no_grad():
                tokens = encoder(pictures.flatten(0, 1)).numpy()
            found[f"tokens_{name}"] = _channels_first(tokens, len(pictures))
    return found


def _channels_first(tokens: np.ndarray, batch: int) -> np.ndarray:
    """[B * V, T, C] -> [B, V, C, T]."""
    return np.moveaxis(tokens.reshape(batch, -1, *tokens.shape[1:]), -1, -2)


def _decoder_renderer(golden: Golden, run: Run) -> Arrays:
    """Of what the set has: queries at points, the decoder by itself, cameras and what they see, the grid's points."""
    assert golden.component is not None
    module, extra, tensors = golden.component.module, golden.extra, golden.tensors
    assert isinstance(module, Query)
    renderer, given = Renderer(**extra["renderer"]), golden.inputs()
    found: Arrays = {}
    if "in.points" in tensors:
        found |= _at(run, given, tensors["in.points"].numpy(), renderer)
    if "in.features" in tensors:
        with torch.no_grad():  # by itself it is no part of a program
            alone = module.decoder(tensors["in.features"]).numpy()
        found |= {"mlp_density": alone[:, :1], "mlp_features": alone[:, 1:]}
    if "views" in extra:
        rays, seen = _view(run, given, extra, extra["views"], extra["height"], extra["width"], renderer)
        found |= {"rays_o": rays.origins.numpy(), "rays_d": rays.directions.numpy(), "rgb": seen}
        found |= {"t_near": rays.near.numpy(), "t_far": rays.far.numpy(), "rays_valid": rays.valid.float().numpy()}
    if "out.grid_points" in tensors:
        found["grid_points"] = _grid(golden, renderer)
    return found


def _grid(golden: Golden, renderer: Renderer) -> np.ndarray:
    """As many points of the grid as the set has, whose resolution is seen in the step between them."""
    stored = golden.tensors["out.grid_points"]
    resolution = 1 + round(2 * renderer.radius / float(stored[1, 2] - stored[0, 2]))
    return grid_points(resolution)[: len(stored)] * np.float32(renderer.radius)


def _whole(golden: Golden, run: Run) -> Arrays:
    """The scene's planes, and of what the set has: the field at points and on the grid, and one view."""
    renderer, given, tensors = Renderer(**golden.extra["renderer"]), golden.inputs(), golden.tensors
    first = run(given)
    found = {
        "image_tokens": _channels_first(first["tokens"], len(first["tokens"])),
        "scene_codes": planes_of(torch.from_numpy(first["planes"])).numpy(),
        "resized": np.moveaxis(given["image"], 1, -1),
    }
    if "in.points" in tensors:
        found |= _at(run, given, tensors["in.points"].numpy(), renderer)
    if "out.grid_density" in tensors:
        count = len(tensors["out.grid_density"])
        grid = grid_points(round(count ** (1 / 3)))[:count] * np.float32(renderer.radius)
        found["grid_density"] = _at(run, given, grid, renderer)["density_act"]
    if "out.rgb" in tensors:
        height, width = tensors["out.rgb"].shape[-3:-1]
        found["rgb"] = _view(run, given, golden.extra, 1, height, width, renderer)[1][0]
    return found


def _at(run: Run, given: Arrays, points: np.ndarray, renderer: Renderer) -> Arrays:
    """The field at points [N, 3]: raw and activated density [N, 1] and colour [N, 3]."""

    def program(asked: Mapping[str, np.ndarray]) -> Arrays:
        return run({name: asked["points"] if name == "points" else value for name, value in given.items()})

    density, features = query(program, None, points, CHUNK, np)
    return {
        "density": density[:, None],
        "features": features,
        "density_act": activated(density, renderer.density_bias)[:, None],
        "color": color(features),
    }


def _view(
    run: Run, given: Arrays, extra: Mapping[str, float], views: int, height: int, width: int, renderer: Renderer
) -> tuple[Rays, np.ndarray]:
    """The rays of the set's cameras, and the colours [V, H, W, 3] that they see."""
    elevation, distance, fov = (float(extra.get(name, value)) for name, value in _VIEWER.items())
    rays = in_box(*orbit(views, elevation, distance, fov, height, width), renderer.radius)

    def field(points: Tensor) -> tuple[Tensor, Tensor]:
        made = _at(run, given, points.numpy(), renderer)
        return torch.from_numpy(made["density_act"]), torch.from_numpy(made["color"])

    return rays, rendered(field, rays, renderer.num_samples_per_ray).numpy()
