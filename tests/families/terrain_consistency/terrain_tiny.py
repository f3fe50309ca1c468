"""Terrain small: the golden set's network, written as the published ONNX file is, and its recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from fetched_weights import fetched
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from gen3dexport.models.terrain_consistency.host.model import NETWORK, every_part, model_of
from gen3dexport.models.terrain_consistency.host.released import FILE
from gen3dexport.models.terrain_consistency.host.settings import RELEASED

GOLDEN = Path(__file__).parents[2] / "golden" / "real_weights"
CONFIG = json.loads((GOLDEN / "terrain_tiny" / "config.json").read_text())
STATE = load_file(GOLDEN / "terrain_tiny" / "weights.safetensors")
MODEL = model_of(STATE, CONFIG["native_size"], CONFIG["groups"], CONFIG["head_channels"], "terrain_tiny")

RECIPE = """\
schema: 2
name: terrain-tiny
summary: the golden set's network as a pipeline; noise in, a height field out
family: terrain_consistency
weights: {weights}
golden:
  prompts: ["10", "90"]
budgets:
  relative_l2: 1.0e-3
  relative_l2_fp32: 1.0e-3
  scores: {{height_field: {{within_1pct: 0.99}}}}
"""


def write_onnx(state: Mapping[str, np.ndarray], folder: Path) -> Path:
    """The ONNX file of a state dict: norms under numbers, as an InstanceNormalization, a factor and a summand each."""
    norms = [
        f"{NETWORK}{part.name}.{norm}"
        for part in every_part(MODEL)
        for norm in (("in_layers.0", "out_layers.0") if part.kind == "residual" else ("norm",))
    ]
    norms.append(f"{NETWORK}out.0")
    lost = {f"{norm}.{kind}" for norm in norms for kind in ("weight", "bias")}
    tensors = {name: value for name, value in state.items() if name not in lost}
    tensors |= {"ones": np.ones(MODEL.groups, np.float32), "zeros": np.zeros(MODEL.groups, np.float32)}
    tensors |= {"shape": np.array([1, -1, 16, 16], np.int64)}
    nodes = []
    for i, norm in enumerate(norms):
        tensors |= {
            f"val_{i}w": state[f"{norm}.weight"][:, None, None],
            f"val_{i}b": state[f"{norm}.bias"][:, None, None],
        }
        nodes += [
            helper.make_node("InstanceNormalization", ["noisy", "ones", "zeros"], [f"n{i}"], f"norm_{i}"),
            helper.make_node("Reshape", [f"n{i}", "shape"], [f"r{i}"]),
            helper.make_node("Mul", [f"r{i}", f"val_{i}w"], [f"m{i}"]),
            helper.make_node("Add", [f"m{i}", f"val_{i}b"], [f"a{i}"]),
        ]
    tensors["scale"] = np.array(MODEL.head_channels**-0.25, np.float32)
    nodes += [
        helper.make_node("Split", ["noisy"], ["q", "k"], axis=1, num_outputs=2),
        helper.make_node("Mul", ["q", "scale"], ["scaled_q"]),
        helper.make_node("Mul", ["k", "scale"], ["scaled_k"]),
    ]
    edge = MODEL.size
    shapes = {"noisy": ["batch", 1, edge, edge], "sigma": ["batch"], "difficulty": ["batch"]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("denoised", TensorProto.FLOAT, ["batch", 1, edge, edge])],
        [numpy_helper.from_array(value.copy(), name) for name, value in tensors.items()],
    )
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph), folder / FILE)
    return folder


def checkpoint(folder: Path) -> Path:
    """`folder`, made a checkpoint."""
    return write_onnx(STATE, folder)


def recipe(weights: Path, path: Path) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    path.write_text(RECIPE.format(weights=weights))
    return path


def published() -> Path:
    """The folder of the published weights; a test that asks for it is skipped where pip cannot have them."""
    return fetched(RELEASED)
