"""Result files as Markdown, one function a kind of file: it takes the file's content and names its own columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markdown_table import table

Content = Mapping[str, Any]
DASH = "–"


def heldout(content: Content) -> str:
    """Held-out captions: intersection over union with the true occupancy."""
    first = content["rows"][0]["iou"]
    rows = [
        (row["name"], f"{row['iou']:.4f}", f"{round(first - row['iou'], 4) + 0:+.4f}", f"{row['worst']:.3f}")
        for row in content["rows"]
    ]
    return table(("model", "mean IoU", "loss against eager", "worst IoU"), rows)


def tradeoff(content: Content) -> str:
    """Both parts of the trade-off; variants that were not measured are named below."""
    return "\n\n".join(
        f"{title}\n\n{_tradeoff(content[key], error, name)}\n\n{_missing(content[key])}"
        for key, title, error, name in (
            ("pipeline", "One asset of trellis-mini:", "loss", "loss, 1 - IoU"),
            ("blocks", "Two blocks of TRELLIS's flow at full width:", "relative_l2", "relative L2"),
        )
    )


def _tradeoff(rows: Sequence[Content], error: str, name: str) -> str:
    measured = [row for row in rows if row["kind"] == "measured"]
    head = ("variant", "MB", "MB while running", "peak MB", "ms", "× eager fp32", name)
    return table(head, [(row["variant"], *_weighed(row, error)) for row in measured])


def _weighed(row: Content, error: str) -> tuple[str, ...]:
    memory = (_megabytes(row[key]["bytes"]) for key in ("running_memory", "peak_memory"))
    return (_megabytes(row["bytes"]), *memory, f"{row['p50_ms']:.0f}", f"{row['ratio']:.2f}", _small(row[error]))


def _missing(rows: Sequence[Content]) -> str:
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["kind"] == "unmeasured":
            reasons.setdefault(row["reason"], []).append(row["variant"])
    return "\n".join(f"Unmeasured ({reason}): {len(names)} variants." for reason, names in reasons.items())


def turns(content: Content) -> str:
    """Components or variants that took turns, against eager float32."""
    named = "component" in content["rows"][0]
    head = (*(("component",) if named else ()), "variant", "MB", "p50 ms", "p90 ms", "× eager fp32", "relative L2")
    rows = []
    for row in content["rows"]:
        name = ((row["component"],) if named else ()) + (row["variant"],)
        if row["kind"] == "measured":
            times = f"{row['p50_ms']:.1f}", f"{row['p90_ms']:.1f}", f"{row['ratio']:.2f}"
            rows.append((*name, _megabytes(row["bytes"]), *times, _small(row["relative_l2"])))
        else:
            rows.append((*name, DASH, DASH, DASH, DASH, f"unmeasured: {row['reason'].partition(': ')[2]}"))
    text = table(head, rows)
    return f"{text}\n\n{_goals(content['goals'])}" if "goals" in content else text


def _goals(goals: Sequence[Content]) -> str:
    rows = [(g["goal"], f"{g['value']:.3g}", f"{g['at_most']:g}", _verdict(g["value"], g["at_most"])) for g in goals]
    return table(("goal", "value", "at most", ""), rows)


def _verdict(value: float, at_most: float) -> str:
    return "holds" if value <= at_most else "**missed**"


def onnx_schemes(content: Content) -> str:
    """Schemes on onnxruntime: CPU time of one thread."""
    rows = [
        (
            network,
            label,
            f"{row['ms']:.2f}",
            f"{row['ms'] / variants['fp32']['ms']:.2f}",
            f"{row['megabytes']:.1f}" if "megabytes" in row else DASH,
            _small(row["relative_l2"]),
        )
        for network, variants in content["rows"].items()
        for label, row in variants.items()
    ]
    return table(("network", "variant", "ms of CPU time", "× ONNX fp32", "MB", "relative L2"), rows)


def tpu_int8(content: Content) -> str:
    """What int8 gains on a TPU, by three models."""
    rows = content["rows"]
    found = []
    for chip in dict.fromkeys(row["chip"] for row in rows):
        columns = {(r["scheme"], r["by"]): r["milliseconds"] for r in rows if r["chip"] == chip}
        for model in columns["bf16", "XLA"]:
            made = [columns[key][model] for key in columns]
            ratio = columns["int8-dynamic", "kernels"][model] / columns["bf16", "kernels"][model]
            found.append((chip, model, *(f"{value:.2f}" for value in made), f"{ratio:.2f}"))
    names = [f"{scheme}, {by}" for scheme, by in dict.fromkeys((r["scheme"], r["by"]) for r in rows)]
    return table(("chip", "ms estimated by", *names, "int8 × bf16, with kernels"), found)


def parity(content: Content) -> str:
    """The largest error of any output of a golden set, relative to the output's largest value."""
    targets = list(dict.fromkeys(target for row in content["rows"].values() for target in row))
    rows = [
        (name, *(_agreement(row.get(target)) for target in targets)) for name, row in sorted(content["rows"].items())
    ]
    return table(("golden set", *targets), rows)


