"""Result files as Markdown, one function a kind of file: it takes the file's content and names its own columns."""

from __future__ import annotations

from collections.abc import Sequence

from cells import DASH, Content, megabytes, small
from markdown_table import table


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
    measured = [row for row in rows if row["basis"] == "measured"]
    head = ("variant", "MB", "MB while running", "peak MB", "ms", "× eager fp32", name)
    return table(head, [(row["variant"], *_weighed(row, error)) for row in measured])


def _weighed(row: Content, error: str) -> tuple[str, ...]:
    memory = (megabytes(row[key]["bytes"]) for key in ("running_memory", "peak_memory"))
    return (megabytes(row["bytes"]), *memory, f"{row['p50_ms']:.0f}", f"{row['ratio']:.2f}", small(row[error]))


def _missing(rows: Sequence[Content]) -> str:
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row["basis"] == "unmeasured":
            reasons.setdefault(row["reason"], []).append(row["variant"])
    return "\n".join(f"Unmeasured ({reason}): {len(names)} variants." for reason, names in reasons.items())


def turns(content: Content) -> str:
    """Components or variants that took turns, against eager float32."""
    named = "component" in content["rows"][0]
    head = (*(("component",) if named else ()), "variant", "MB", "p50 ms", "p90 ms", "× eager fp32", "relative L2")
    rows = []
    for row in content["rows"]:
        name = ((row["component"],) if named else ()) + (row["variant"],)
        if row["basis"] == "measured":
            times = f"{row['p50_ms']:.1f}", f"{row['p90_ms']:.1f}", f"{row['ratio']:.2f}"
            rows.append((*name, megabytes(row["bytes"]), *times, small(row["relative_l2"])))
        else:
            rows.append((*name, DASH, DASH, DASH, DASH, f"unmeasured: {row['reason'].partition(': ')[2]}"))
    text = table(head, rows)
    return f"{text}\n\n{_goals(content['goals'])}" if "goals" in content else text


def machines(content: Content) -> str:
    """Variants that took turns on several machines: against eager float32, and each machine's fastest float32."""
    return "\n\n".join(_machine(one) for one in content["machines"])


def _machine(content: Content) -> str:
    measured = [row for row in content["rows"] if row["basis"] == "measured"]
    fastest = min((row for row in measured if row["variant"].endswith("fp32")), key=lambda row: row["p50_ms"])
    head = ("variant", "MB", "p50 ms", "p90 ms", "× eager fp32", f"× {fastest['variant']}", "relative L2")
    rows = []
    for row in content["rows"]:
        if row["basis"] == "measured":
            times = f"{row['p50_ms']:.1f}", f"{row['p90_ms']:.1f}", f"{row['ratio']:.2f}"
            own = f"{row['p50_ms'] / fastest['p50_ms']:.2f}"
            rows.append((row["variant"], megabytes(row["bytes"]), *times, own, small(row["relative_l2"])))
        else:
            why = f"unmeasured: {row['reason'].partition(': ')[2]}"
            rows.append((row["variant"], *5 * (DASH,), why))
    made = content["made"]
    where = f"{made['device']}, {content['threads']} threads, {made['date']}, `{made['commit']}`"
    said = f"{where}; the fastest float32 there is {fastest['variant']}:"
    return f"{said}\n\n{table(head, rows)}\n\n{_goals(content['goals'])}"


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
            small(row["relative_l2"]),
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
        (name, *(agreement(row.get(target)) for target in targets)) for name, row in sorted(content["rows"].items())
    ]
    return table(("golden set", *targets), rows)


def agreement(found: Content | None) -> str:
    """The largest relative error of a set on a target, and whether it is too large."""
    if found is None:
        return DASH
    if "error" in found:
        return "**failed**"
    return f"{small(error(found))}{'' if found['passed'] else ' **disagrees**'}"


def error(found: Content) -> float:
    """The largest error of any output, relative to that output's largest value; infinite where nothing came out."""
    return float("inf") if "error" in found else float(max(output["relative"] for output in found["outputs"]))


def budget_invariance(content: Content) -> str:
    """Padding: the same voxels at two budgets."""
    rows = [
        (
            row["network"],
            row["target"],
            " and ".join(str(budget[0]) for budget in row["budgets"]),
            small(row["relative"]),
        )
        for row in content["rows"]
    ]
    return table(("network", "target", "voxel budgets", "largest relative difference"), rows)


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


