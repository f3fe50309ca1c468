"""The released tensors by their names; nothing here has a forward of its own."""

from __future__ import annotations

import torch
from torch import nn

from gen3dexport.models.v_jepa2.host.model import Model
from gen3dexport.models.v_jepa2.networks.layers import Layer
from gen3dexport.networks.half_precision import FloatNorm


class EncoderTensors(nn.Module):
    """Of the encoder."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        width, kernel = model.hidden_size, (model.tubelet_size, model.patch_size, model.patch_size)
        patches = nn.ModuleDict({"proj": nn.Conv3d(3, width, kernel, kernel)})
        self.embeddings = nn.ModuleDict({"patch_embeddings": patches})
        shape = (width, model.num_attention_heads, model.mlp_ratio, model.qkv_bias, model.layer_norm_eps)
        self.layer = nn.ModuleList(Layer(*shape) for _ in range(model.num_hidden_layers))
        self.layernorm = FloatNorm(width, eps=model.layer_norm_eps)


class PredictorEmbeddings(nn.Module):
    """A layer of what is known, and tokens that stand for what is not."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.predictor_embeddings = nn.Linear(model.hidden_size, model.pred_hidden_size)
        self.mask_tokens = nn.Parameter(torch.randn(model.pred_num_mask_tokens, 1, 1, model.pred_hidden_size) * 0.02)


class PredictorTensors(nn.Module):
    """Of the predictor."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        width = model.pred_hidden_size
        self.embeddings = PredictorEmbeddings(model)
        shape = (width, model.pred_num_attention_heads, model.pred_mlp_ratio, model.qkv_bias, model.layer_norm_eps)
        self.layer = nn.ModuleList(Layer(*shape) for _ in range(model.pred_num_hidden_layers))
        self.layernorm = FloatNorm(width, eps=model.layer_norm_eps)
        self.proj = nn.Linear(width, model.hidden_size)


class Released(nn.Module):
    """Of the whole file, or of one part of it (`encoder`, `predictor`)."""

    def __init__(self, model: Model, part: str | None = None) -> None:
        super().__init__()
        if part in (None, "encoder"):
            self.encoder = EncoderTensors(model)
        if part in (None, "predictor"):
            self.predictor = PredictorTensors(model)
