"""Operators that lower without a word and then fail, or answer wrongly, at run time; no torch."""

from __future__ import annotations

from collections.abc import Mapping

UNSUPPORTED: Mapping[str, str] = {
    "aten.conv_transpose3d.input": "no kernel; write it as an upsampling and a convolution",
    "aten.grid_sampler_3d.default": "no kernel",
    "aten.max_pool3d.default": "no kernel; pool per axis, or use a strided convolution",
    "aten.max_pool3d_with_indices.default": "no kernel; pool per axis, or use a strided convolution",
    "aten.avg_pool3d.default": "no kernel; use a strided convolution",
    "aten.sort.default": "no kernel; topk runs",
    "aten.sort.stable": "no kernel; topk runs",
    "aten.argsort.default": "no kernel; topk runs",
    "aten.nonzero.default": "runs with transposed values; indexing with a mask runs",
    "aten.cumprod.default": "no kernel; use exp(cumsum(log(x)))",
    "aten.searchsorted.Tensor": "no kernel",
    "aten.scatter_reduce.two": "no kernel",
}
