"""Markdown of whole assets: what they take and how good they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cells import DASH
from markdown_table import table

Content = Mapping[str, Any]
_SCORES = {
    "iou": "IoU",
    "f_0.5": "F-score",
    "psnr_mesh": "PSNR of the mesh, dB",
    "psnr_gaussians": "of the Gaussians, dB",
}


def asset_turns(content: Content) -> str:
    """Assets of two commits' bundles, in turns."""
    rows = []
    for row in content["rows"]:
        for name in ("base", "here"):
            one = row[name]
            rows.append(
                (
                    row["recipe"],
                    row["target"],
                    row["base_commit"] if name == "base" else row.get("change", f"here ({row['commit']})"),
                    str(row["captions"]),
                    f"{one['p50_seconds']:.2f}",
                    f"{one['cpu_seconds']:.2f}",
                    "1" if name == "base" else f"{row['ratio_p50']:.2f} ({row['ratio_p90']:.2f})",
                    f"{one['peak_bytes'] / 1e6:.0f}",
                    *(f"{one['scores'][k]:.4g}" if k in one["scores"] else DASH for k in _SCORES),
                )
            )
    heads = (
        "recipe",
        "target",
        "commit or change",
        "captions",
        "s, median",
        "CPU s",
        "ratio p50 (p90)",
        "peak MB",
        *_SCORES.values(),
    )
    return table(heads, rows)


def build_time(content: Content) -> str:
    """Cold builds by two commits' code: the whole, then what the stages take."""
    rows, stages = [], []
    for row in content["rows"]:
        for name in ("base", "here"):
            one = row[name][-1]
            rows.append(
                (
                    " ".join((row["recipe"], *row["assignments"])),
                    row["target"],
                    row["base_commit"] if name == "base" else f"here ({row['commit']})",
                    f"{one['seconds']:.0f}",
                    f"{one['cpu_seconds']:.0f}",
                    "1" if name == "base" else f"{row['ratio_seconds']:.2f} ({row['ratio_cpu_seconds']:.2f})",
                    f"{one['peak_bytes'] / 2**30:.2f}",
                    "1" if name == "base" else f"{row['ratio_peak_bytes']:.2f}",
                    f"{one['bundle_bytes'] / 1e6:.1f}",
                )
            )
        before = row["base"][-1]["stages"]
        for component, own in row["here"][-1]["stages"].items():
            for stage, seconds in own.items():
                was = before.get(component, {}).get(stage)
                then = DASH if was is None else f"{was:.1f}"
                stages.append((row["recipe"], row["target"], component, stage, then, f"{seconds:.1f}"))
    heads = ("recipe", "target", "commit", "s", "CPU s", "ratio (of CPU s)", "peak GiB", "ratio", "bundle MB")
    whole = table(heads, rows)
    return f"{whole}\n\n{table(('recipe', 'target', 'component', 'stage', 'base s', 'here s'), stages)}"
