"""BERT encoder (Devlin et al. 2018) that exports cleanly: token features for text conditioning.

State-dict keys are those of the Hugging Face `BertModel` layout, without the pooler, which token features do not use.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BertEmbeddings(nn.Module):
    """Word + position + type embedding, layer norm."""

    def __init__(self, vocab_size: int, max_positions: int, type_vocab_size: int, width: int, eps: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, width)
        self.position_embeddings = nn.Embedding(max_positions, width)
        self.token_type_embeddings = nn.Embedding(type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=eps)

    def forward(self, ids: Tensor) -> Tensor:
        positions = self.position_embeddings.weight[: ids.shape[1]]
        return self.LayerNorm(  # type: ignore[no-any-return]
            self.word_embeddings(ids) + positions + self.token_type_embeddings.weight[0]
        )


class _SelfProjections(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)


class _ResidualOutput(nn.Module):
    """Linear, residual, layer norm (post-norm)."""

    def __init__(self, in_width: int, width: int, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(in_width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=eps)

    def forward(self, h: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(h) + residual)  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Multi-head self-attention; its projections live under the released key `self`."""

    def __init__(self, width: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.add_module("self", _SelfProjections(width))
        self.output = _ResidualOutput(width, width, eps)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        project = self.get_submodule("self")
        assert isinstance(project, _SelfProjections)
        split = (linear(x).unflatten(-1, (self.heads, -1)) for linear in (project.query, project.key, project.value))
        q, k, v = (part.transpose(1, 2) for part in split)
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)
        return self.output(h, x)  # type: ignore[no-any-return]


class _Intermediate(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x))


class BertLayer(nn.Module):
    """Post-norm self-attention and MLP (exact GELU): x [B, L, C], bias [B, 1, 1, L] on the scores -> [B, L, C]."""

    def __init__(self, width: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.attention = _Attention(width, heads, eps)
        self.intermediate = _Intermediate(width, hidden)
        self.output = _ResidualOutput(hidden, width, eps)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = self.attention(x, bias)
        return self.output(self.intermediate(x), x)  # type: ignore[no-any-return]


class _Layers(nn.Module):
    def __init__(self, layers: list[BertLayer]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(layers)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x, bias)
        return x


class BertTokenEncoder(nn.Module):
    """Features [B, L, C] of token ids [B, L] (int64); rows where mask [B, L] (int64) is 0 are zero."""

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        num_hidden_layers: int,
        num_attention_heads: int,
        intermediate_size: int,
        max_position_embeddings: int,
        type_vocab_size: int = 2,
        layer_norm_eps: float = 1e-12,
    ) -> None:
        super().__init__()
        width, eps = hidden_size, layer_norm_eps
        self.embeddings = BertEmbeddings(vocab_size, max_position_embeddings, type_vocab_size, width, eps)
        layers = [BertLayer(width, num_attention_heads, intermediate_size, eps) for _ in range(num_hidden_layers)]
        self.encoder = _Layers(layers)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        bias = (1.0 - mask.float())[:, None, None, :] * -1e9  # finite, so that a row without tokens is not NaN
        h = self.encoder(self.embeddings(ids), bias)
        return h * mask.to(h.dtype)[:, :, None]  # type: ignore[no-any-return]

    @staticmethod
    def drop_unused(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A released state dict without the pooler and the stored position ids, which token features do not use."""
        return {k: v for k, v in state.items() if not k.startswith("pooler.") and k != "embeddings.position_ids"}


def minilm_args() -> dict[str, int]:
    """Constructor arguments of all-MiniLM-L6-v2."""
    return {
        "vocab_size": 30522,
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "max_position_embeddings": 512,
    }
