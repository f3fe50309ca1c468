"""What mends code that a target does not take: advice by operator and message, given where a trial failed. No torch."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Rewrite:
    """One piece of advice.

    Attributes:
        fits: pattern that is looked for in the operator and the message.
        advice: what to write instead. backend: for failures there alone; "" for all.
    """

    fits: str
    advice: str
    backend: str = ""


REWRITES = (
    Rewrite(
        r"xformers|flash_attn|memory_efficient_attention|sageattention",
        "call torch.nn.functional.scaled_dot_product_attention: every target has it, or a form of it",
    ),
    Rewrite(
        r"spconv|torchsparse|MinkowskiEngine|SparseConv",
        "sparse convolution: tables of neighbours from the host as integer inputs, then index, multiply and add "
        "(models/trellis/networks/sparse_layers.py does so)",
    ),
    Rewrite(
        r"nvdiffrast|diff_gaussian|gsplat|tinycudann|_C\b.*cuda|cuda extension|CUDAExtension",
        "a CUDA extension is of one vendor: leave rendering to the host, or write it with torch's own functions",
    ),
    Rewrite(
        r"complex|fft|polar",
        "complex numbers: rotary embeddings as two real halves with cos and sin; a Fourier transform as a product with "
        "constant matrices, or on the host before the program",
    ),
    Rewrite(
        r"nonzero|masked_select|aten\.unique|argwhere|repeat_interleave.*Tensor",
        "a size that depends on values: keep the size fixed with torch.where(mask, x, 0), or take the k largest with "
        "torch.topk and a fixed k",
    ),
    Rewrite(
        r"_local_scalar_dense|\.item|data-dependent|DataDependent|unbacked|guard on|u\d+ ",
        "a Python number or `if` from a tensor's value: make it a constant of __init__, compute both branches and "
        "choose with torch.where, or take it as an input of the pipeline",
    ),
    Rewrite(
        r"Dynamo|not (?:an )?(?:exportable|traceable)|graph break|numpy\(\)|FakeTensor",
        "code that leaves torch (numpy(), .tolist(), print of values): write it with torch functions, or do it on the "
        "host",
    ),
    Rewrite(
        r"aten\.randn|aten\.rand\b|aten\.randint|aten\.bernoulli|dropout",
        "random numbers: take noise as an input of the pipeline",
    ),
    Rewrite(
        r"conv_transpose3d|conv3d|convolution",
        "3-D convolution: a sum over the kernel's depth of conv2d on shifted slices, slices as the batch",
        "executorch",
    ),
    Rewrite(
        r"grid_sampler_3d|grid_sample",
        "sampling of a grid: eight (in 2-D four) gathers by computed index and their weighted sum, or on the host",
    ),
    Rewrite(
        r"upsample|interpolate|_upsample",
        "resizing: nearest by a whole factor as expand and reshape; linear as products with constant matrices "
        "(models/resampling.py makes them); no antialias",
    ),
    Rewrite(
        r"scatter|index_add|index_put|index_reduce|segment_reduce|put_",
        "scatter: a product with a one-hot matrix where it is small, or gather by a table that the host makes",
    ),
    Rewrite(r"aten\.sort|argsort|msort", "sorting: torch.topk with k of the whole axis, or on the host"),
    Rewrite(r"cumprod", "a running product of positive numbers: torch.exp(torch.cumsum(torch.log(x), dim))"),
    Rewrite(r"searchsorted|bucketize", "search in a sorted list: (x[..., None] >= edges).sum(-1)"),
    Rewrite(r"pool3d", "3-D pooling: over two axes as 2-D with slices as the batch, then over the third"),
    Rewrite(
        r"linalg_inv|linalg_solve|linalg_det|aten\.inverse|aten\.det|svd|eigh|cholesky|qr\b",
        "linear algebra: the closed form where matrices are 3 x 3, or on the host",
    ),
    Rewrite(r"bitwise_left_shift|bitwise_right_shift|__lshift__|__rshift__", "bit shifts: multiply or divide by 2^n"),
    Rewrite(r"aten\.permute", "a permutation of more than 5 axes: two of fewer, with a reshape between", "executorch"),
    Rewrite(
        r"\b(?:copy_|add_|mul_|sub_|div_|fill_|zero_|set_)\b|in-place|inplace|mutat|alias",
        "a change in place, of a view or an input: make the new tensor (torch.where, torch.cat, x + y) instead",
    ),
    Rewrite(
        r"torch\.ops\.(?!aten|prims)|no kernel|Missing out variants|not found in|Unsupported|no ONNX form|"
        r"not implemented",
        "no kernel for this operator there: write it with other torch functions, or do it on the host between two "
        "parts",
    ),
)
"""The first that fits is given."""


def advice(operator: str, message: str, backend: str) -> str:
    """What to write instead, or "" where nothing is known."""
    for text in (operator, message):  # what the operator says is surer than a word in a message
        for rewrite in REWRITES:
            if text and rewrite.backend in ("", backend) and re.search(rewrite.fits, text, re.IGNORECASE):
                return rewrite.advice
    return ""
