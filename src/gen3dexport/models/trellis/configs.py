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
}

CONDITION_TOKENS = {1024: 1374, 768: 77, 384: 48, 48: 11}
"""Context length by condition width: DINOv2-L image tokens, CLIP text tokens, MiniLM text tokens, golden sets."""