def surface_queries(content: Content) -> str:
    """Queries and seconds of surfaces found from coarse to fine."""
    whole = content["resolution"] ** 3
    rows = [
        (
            row["field"],
            f"{row['coarse']}",
            f"{row['queries']:,}",
            f"{whole / row['queries']:.1f}",
            f"{row['seconds']:.2f}",
            DASH if row["faces"] is None else f"{row['faces']}",
            DASH if row["off_steps"] is None else f"{row['off_steps']:.4f}",
        )
        for row in content["rows"]
    ]
    return table(("field", "coarse", "queries", "saved ×", "CPU s", "faces", "off"), rows)


def nerf(content: Content) -> str:
    """Ways of making pictures of a radiance field: time, points that are asked, and PSNR."""
    rows = [
        (
            row["way"],
            f"{row['samples']}",
            f"{row['edge']}",
            f"{row['points']:.1f}",
            f"{row['grid_seconds']:.2f}" if row["grid_seconds"] else DASH,
            f"{row['seconds']:.2f}",
            f"{row['psnr_db']:.2f}",
        )
        for row in content["rows"]
    ]
    return table(("way", "samples", "edge", "points a ray", "grid CPU s", "CPU s a picture", "PSNR dB"), rows)


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


def web(content: Content) -> str:
    """Pages of bundles in Chromium, and Python's runtime."""
    rows = [
        (
            bundle["scheme"],
            name,
            str(row["assets"]),
            f"{row['p50_ms']:.0f}",
            f"{row['min_ms']:.0f}",
            f"{row['ratio']:.2f}",
            f"{row['ratio_of_minima']:.2f}",
            f"{row['iou']:.4f}",
            f"{row['load_ms'] / 1000:.1f}" if "load_ms" in row else DASH,
        )
        for bundle in content["bundles"]
        for name, row in bundle["variants"].items()
    ]
    head = (
        "flow",
        "runs in",
        "assets",
        "ms, median",
        "ms, least",
        "× Python",
        "× Python, of the least",
        "IoU",
        "load, s",
    )
    loads = [load for bundle in content["bundles"] for load in bundle["load_average"]]
    sizes = "; ".join(
        f"{b['scheme']}: page {b['page_bytes'] / 1e6:.1f} MB, bundle {b['bundle_bytes'] / 1e6:.1f} MB"
        for b in content["bundles"]
    )
    return f"{table(head, rows)}\n\n{sizes}. Load average while it ran: {min(loads):.1f} to {max(loads):.1f}."


def idle_threads(content: Content) -> str:
    """A call where a runtime's idle threads spin and where they sleep."""
    rows = [
        (
            row["target"],
            row["state"],
            row["idle_threads"],
            f"{row['p50_ms']:.1f}",
            f"{row['p90_ms']:.1f}",
            f"{row['min_ms']:.1f}",
            f"{row['cpu_ms']:.1f}",
            f"{row['load_average']:.1f}",
        )
        for row in content["rows"]
    ]
    head = ("target", "machine", "idle threads", "p50 ms", "p90 ms", "least ms", "CPU ms a call", "load at the start")
    return table(head, rows)


def fresh_install(content: Content) -> str:
    """Disk of fresh environments, and the first asset in them."""
    mega = 1e6
    environments = [
        (
            e["extra"],
            f"{e['bytes'] / mega:.0f}",
            f"{e['install_seconds']:.0f}",
            ", ".join(f"{name} {size / mega:.0f}" for name, size in e["largest"].items()),
        )
        for e in content["environments"]
    ]
    rows = [
        (
            row["extra"],
            row["bundle_target"],
            row["runtime"],
            "yes" if row["torch_imported"] else "no",
            "kept" if row["encoder_kept"] else "runs",
            f"{row['seconds']:.2f}",
            f"{row['least_seconds']:.2f}",
            f"{row['peak_bytes'] / mega:.0f}",
            f"`{row['sha256'][:8]}`",
            f"{row['load_average']:.1f}",
        )
        for row in content["rows"]
    ]
    first = table(("extra", "MB of packages", "s of pip install", "largest, MB"), environments)
    head = (
        "extra", "bundle", "runtime", "torch imported", "encoder", "s to the asset, median", "least s", "peak MB",
        "asset", "load at the start",
    )  # fmt: skip
    wheel = f"The wheel has {content['wheel_bytes'] / mega:.1f} MB; Python {content['python']}."
    return f"{wheel}\n\n{first}\n\n{table(head, rows)}"


def outside_readers(content: Content) -> str:
    """What other programs find in files of assets."""

    def shown(value: object) -> str:
        if isinstance(value, float):
            return f"{value:.2g}"
        return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)

    rows = [
        (name, "; ".join(f"{key} {shown(value)}" for key, value in found.items()))
        for name, found in content["found"].items()
    ]
    return table(("program and file", "what it finds; differences are the largest"), rows)