def _agreement(found: Content | None) -> str:
    if found is None:
        return DASH
    if "error" in found:
        return "**failed**"
    worst = max(output["relative"] for output in found["outputs"])
    return f"{_small(worst)}{'' if found['passed'] else ' **disagrees**'}"


def budget_invariance(content: Content) -> str:
    """Padding: the same voxels at two budgets."""
    rows = [
        (
            row["network"],
            row["target"],
            " and ".join(str(budget[0]) for budget in row["budgets"]),
            _small(row["relative"]),
        )
        for row in content["rows"]
    ]
    return table(("network", "target", "voxel budgets", "largest relative difference"), rows)


def executorch_depth(content: Content) -> str:
    """Build time by depth."""
    rows = []
    for row in content["rows"]:
        found = row["measured"]
        error = found.get("relative_l2_to_own_eager")
        seconds = min(found["run_s"]) if isinstance(found.get("run_s"), list) else found.get("run_s")
        rows.append(
            (
                f"{row['blocks']}",
                row["scheme"],
                row["way"],
                f"{found['build_s']:.0f}",
                _gibibytes(found["build_peak_rss_bytes"]),
                _megabytes(found["program_bytes"]),
                f"{seconds:.1f}" if seconds else DASH,
                _small(error) if error is not None else DASH,
                _stamp(row),
            )
        )
    head = ("blocks", "scheme", "way", "build s", "peak GiB", "program MB", "s a call", "relative L2", "made")
    return table(head, rows)


def cuda_released(content: Content) -> str:
    """Builds for CUDA GPUs on a machine without one."""
    rows = [
        (
            f"{row['blocks']}",
            row["arch"],
            row["scheme"],
            f"{row['seconds']['total']:.0f}",
            _gibibytes(row["peak_rss_bytes"]),
            _megabytes(row["package_bytes"]),
            _unmeasured(row),
            _stamp(row),
        )
        for row in sorted(content["rows"], key=lambda row: (row["arch"], row["scheme"], row["blocks"]))
    ]
    return table(("blocks", "arch", "scheme", "build s", "peak GiB", "package MB", "latency", "made"), rows)


def _unmeasured(row: Content) -> str:
    latency = row.get("latency")
    return f"unmeasured: {latency['reason']}" if latency else DASH


def cuda_gpu(content: Content) -> str:
    """Packages and eager models on one GPU."""
    rows = [
        (
            row["scheme"],
            row["program"],
            f"{row['p50_ms']:.2f}",
            f"{row['p90_ms']:.2f}",
            _megabytes(row["device_bytes"]),
            _small(row["relative_l2_fp32"]),
            _small(row["relative_l2_eager"]),
        )
        for row in content["rows"]
    ]
    head = ("scheme", "program", "p50 ms", "p90 ms", "device MB", "relative L2 to fp32", "to eager")
    return table(head, rows)


