"""Decoders of the structured latent to Gaussians and radiance fields, and its encoder: a window trunk and one linear.

Written from the specification of TRELLIS v1 (Xiang et al. 2024, section 3.1 and appendix A).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gen3dexport.models.trellis.host.gaussian_attributes import CHANNELS, Representation, perturbation
from gen3dexport.models.trellis.host.radiance_field import Factors
from gen3dexport.models.trellis.networks.window_attention import WindowTrunk, final_norm


class _WindowNetwork(WindowTrunk):
    """The trunk, a final norm and the output layer: feats [1, T, in] -> [1, T, out]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        resolution: int,
        model_channels: int,
        num_blocks: int,
        num_heads: int | None,
        num_head_channels: int,
        mlp_ratio: float,
        window_size: int,
    ) -> None:
        super().__init__(
            in_channels,
            resolution,
            model_channels,
            num_blocks,
            num_heads,
            num_head_channels,
            mlp_ratio,
            window_size,
        )
        self.out_layer = nn.Linear(model_channels, out_channels)

    def forward(
        self,
        feats: Tensor,
        coords: Tensor,
        slots: Tensor,
        window: Tensor,
        place: Tensor,
        shifted_slots: Tensor,
        shifted_window: Tensor,
        shifted_place: Tensor,
    ) -> Tensor:
        """feats [1, T, in] at coords [T, 3]; window tables of both shifts (`slat_inputs.window_inputs`)."""
        h = self.trunk(feats, coords, slots, window, place, shifted_slots, shifted_window, shifted_place)
        return self.out_layer(final_norm(h))  # type: ignore[no-any-return]


class SLatGaussianDecoder(_WindowNetwork):
    """Gaussian features [1, T, 14 G] of a latent [1, T, 8]; `gaussian_attributes.attributes` reads them."""

    def __init__(
        self,
        resolution: int,
        model_channels: int,
        latent_channels: int,
        num_blocks: int,
        representation_config: Mapping[str, Any],
        num_heads: int | None = None,
        num_head_channels: int = 64,
        mlp_ratio: float = 4,
        window_size: int = 8,
    ) -> None:
        representation = Representation.of(representation_config)
        super().__init__(
            latent_channels,
            CHANNELS * representation.num_gaussians,
            resolution,
            model_channels,
            num_blocks,
            num_heads,
            num_head_channels,
            mlp_ratio,
            window_size,
        )
        self.representation = representation
        self.register_buffer("offset_perturbation", torch.tensor(perturbation(representation)))


class SLatRadianceFieldDecoder(_WindowNetwork):
    """Factors [1, T, rank (3 dim + 4)] of a latent [1, T, 8]; `radiance_field.radiance_field` reads them."""

    def __init__(
        self,
        resolution: int,
        model_channels: int,
        latent_channels: int,
        num_blocks: int,
        representation_config: Mapping[str, Any],
        num_heads: int | None = None,
        num_head_channels: int = 64,
        mlp_ratio: float = 4,
        window_size: int = 8,
    ) -> None:
        factors = Factors.of(representation_config)
        super().__init__(
            latent_channels,
            factors.channels,
            resolution,
            model_channels,
            num_blocks,
            num_heads,
            num_head_channels,
            mlp_ratio,
            window_size,
        )
        self.factors = factors


class SLatEncoder(_WindowNetwork):
    """Mean (the deterministic latent) and log-variance, each [1, T, 8], of voxel features [1, T, in]."""

    def __init__(
        self,
        resolution: int,
        in_channels: int,
        model_channels: int,
        latent_channels: int,
        num_blocks: int,
        num_heads: int | None = None,
        num_head_channels: int = 64,
        mlp_ratio: float = 4,
        window_size: int = 8,
    ) -> None:
        super().__init__(
            in_channels,
            2 * latent_channels,
            resolution,
            model_channels,
            num_blocks,
            num_heads,
            num_head_channels,
            mlp_ratio,
            window_size,
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """As the decoders; two outputs."""
        mean, log_variance = super().forward(*inputs).chunk(2, dim=-1)
        return mean, log_variance
