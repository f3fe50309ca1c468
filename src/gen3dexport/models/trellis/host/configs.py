"""Sizes of TRELLIS's networks (constructor arguments in the released names); no torch.

`tiny` is the size of the golden sets, `mini` the model trained here, the rest are the released checkpoints
(microsoft/TRELLIS-image-large and the TRELLIS-text-* repositories, MIT).
"""

from __future__ import annotations

from typing import Any

Args = dict[str, Any]

_FLOW: Args = {
    "in_channels": 8,
    "out_channels": 8,
    "mlp_ratio": 4,
    "patch_size": 1,
    "pe_mode": "ape",
    "qk_rms_norm": True,
    "use_fp16": True,
    "resolution": 16,
}
_VAE: Args = {"latent_channels": 8, "num_res_blocks": 2, "num_res_blocks_middle": 2, "use_fp16": True}

_SIZES: dict[str, tuple[int, int, int]] = {"B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1280, 28, 16)}


def _flow(size: str, cond: int) -> Args:
    width, blocks, heads = _SIZES[size]
    args = {**_FLOW, "model_channels": width, "cond_channels": cond, "num_blocks": blocks, "num_heads": heads}
    return args | ({"qk_rms_norm_cross": True} if size == "XL" else {})


_SLAT_FLOW: Args = {
    "resolution": 64,
    "in_channels": 8,
    "out_channels": 8,
    "mlp_ratio": 4,
    "patch_size": 2,
    "num_io_res_blocks": 2,
    "io_block_channels": [128],
    "pe_mode": "ape",
    "qk_rms_norm": True,
    "use_fp16": True,
}
_SLAT: Args = {
    "resolution": 64,
    "model_channels": 768,
    "latent_channels": 8,
    "num_blocks": 12,
    "num_heads": 12,
    "mlp_ratio": 4,
    "attn_mode": "swin",
    "window_size": 8,
    "use_fp16": True,
}
_GAUSSIANS: Args = {
    "lr": {"_xyz": 1.0, "_features_dc": 1.0, "_opacity": 1.0, "_scaling": 1.0, "_rotation": 0.1},
    "perturb_offset": True,
    "voxel_size": 1.5,
    "num_gaussians": 32,
    "2d_filter_kernel_size": 0.1,
    "3d_filter_kernel_size": 0.0009,
    "scaling_bias": 0.004,
    "opacity_bias": 0.1,
    "scaling_activation": "softplus",
}
_TINY_SLAT: Args = {**_SLAT, "use_fp16": False, "model_channels": 64, "num_blocks": 2, "num_heads": 2}


def _slat_flow(size: str, cond: int) -> Args:
    width, blocks, heads = _SIZES[size]
    args = {**_SLAT_FLOW, "model_channels": width, "cond_channels": cond, "num_blocks": blocks, "num_heads": heads}
    return args | ({"io_block_channels": [256], "num_io_res_blocks": 3} if size == "XL" else {})


def _decoder(args: Args, representation: Args) -> Args:
    return {**args, "representation_config": representation}


NETWORKS: dict[str, tuple[str, Args]] = {
    "ss_flow_img_dit_L_16l8_fp16": ("SparseStructureFlowModel", _flow("L", 1024)),
    "ss_flow_txt_dit_B_16l8_fp16": ("SparseStructureFlowModel", _flow("B", 768)),
    "ss_flow_txt_dit_L_16l8_fp16": ("SparseStructureFlowModel", _flow("L", 768)),
    "ss_flow_txt_dit_XL_16l8_fp16": ("SparseStructureFlowModel", _flow("XL", 768)),
    "ss_enc_conv3d_16l8_fp16": ("SparseStructureEncoder", {**_VAE, "in_channels": 1, "channels": [32, 128, 512]}),
    "ss_dec_conv3d_16l8_fp16": ("SparseStructureDecoder", {**_VAE, "out_channels": 1, "channels": [512, 128, 32]}),
    "ss_flow_tiny": (
        "SparseStructureFlowModel",
        {**_FLOW, "use_fp16": False, "resolution": 8, "model_channels": 64, "cond_channels": 48, "num_blocks": 2}
        | {"num_heads": 2},
    ),
    "ss_dec_tiny": (
        "SparseStructureDecoder",
        {**_VAE, "use_fp16": False, "out_channels": 1, "channels": [32, 16, 8]},
    ),
    "ss_enc_tiny": (
        "SparseStructureEncoder",
        {**_VAE, "use_fp16": False, "in_channels": 1, "channels": [8, 16, 32]},
    ),
    "slat_flow_img_dit_L_64l8p2_fp16": ("SLatFlowModel", _slat_flow("L", 1024)),
    "slat_flow_txt_dit_B_64l8p2_fp16": ("SLatFlowModel", _slat_flow("B", 768)),
    "slat_flow_txt_dit_L_64l8p2_fp16": ("SLatFlowModel", _slat_flow("L", 768)),
    "slat_flow_txt_dit_XL_64l8p2_fp16": ("SLatFlowModel", _slat_flow("XL", 768)),
    "slat_enc_swin8_B_64l8_fp16": ("SLatEncoder", {**_SLAT, "in_channels": 1024}),
    "slat_dec_gs_swin8_B_64l8gs32_fp16": ("SLatGaussianDecoder", _decoder(_SLAT, _GAUSSIANS)),
    "slat_dec_rf_swin8_B_64l8r16_fp16": ("SLatRadianceFieldDecoder", _decoder(_SLAT, {"rank": 16, "dim": 8})),
    "slat_dec_mesh_swin8_B_64l8m256c_fp16": ("SLatMeshDecoder", _decoder(_SLAT, {"use_color": True})),
    "slat_flow_tiny": (
        "SLatFlowModel",
        {**_SLAT_FLOW, "use_fp16": False, "model_channels": 64, "cond_channels": 48, "num_blocks": 2, "num_heads": 2}
        | {"io_block_channels": [32]},
    ),
    "slat_enc_tiny": ("SLatEncoder", {**_TINY_SLAT, "in_channels": 24}),
    "slat_dec_gs_tiny": ("SLatGaussianDecoder", _decoder(_TINY_SLAT, _GAUSSIANS)),
    "slat_dec_rf_tiny": ("SLatRadianceFieldDecoder", _decoder(_TINY_SLAT, {"rank": 16, "dim": 8})),
    "slat_dec_mesh_tiny": (
        "SLatMeshDecoder",
        _decoder({**_TINY_SLAT, "model_channels": 256, "num_heads": 8, "mlp_ratio": 2}, {"use_color": True}),
    ),
}

CONDITION_TOKENS = {1024: 1374, 768: 77, 384: 48, 48: 11}
"""Context length by condition width: DINOv2-L image tokens, CLIP text tokens, MiniLM text tokens, golden sets."""
