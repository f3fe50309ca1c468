"""The encoder and the predictor as they are exported: for one grid of patches, and for one choice of known ones.

The release sorts the predictor's tokens by their places and puts them back at the end. Attention does not depend on the
order of tokens whose places are told by turning, so they are not moved here: nothing depends on how equal places (a
patch that is known and asked for) are sorted.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gen3dexport.models.v_jepa2.host.model import Model
from gen3dexport.models.v_jepa2.networks.layers import Layer
from gen3dexport.models.v_jepa2.networks.positions import tables
from gen3dexport.models.v_jepa2.networks.released import EncoderTensors, PredictorTensors
from gen3dexport.networks.half_precision import HalfBlocks

_MASK = 1  # which of the stored tokens stands for what is to be predicted
Shared = tuple[Tensor, Tensor, Tensor]


class _Turned(HalfBlocks):
    """Layers of a transformer whose tokens have constant places."""

    stack = "layer"
    halved = "layer"

    def __init__(self, layers: nn.ModuleList, norm: nn.Module) -> None:
        super().__init__()
        self.layer, self.layernorm = layers, norm
        for layer in layers:
            assert isinstance(layer, Layer)
            layer.attention.arrange()

    def _place(self, ids: Tensor, grid: int, width: int) -> None:
        """Keep the tables of patches [B or 1, N]; `width` is that of a head."""
        for name, table in zip(("cosines", "sines"), tables(ids, grid, width), strict=True):
            self.register_buffer(name, table[:, None])

    def _first(self, x: Tensor) -> Shared:
        return x.to(self.block_dtype), self.get_buffer("cosines"), self.get_buffer("sines")

    def _through(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x, cosines, sines)
        return x


class Encoder(_Turned):
    """Features [B, N, C] of films [B, T, 3, S, S] in ImageNet's normalisation, N patches frame by frame, row by row."""

    def __init__(self, released: EncoderTensors, model: Model, tokens: int) -> None:
        """Takes the parts of `released`; `tokens` is N."""
        super().__init__(released.layer, released.layernorm)
        self.tubelet = model.tubelet_size
        stored = released.embeddings["patch_embeddings"].get_submodule("proj")
        assert isinstance(stored, nn.Conv3d) and stored.bias is not None
        # Kernel and stride are the same, so the frames of a patch are channels of a convolution of pictures.
        weight = stored.weight.detach().transpose(1, 2).flatten(1, 2)
        with torch.device("meta"):
            self.patches = nn.Conv2d(weight.shape[1], len(weight), model.patch_size, model.patch_size)
        self.patches.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
        self.patches.bias = nn.Parameter(stored.bias.detach(), requires_grad=False)
        self._place(torch.arange(tokens)[None], model.grid, model.hidden_size // model.num_attention_heads)

    def before(self, film: Tensor) -> Shared:
        """What the first layer takes; a film with fewer frames than a patch is repeated."""
        if film.shape[1] < self.tubelet:
            film = film.repeat(1, self.tubelet, 1, 1, 1)
        batch, count = film.shape[0], film.shape[1] // self.tubelet
        pairs = film[:, : count * self.tubelet].reshape(batch * count, -1, *film.shape[3:])
        found = self.patches(pairs).flatten(2).mT
        return self._first(found.reshape(batch, -1, found.shape[-1]))

    def after(self, x: Tensor) -> Tensor:
        """Features of the last rows."""
        return self.layernorm(x.float())  # type: ignore[no-any-return]

    def forward(self, film: Tensor) -> Tensor:
        return self.after(self._through(*self.before(film)))


class Predictor(_Turned):
    """Predicted features [B, M, C] of M patches, of the features [B, K, C] of K known ones."""

    def __init__(self, released: PredictorTensors, model: Model, known: Tensor, asked: Tensor) -> None:
        """Takes the parts of `released`.

        Args:
            known, asked: the patches [B or 1, K] and [B or 1, M], counted as the encoder's.
        """
        super().__init__(released.layer, released.layernorm)
        self.asked = asked.shape[1]
        embeddings = released.embeddings
        self.embedding, self.proj = embeddings.predictor_embeddings, released.proj
        token = embeddings.mask_tokens.detach()[_MASK % len(embeddings.mask_tokens)].clone()
        self.mask_token = nn.Parameter(token, requires_grad=False)
        width = model.pred_hidden_size // model.pred_num_attention_heads
        self._place(torch.cat([known, asked], 1), model.grid, width)

    def before(self, features: Tensor) -> Shared:
        """What the first layer takes: what is known, then a token for each patch that is asked for."""
        asked = self.mask_token.expand(len(features), self.asked, -1)
        return self._first(torch.cat([self.embedding(features), asked], 1))

    def after(self, x: Tensor) -> Tensor:
        """Predictions of the last rows."""
        rows = x[:, x.shape[1] - self.asked :].float()
        return self.proj(self.layernorm(rows))  # type: ignore[no-any-return]

    def forward(self, features: Tensor) -> Tensor:
        return self.after(self._through(*self.before(features)))


def gathered(features: Tensor, ids: Tensor) -> Tensor:
    """The features [B, K, C] of some patches [B or 1, K]."""
    index = ids[..., None].expand(len(features), -1, features.shape[-1])
    return torch.gather(features, 1, index)
