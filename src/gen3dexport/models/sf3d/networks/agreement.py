"""What SF3D's golden sets say: outputs of a network and of the host's work around it, found and expected."""

from __future__ import annotations

import numpy as np
import torch

from gen3dexport.models.golden import Arrays, Golden, Run, configured
from gen3dexport.models.marching_tetrahedra import crossing
from gen3dexport.models.point_queries import answers
from gen3dexport.models.sf3d.host import parts
from gen3dexport.models.sf3d.host.fields import activated, beta_mode
from gen3dexport.models.sf3d.host.surface import moved
from gen3dexport.models.sf3d.networks.camera import (
    CameraEmbedder,
    default_embedding,
    default_pose,
    intrinsics,
    normalised,
)
from gen3dexport.models.sf3d.networks.golden_sets import CHUNK, read_golden
from gen3dexport.models.sf3d.networks.image_encoder import ImageEncoder
from gen3dexport.models.sf3d.networks.query import Query
from gen3dexport.models.sf3d.networks.triplane import rows_of

read = read_golden


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected."""
    if golden.subject == "marching_tets":
        return _tetrahedra(golden)
    makers = {
        "image_tokenizer": _image_tokenizer,
        "camera_tokenizer": _camera,
        "decoder_query": _decoder,
        "material_heads": _material,
    }
    return golden.compared(makers.get(golden.subject, _network)(golden, run))


def _network(golden: Golden, run: Run) -> Arrays:
    return run(golden.inputs())


def _image_tokenizer(golden: Golden, run: Run) -> Arrays:
    """Tokens by the network, and, eagerly, what enters its layers and leaves the first."""
    assert golden.component is not None
    encoder, images = golden.component.module, golden.tensors["in.images"]
    assert isinstance(encoder, ImageEncoder)
    tokens = run(golden.inputs())["tokens"]
    with torch.no_grad():
        x, condition = encoder.before(*golden.component.inputs.values())
        first = encoder.layers[0]
        steps = {"embeddings": x.numpy(), "layer0": first(x, condition).numpy()}
        steps["layer0_norm1_modulated"] = first.modulated(1, x, condition).numpy()  # type: ignore[operator]
    return steps | {"tokens": np.moveaxis(tokens.reshape(*images.shape[:2], *tokens.shape[1:]), -1, -2)}


def _camera(golden: Golden, run: Run) -> Arrays:
    """The embeddings by the network, and the default camera and its embedding."""
    assert golden.component is not None
    embedder, extra = golden.component.module, golden.extra
    assert isinstance(embedder, CameraEmbedder)
    distance, fovy, size = extra["distance"], extra["fovy_deg"], extra["size"]
    matrix = intrinsics(fovy, size, size)
    with torch.no_grad():
        embedding = default_embedding(embedder, distance, fovy, size)
    return run(golden.inputs()) | {
        "default_c2w": default_pose(distance).numpy(),
        "default_intrinsic": matrix.numpy(),
        "default_intrinsic_normed": normalised(matrix, size, size).numpy(),
        "default_embedding": embedding[None, None].numpy(),
    }


def _decoder(golden: Golden, run: Run) -> Arrays:
    """Every head at the points of every picture after its activation, and, eagerly, the planes' features there."""
    assert golden.component is not None
    query, tensors = golden.component.module, golden.tensors
    assert isinstance(query, Query)
    heads = configured(parts.Decoder, golden.extra["decoder"]).heads
    channels = {head.name: head.out_channels for head in heads}
    found: dict[str, list[np.ndarray]] = {name: [] for name in (*channels, "features_sampled")}
    for planes, points in zip(tensors["in.triplanes"], tensors["in.points"], strict=True):
        rows = rows_of(planes[None]).contiguous()
        raw = answers(run, {"planes": rows.numpy()}, points.numpy(), CHUNK, channels, np)
        for head in heads:
            found[head.name].append(activated(raw[head.name], head))
        found["features_sampled"].append(query.features(rows, points[None]).numpy())
    return {name: np.stack(values) for name, values in found.items()}


def _material(golden: Golden, run: Run) -> Arrays:
    """The material's numbers, and the parameters that they are the mode of."""
    beta = run(golden.inputs())["beta"]
    found: Arrays = {}
    for i, head in enumerate(configured(parts.ImageEstimator, golden.extra).heads):
        mode = beta_mode(beta[:, i, 0], beta[:, i, 1])
        shape = (-1, 1) if head.shape is None else head.shape
        found[head.name] = mode.reshape([len(mode) if size == -1 else size for size in shape])
        found |= {f"{head.name}_alpha": beta[:, i, 0], f"{head.name}_beta": beta[:, i, 1]}
    return found


def _tetrahedra(golden: Golden) -> tuple[Arrays, Arrays]:
    """Vertices, and faces up to where a triangle begins and which diagonal a pair has."""
    tensors = {name: tensor.numpy() for name, tensor in golden.tensors.items()}
    points, level = tensors["in.grid_vertices"], tensors["in.level"][:, 0]
    deformed = moved(points, tensors["in.deform"], golden.extra["resolution"])
    found: Arrays = {}
    expected: Arrays = {}
    for end, grid in (("", deformed), ("_undeformed", points)):
        made = crossing(grid, level, tensors["in.indices"])
        found |= {f"vertices{end}": made.vertices, f"faces{end}": canonical(made.faces, made.single)}
        for name in (f"vertices{end}", f"faces{end}"):
            if (stored := golden.stored(name)) is not None:
                expected[name] = canonical(stored, made.single) if name.startswith("faces") else stored
    return {name: found[name] for name in expected}, expected


def canonical(faces: np.ndarray, single: int) -> np.ndarray:
    """Loops of vertices [F, 4] that each begin with their least: of the first `single` triangles by themselves (the
    first vertex again at the end), then of pairs of triangles, twice each."""
    triangles = faces[:single]
    closed = np.concatenate([_from_least(triangles), _from_least(triangles)[:, :1]], 1)
    loops = []
    for one, two in zip(faces[single::2], faces[single + 1 :: 2], strict=True):
        (last,) = set(two.tolist()) - set(one.tolist())
        (lonely,) = set(one.tolist()) - set(two.tolist())
        start = one.tolist().index(lonely)
        a, b, c = np.roll(one, -start)
        loops += [[a, b, last, c]] * 2
    quads = _from_least(np.array(loops, faces.dtype).reshape(-1, 4))
    return np.concatenate([closed, quads]).astype(np.int64)


def _from_least(loops: np.ndarray) -> np.ndarray:
    """Each loop [N, K] turned so that its least vertex comes first."""
    start = loops.argmin(1)[:, None] if len(loops) else np.zeros((0, 1), np.int64)
    return np.take_along_axis(loops, (start + np.arange(loops.shape[1])) % loops.shape[1], 1)