def real_weights(content: Content) -> str:
    """Published networks on every target against the authors' own file; variants that could not be built are named."""
    head = (
        "recipe", "variant", "MB", "built in", "largest difference", "least correlation", "p50 ms", "× authors'",
        "× CPU", "peak MB",
    )  # fmt: skip
    rows = []
    for row in content["rows"]:
        if row["basis"] != "measured":
            rows.append((row["recipe"], row["variant"], f"unmeasured: {row['reason']}", *[""] * 7))
            continue
        took = f"{row['build_seconds']:.0f} s" if "build_seconds" in row else DASH
        far = (small(row["relative"]), f"{row['correlation_least']:.5f}") if "relative" in row else (DASH, DASH)
        times = estimated_ms(row), DASH, DASH
        if "p50_ms" in row:
            times = f"{row['p50_ms']:.1f}", f"{row['ratio']:.2f}", f"{row['cpu_ratio']:.2f}"
        memory = megabytes(row["peak_memory"]) if row.get("peak_memory") else DASH
        rows.append((row["recipe"], row["variant"], megabytes(row["bytes"]), took, *far, *times, memory))
    return table(head, rows)


def estimated_ms(row: Content) -> str:
    """What a row's backend estimates of a call, each figure with its model; a dash where it estimates nothing."""
    found = row.get("estimates", {}).get("latency_ms", ())
    return "estimated " + ", ".join(f"{one['value']:.2g} by {one['by']}" for one in found) if found else DASH


def focus_int8(content: Content) -> str:
    """Variants of int8 against float32 on photographs."""
    rows = [
        (row["variant"], small(row["mean"]), small(row["largest"]), row["photograph"], f"{row['difference']:.3f}")
        for row in content["rows"]
    ]
    return table(("variant", "mean loss", "largest loss", "of", "largest difference"), rows)


def middlebury(content: Content) -> str:
    """Matches against the true disparity, and what knows nothing of the picture against the true depth."""
    head = ("target", "matching", "matches", "median error", "within 1, 2, 3 px", "AbsRel of depth", "δ1")
    rows = [
        (
            row["target"],
            row["matching"],
            f"{row['matches']} ({row['judged']} judged)",
            f"{row['median_pixels']:.2f} px",
            ", ".join(f"{row[f'within_{n}px']:.0%}" for n in (1, 2, 3)),
            f"{row['abs_rel']:.3f}",
            f"{row['delta1']:.3f}",
        )
        for row in content["matches"]
    ]
    lowered = [
        (
            row["target"],
            row["program"],
            megabytes(row["bytes"]),
            f"{row['build_seconds']:.0f} s",
            small(row["relative"]),
        )
        for row in content.get("programs", [])
    ]
    programs = table(("target", "program", "MB", "built in", "largest difference from eager"), lowered)
    numbers = ("abs_rel", "delta1", "rmse_metres")
    trivial = [(row["depth"], *(f"{row[key]:.3f}" for key in numbers)) for row in content["trivial"]]
    known = table(("depth of no model, after scale and shift", "AbsRel", "δ1", "RMSE in metres"), trivial)
    return "\n\n".join([table(head, rows), *([programs] if lowered else []), known])


def depth(content: Content) -> str:
    """Networks of depth on targets against eager torch; variants that could not be built are named."""
    head = (
        "recipe",
        "variant",
        "MB",
        "build s",
        "building MB",
        "p50 ms",
        "× eager",
        "× of minima",
        "relative L2",
        "peak MB",
    )
    rows = []
    for row in content["rows"]:
        if "build_seconds" not in row:
            rows.append((row["recipe"], row["variant"], f"unmeasured: {row['reason']}", *[""] * 7))
            continue
        built = (megabytes(row["bytes"]), f"{row['build_seconds']:.0f}", megabytes(row["build_peak_bytes"]))
        if "p50_ms" not in row:
            far = small(row["relative_l2"]) if "relative_l2" in row else DASH
            memory = megabytes(row["peak_memory"]) if row.get("peak_memory") else DASH
            rows.append((row["recipe"], row["variant"], *built, estimated_ms(row), DASH, DASH, far, memory))
            continue
        taken = (f"{row['p50_ms']:.0f}", f"{row['ratio']:.2f}", f"{row['ratio_of_minima']:.2f}")
        memory = megabytes(row["peak_memory"]) if row.get("peak_memory") else DASH
        rows.append((row["recipe"], row["variant"], *built, *taken, small(row["relative_l2"]), memory))
    return table(head, rows)
