"""Golden sets of Shap-E, made of the diffusers library's own classes with random weights: tests/golden/shap_e.

    python3 -m venv /tmp/diffusers
    /tmp/diffusers/bin/pip install diffusers==0.42.1 torch==2.14.1 transformers safetensors
    /tmp/diffusers/bin/python tests/families/shap_e/make_golden.py tests/golden/shap_e [SEED]

The sets' format is that of `gen3dexport.models.golden`. Every parameter is random, those too that the library sets to 0
or 1. It imports nothing of gen3dexport.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import HeunDiscreteScheduler, PriorTransformer
from diffusers.pipelines.shap_e.renderer import ShapERenderer
from safetensors.torch import save_file
from torch import Tensor, nn

PRIOR = {
    "num_attention_heads": 2,
    "attention_head_dim": 10,
    "num_layers": 2,
    "embedding_dim": 12,
    "num_embeddings": 32,
    "additional_embeddings": 0,
    "embedding_proj_dim": 14,
    "time_embed_dim": 40,
    "time_embed_act_fn": "gelu",
    "norm_in_type": "layer",
    "embedding_proj_norm_type": None,
    "encoder_hid_proj_type": None,
    "added_emb_type": None,
    "clip_embed_dim": 24,
}
RENDERER = {
    "param_names": [f"nerstf.mlp.{k}.weight" for k in range(4)],
    "param_shapes": [[8, 93], [8, 8], [8, 8], [8, 8]],
    "d_latent": 12,
    "d_hidden": 8,
    "n_output": 12,
    "n_hidden_layers": 6,
    "act_fn": "swish",
    "insert_direction_at": 4,
    "background": [255.0, 255.0, 255.0],
}
SCHEDULER = {
    "num_train_timesteps": 1024,
    "beta_schedule": "exp",
    "prediction_type": "sample",
    "use_karras_sigmas": True,
    "clip_sample": True,
    "clip_sample_range": 1.0,
}


def randomised(module: nn.Module, seed: int) -> nn.Module:
    """The module with every parameter random, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            scale = value.shape[-1] ** -0.5 if value.ndim == 2 and "embedding" not in name else 0.3
            value.copy_(noise * scale + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
    return module.eval()


def write(folder: Path, config: dict[str, Any], state: dict[str, Tensor], io: dict[str, Tensor], seed: int) -> None:
    """One set."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().clone().contiguous() for k, v in state.items()}, folder / "weights.safetensors")
    save_file({k: v.detach().clone().contiguous() for k, v in io.items()}, folder / "io.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    meta = {"family": "shap-e", "component": folder.name, "seed": seed}
    meta |= {"diffusers": diffusers.__version__, "torch": torch.__version__}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")


def prior(folder: Path, kind: str, seed: int) -> None:
    """The diffusion transformer under a vector or under tokens."""
    config = {**PRIOR, "embedding_proj_norm_type": "layer" if kind == "image" else None}
    model, generator = randomised(PriorTransformer(**config), seed), torch.Generator().manual_seed(seed + 1)
    x = torch.randn(2, config["num_embeddings"], config["embedding_dim"], generator=generator)
    shape = (2, 9, config["embedding_proj_dim"]) if kind == "image" else (2, config["embedding_proj_dim"])
    cond, t = torch.randn(shape, generator=generator), torch.tensor([898.841, 3.0])
    cond[1] = 0
    out = model(x, timestep=t, proj_embedding=cond, return_dict=False)[0]
    io = {"in.x": x, "in.t": t, "in.cond": cond, "out.predicted": out}
    write(folder / f"prior_{kind}", config, model.state_dict(), io, seed)


def sampler(folder: Path, seed: int) -> None:
    """The whole walk under guidance, as the library's pipeline calls the scheduler and the transformer."""
    model, steps, scale = randomised(PriorTransformer(**PRIOR), seed), 5, 4.0
    generator = torch.Generator().manual_seed(seed + 1)
    scheduler = HeunDiscreteScheduler(**SCHEDULER)
    scheduler.set_timesteps(steps)
    vector = torch.randn(1, PRIOR["embedding_proj_dim"], generator=generator)
    vector = vector / vector.norm()
    noise = torch.randn(1, PRIOR["num_embeddings"], PRIOR["embedding_dim"], generator=generator)
    cond = math.sqrt(vector.shape[1]) * torch.cat([torch.zeros_like(vector), vector])
    latents, states = noise * scheduler.init_noise_sigma, []
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(torch.cat([latents, latents]), t)
        found = model(scaled, timestep=t, proj_embedding=cond, return_dict=False)[0][..., : PRIOR["embedding_dim"]]
        without, with_it = found.chunk(2)
        latents = scheduler.step(without + scale * (with_it - without), timestep=t, sample=latents).prev_sample
        states.append(latents)
    config = {"prior": PRIOR, "scheduler": SCHEDULER, "steps": steps, "guidance_scale": scale}
    io = {
        "in.noise": noise,
        "in.vector": vector,
        "out.latents": latents,
        "out.after_steps": torch.stack([*states[1::2], states[-1]]),  # a step but the last takes two calls
        "mid.sigmas": torch.cat([scheduler.sigmas[:1], scheduler.sigmas[1::2]]),
        "mid.timesteps": torch.cat([scheduler.timesteps[:1], scheduler.timesteps[1::2]]),
    }
    write(folder / "sampler", config, model.state_dict(), io, seed)


def renderer(folder: Path, seed: int) -> None:
    """Latents to layers, and the implicit function at points. A mesh needs tables that published files alone have."""
    config = {**RENDERER, "param_shapes": tuple(map(tuple, RENDERER["param_shapes"]))}
    model = randomised(ShapERenderer(**config), seed)
    rows = sum(shape[0] for shape in RENDERER["param_shapes"])
    generator = torch.Generator().manual_seed(seed + 1)
    z = torch.randn(1, rows, RENDERER["d_latent"], generator=generator)
    points = torch.rand(1, 50, 3, generator=generator) * 2 - 1
    stored = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.no_grad():
        made = model.params_proj(z)
        for name, value in model.mlp.state_dict().items():
            if f"nerstf.{name}" in made:
                value.copy_(made[f"nerstf.{name}"].squeeze(0))
        found = model.mlp(position=points, direction=None, ts=None, nerf_level="fine", rendering_mode="stf")
    io = {
        "in.z": z,
        "in.points": points,
        **{f"mid.layer{k}": made[f"nerstf.mlp.{k}.weight"] for k in range(len(RENDERER["param_shapes"]))},
        "out.sdf": found.signed_distance,
        "out.color": found.channels,
    }
    write(folder / "renderer", RENDERER, stored, io, seed)


def main(folder: Path, seed: int = 700) -> None:
    """All sets."""
    with torch.no_grad():
        prior(folder, "text", seed)
        prior(folder, "image", seed + 10)
        sampler(folder, seed + 20)
        renderer(folder, seed + 30)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