def tpu_released(content: Content) -> str:
    """Programs of released networks for a TPU chip; latencies and memory are estimates."""
    rows = []
    for row in content["rows"]:
        for name, found in row["estimated"].items():
            latency = " / ".join(f"{value:.0f} ({by.split()[0]})" for by, value in found["latency_ms"].items())
            memory = " / ".join(_gibibytes(value) for value in found["memory_bytes"].values())
            rows.append((name, row["chip"], row["scheme"], f"{row['measured']['build_s']:.0f}", memory, latency))
    return table(("program", "chip", "scheme", "network's build s", "HBM GiB, estimated", "ms, estimated"), rows)


def released(content: Content) -> str:
    """Every component of a released recipe on every target."""
    rows = []
    for key in sorted(content["rows"], key=lambda key: key.split("/")[1]):
        row, (_, target, component) = content["rows"][key], key.rsplit("/", 2)
        if "failed" in row:
            rows.append((component, target, DASH, row["failed"], *(DASH,) * 5, _stamp(row)))
            continue
        needs, latency = _estimates(component, row)
        peak = max(row["peak_resident_bytes"], row["children_peak_resident_bytes"])
        seconds = DASH if row["build_seconds"] is None else f"{row['build_seconds']:.0f}"
        rows.append(
            (
                component,
                target,
                f"{row['parameters'] / 1e6:.0f} M",
                row["scheme"],
                seconds,
                _gibibytes(peak),
                _megabytes(row["program_bytes"]),
                needs,
                latency,
                _stamp(row),
            )
        )
    head = ("component", "target", "parameters", "scheme", "build s", "peak GiB", "program MB")
    return table((*head, "needs GiB, estimated", "ms a call, estimated", "made"), rows)


def _estimates(component: str, row: Content) -> tuple[str, str]:
    """What the program that a device runs needs and takes: the twin with kernels where there is one."""
    programs = {program["name"]: program for program in row["programs"]}
    program = programs.get(f"{component}_pallas") or programs[component]
    estimates = program["estimates"]
    needs = estimates.get("run_memory_bytes") or estimates.get("memory_bytes")
    latency = [f"{e['value']:.0f} ({e['by'].split()[0]})" for e in estimates.get("latency_ms", ())]
    return (_gibibytes(needs[0]["value"]) if needs else DASH), " / ".join(latency) or (program["unmeasured"] or DASH)


def field_knobs(content: Content) -> str:
    """Rays and samples of the radiance-field renderer."""
    rows = [
        (
            f"{row['rays']}",
            f"{row['steps']}",
            f"{row['seconds']:.2f}",
            f"{row['seconds_without_skipping']:.2f}",
            f"{float(row['psnr_db']):.1f}",
            f"{row['ssim']:.4f}",
        )
        for row in content["rows"]
    ]
    head = ("rays", "samples a voxel", "s", "s without skipping", "PSNR dB", "SSIM")
    return table(head, rows)


def cli_start(content: Content) -> str:
    """CPU time of a light command, here and in an older checkout."""
    rows = [
        (
            name,
            f"`{row['commit']}`" if "commit" in row else DASH,
            f"{row['cpu_s']:.3f}",
            f"{row['min_s']:.3f} to {row['max_s']:.3f}",
            f"{row['above_bare_s']:.3f}" if "above_bare_s" in row else DASH,
        )
        for name, row in content["rows"].items()
    ]
    head = ("process", "commit", "CPU s, median", "CPU s, range", "above a bare Python")
    return f"{table(head, rows)}\n\nHere × base, above a bare Python: {content['ratio_above_bare']:.2f}."


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.0f}" if value >= 1e7 else f"{value / 1e6:.1f}"


def _gibibytes(value: float) -> str:
    return f"{value / 2**30:.2f}"


def _small(value: float) -> str:
    return "0" if value == 0 else f"{value:.3f}" if value >= 1e-2 else f"{value:.1e}"


def commits(content: Content) -> set[str]:
    """Commits that rows of a file were made at, where its rows say so."""
    rows = content.get("rows", [])
    flat = rows.values() if isinstance(rows, Mapping) else rows
    nested = [row for entry in flat for row in (entry, *(entry.values() if isinstance(entry, Mapping) else ()))]
    return {row["made"]["commit"] for row in nested if isinstance(row, Mapping) and "made" in row}


def _stamp(row: Content) -> str:
    return f"{row['made']['date']} `{row['made']['commit']}`"
