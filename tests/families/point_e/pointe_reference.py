"""Point-E's equations once more, in NumPy, float64, head by head; and golden sets of any size made by them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from gen3dexport.models.point_e.host.model import parse_network
from gen3dexport.models.point_e.networks.layouts import released, released_name

Weights = dict[str, np.ndarray]


def seeded(config: dict[str, Any], seed: int) -> dict[str, Tensor]:
    """Random tensors under the released names, none of them 0 or 1 all over; the cloud's scales as they are."""
    module = released(parse_network(config, "reference", whole=False))
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in module.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        fan = value.shape[-1] if value.ndim > 1 else 0
        made = noise / math.sqrt(fan) if fan else ("ln" in name) * 1.0 + 0.3 * noise
        state[released_name(name)] = value if name.startswith("channel_") else made
    return state


def linear(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def norm(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def mlp(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return linear(w, f"{name}.c_proj", gelu(linear(w, f"{name}.c_fc", x)))


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    scores = q @ k.T / math.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def block(w: Weights, name: str, x: np.ndarray, heads: int) -> np.ndarray:
    """One block on tokens [T, W]; a head's q, k and v lie side by side in the columns of qkv."""
    qkv, d = linear(w, f"{name}.attn.c_qkv", norm(w, f"{name}.ln_1", x)), x.shape[-1] // heads
    made = []
    for start in range(0, 3 * d * heads, 3 * d):
        made.append(attention(*(qkv[:, start + k * d : start + (k + 1) * d] for k in range(3))))
    x = x + linear(w, f"{name}.attn.c_proj", np.concatenate(made, -1))
    return x + mlp(w, f"{name}.mlp", norm(w, f"{name}.ln_2", x))


def denoise(config: dict[str, Any], w: Weights, given: dict[str, np.ndarray], row: int) -> np.ndarray:
    """Noise and variance [12, n] of one row of a set's inputs."""
    width, x = config["width"], given["x"][row]
    frequencies = np.exp(-math.log(10000) * np.arange(width // 2) / (width // 2))
    angles = given["t"][row] * frequencies
    tokens = [mlp(w, "time_embed", np.concatenate([np.cos(angles), np.sin(angles)])[None])]
    if "clip_vec" in given:
        vector = given["clip_vec"][row]
        tokens.insert(0, linear(w, "clip_embed", math.sqrt(len(vector)) * vector)[None])
    if "clip_grid" in given:
        tokens.append(linear(w, "clip_embed.1", norm(w, "clip_embed.0", given["clip_grid"][row].T)))
    if "low_res" in given:
        scaled = given["low_res"][row] * w["channel_scales"][:, None] + w["channel_biases"][:, None]
        tokens.append(linear(w, "cond_point_proj", scaled.T))
    extra = sum(map(len, tokens))
    h = norm(w, "ln_pre", np.concatenate([*tokens, linear(w, "input_proj", x.T)]))
    for layer in range(config["layers"]):
        h = block(w, f"backbone.resblocks.{layer}", h, config["heads"])
    return linear(w, "output_proj", norm(w, "ln_post", h)[extra:]).T


def distance(config: dict[str, Any], w: Weights, cloud: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The field [P] of a cloud [3, N] at points [3, P]."""
    data = linear(w, "encoder_input_proj", cloud.T)
    for layer in range(config["encoder_layers"]):
        data = block(w, f"encoder.resblocks.{layer}", data, config["encoder_heads"])
    x, heads = linear(w, "decoder_input_proj", queries.T), config["decoder_heads"]
    d = config["width"] // heads
    for layer in range(config["decoder_layers"]):
        name = f"decoder.resblocks.{layer}"
        q = linear(w, f"{name}.attn.c_q", norm(w, f"{name}.ln_1", x))
        kv = linear(w, f"{name}.attn.c_kv", norm(w, f"{name}.ln_2", data))
        made = []
        for head in range(heads):
            k, v = (kv[:, 2 * d * head + part * d : 2 * d * head + (part + 1) * d] for part in range(2))
            made.append(attention(q[:, d * head : d * (head + 1)], k, v))
        x = x + linear(w, f"{name}.attn.c_proj", np.concatenate(made, -1))
        x = x + mlp(w, f"{name}.mlp", norm(w, f"{name}.ln_3", x))
    return linear(w, "output_proj", norm(w, "ln_post", x))[:, 0]


def write_set(folder: Path, component: str, config: dict[str, Any], batch: int, seed: int) -> Path:
    """A golden set of that configuration, made by the equations above."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, state = np.random.default_rng(seed), seeded(config, seed)
    w = {name: value.double().numpy() for name, value in state.items()}
    if component == "sdf":
        shapes = {"point_cloud": (batch, 3, config["n_ctx"]), "queries": (batch, 3, 37)}
    else:
        shapes = {"x": (batch, 6, config["n_ctx"]), "t": (batch,)}
        grid = (batch, config.get("clip_grid_feature_dim", 0), config.get("clip_grid_size", 0) ** 2)
        shapes |= {"clip_vec": (batch, config["clip_feature_dim"])} if "clip_feature_dim" in config else {}
        shapes |= {"clip_grid": grid} if "clip_grid_size" in config else {}
        shapes |= {"low_res": (batch, 6, config["cond_ctx"])} if "cond_ctx" in config else {}
    given = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    if "t" in given:
        given["t"] = (given["t"] * 500).astype(np.float32)
    if component == "sdf":
        rows = [distance(config, w, given["point_cloud"][k], given["queries"][k]) for k in range(batch)]
    else:
        rows = [denoise(config, w, given, k) for k in range(batch)]
    out = {("out.sdf" if component == "sdf" else "out.eps_var"): np.stack(rows).astype(np.float32)}
    tensors = {**{f"in.{name}": value for name, value in given.items()}, **out}
    save_file(
        {name: torch.from_numpy(value).contiguous() for name, value in tensors.items()}, folder / "io.safetensors"
    )
    save_file(state, folder / "weights.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "meta.json").write_text(json.dumps({"component": component}))
    return folder
