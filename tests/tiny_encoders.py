"""Tiny encoders in the transformers library's layout, with seeded weights."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn

from gen3dexport.networks.dinov2 import Dinov2
from gen3dexport.networks.dinov2_names import apart, transformers_names

WORDS = ["<|startoftext|>", "<|endoftext|>", "a", "chair", "with", "four", "legs", "red", "round", "table", "tall"]
DINO = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 42, "patch_size": 14}
DINO |= {"num_register_tokens": 1}
CLIP = {"vocab_size": len(WORDS), "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3}
CLIP |= {"num_attention_heads": 2, "max_position_embeddings": 11, "bos_token_id": 0, "eos_token_id": 1}


def _seeded(module: nn.Module) -> nn.Module:
    """Noise on every parameter, so that none is 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def dino() -> nn.Module:
    """A tiny image model: 42 x 42 pixels to 11 tokens of width 48."""
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    return _seeded(Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**DINO)))


def clip() -> nn.Module:
    """A tiny text model: 11 tokens of width 48."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return _seeded(CLIPTextModel(CLIPTextConfig(**CLIP)))


def write_tokenizer(path: Path) -> None:
    """A tokenizer of `WORDS` with CLIP's marks."""
    made = Tokenizer(models.WordLevel({word: k for k, word in enumerate(WORDS)}, unk_token="a"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [(WORDS[0], 0), (WORDS[1], 1)]
    made.post_processor = processors.TemplateProcessing(single=f"{WORDS[0]} $A {WORDS[1]}", special_tokens=marks)
    made.save(str(path))


def write(folder: Path, kind: str) -> nn.Module:
    """The tiny encoder of that kind into `folder`; returns the library's own model."""
    model = dino() if kind == "dinov2" else clip()
    model.save_pretrained(folder)
    if kind == "clip":
        write_tokenizer(folder / "tokenizer.json")
    return model


def dinov2_state(edge: int, gated: bool = False) -> dict[str, torch.Tensor]:
    """Seeded tensors of a small DINOv2 for a grid of `edge` patches, named as the transformers library's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        own = Dinov2(20, 2, 2, edge, gated=gated).state_dict()
    state: dict[str, torch.Tensor] = {}
    for name, value in own.items():
        state |= apart(value, transformers_names(name))
    return {name: value.clone() for name, value in state.items()}
