"""Tables of what runs bundles outside Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cells import DASH, megabytes
from markdown_table import table

_SIDES = {"cpp": "gen3d (C++)", "python": "gen3dexport run"}


def embed_cpp(content: Mapping[str, Any]) -> str:
    """Times and memory of both sides for each bundle, then how far the values are."""
    rows = [
        (
            name,
            _SIDES[side],
            f"{row['cold_s']:.2f} s",
            f"{row['warm_ms']:.0f} ms",
            f"{row['peak_bytes'] / 1e6:.0f} MB",
        )
        for name, found in content["bundles"].items()
        for side, row in found["rows"].items()
    ]
    first = table(("bundle", "by", "process start to file", "warm asset", "peak memory"), rows)
    agreed = [
        (
            name,
            f"{found['cold_ratio']:.3f}",
            f"{found['warm_ratio']:.2f}",
            f"{found['above_programs_bytes'] / 1e6:.0f} MB",
            "yes" if found["same_bytes"] else "no",
            f"{found['kit']['logits_relative_l2']:.1e}",
            f"{found['kit']['iou']:.4f}",
        )
        for name, found in content["bundles"].items()
    ]
    heads = ("bundle", "cold, of Python's", "warm, of Python's", "memory above programs", "same .glb", "logits", "IoU")
    text = f"Libraries: {content['library_bytes'] / 1e6:.2f} MB beside libc, of which gen3d is "
    text += (
        f"{content['libraries']['libgen3d.so'] / 1e6:.2f}; {content['threads']} threads, {content['rounds']} rounds, "
    )
    text += f"load average {content['load_average']:.1f} before."
    return f"{first}\n\n{table(heads, agreed)}\n\n{text}"


def embed(content: Mapping[str, Any]) -> str:
    """One row for everything that runs bundles."""
    rows = [
        (
            row["name"],
            f"{row['disk_bytes'] / 1e6:,.0f} MB" if row["disk_bytes"] else DASH,
            f"{row['cold_s']:.2f} s" if row["cold_s"] else DASH,
            megabytes(row["peak_bytes"]) + " MB" if row["peak_bytes"] else DASH,
            f"{row['warm_ms']:.0f} ms" if row["warm_ms"] else DASH,
            f"{row['iou']:.4f}" if row["iou"] is not None else DASH,
            row["disk"] or DASH,
        )
        for row in content["rows"]
    ]
    first, last = content["load_average"]
    heads = ("by", "size on disk", "cold start to asset", "memory", "warm asset", "IoU with Python", "size is of")
    if content["times"] == "unmeasured":
        text = "Times and memory are unmeasured: the machine had other work to do. `benchmarks/embed.py` without"
        return f"{table(heads, rows)}\n\n{text} `--without-times` measures them."
    text = f"{content['rounds']} rounds; load average {first:.1f} before and {last:.1f} after, on a machine that other"
    text += " work shared: compare times within this table alone."
    return f"{table(heads, rows)}\n\n{text}"
