"""Result files of released sizes as Markdown, one function a kind of file."""

from __future__ import annotations

from cells import DASH, Content, gibibytes, megabytes, small, stamp
from markdown_table import table


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
                gibibytes(found["build_peak_rss_bytes"]),
                megabytes(found["program_bytes"]),
                f"{seconds:.1f}" if seconds else DASH,
                small(error) if error is not None else DASH,
                stamp(row),
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
            gibibytes(row["peak_rss_bytes"]),
            megabytes(row["package_bytes"]),
            _unmeasured(row),
            stamp(row),
        )
        for row in sorted(content["rows"], key=lambda row: (row["arch"], row["scheme"], row["blocks"]))
    ]
    return table(("blocks", "arch", "scheme", "build s", "peak GiB", "package MB", "latency", "made"), rows)


def _unmeasured(row: Content) -> str:
    latency = row.get("latency")
    return f"unmeasured: {latency['reason']}" if latency else DASH


def gpu_run(content: Content) -> str:
    """Packages and torch's own programs on one GPU, each over eager bf16."""
    bf16 = next((row.get("p50_ms") for row in content["rows"] if row["program"] == "eager bf16"), None)
    rows = [
        (
            row["program"],
            f"{row['p50_ms']:.2f}",
            f"{row['p90_ms']:.2f}",
            f"{row['stream_ms']:.2f}" if "stream_ms" in row else DASH,
            f"{row['p50_ms'] / bf16:.2f}" if bf16 else DASH,
            megabytes(row["device_bytes"]) if "device_bytes" in row else DASH,
            small(row["relative_l2_fp32"]) if "relative_l2_fp32" in row else DASH,
        )
        for row in content["rows"]
        if "error" not in row
    ]
    head = ("program", "p50 ms", "p90 ms", "ms in a stream", "× eager bf16", "device MB", "relative L2 to fp32")
    return table(head, rows)


def tpu_released(content: Content) -> str:
    """Programs of released networks for a TPU chip; latencies and memory are estimates."""
    rows = []
    for row in content["rows"]:
        for name, found in row["estimated"].items():
            latency = " / ".join(f"{value:.0f} ({by.split()[0]})" for by, value in found["latency_ms"].items())
            memory = " / ".join(gibibytes(value) for value in found["memory_bytes"].values())
            rows.append((name, row["chip"], row["scheme"], f"{row['measured']['build_s']:.0f}", memory, latency))
    return table(("program", "chip", "scheme", "network's build s", "HBM GiB, estimated", "ms, estimated"), rows)


OTHER = "†"
"""Marks a row of something else than the shipped recipe builds."""


def differences(content: Content) -> dict[str, str]:
    """What the shipped recipe has instead, by the keys of rows that are of something else."""
    found: dict[str, str] = {}
    if "recipe" not in content:
        return found
    for key, row in content["rows"].items():
        planned = content["recipe"].get(key, {"parameters": None, "scheme": "left out"})
        has = []
        if "failed" not in row and row["scheme"] != planned["scheme"]:
            has.append(planned["scheme"])
        if "failed" not in row and planned["parameters"] not in (None, row["parameters"]):
            has.append(f"{planned['parameters'] / 1e6:.0f} M")
        if has:
            found[key] = ", ".join(has)
    return found


def differences_text(content: Content) -> str:
    """A line below a table with such rows; "" where there is none."""
    found = [f"{key.split('/', 1)[1].replace('/', ' ')} has {has}" for key, has in differences(content).items()]
    return f"\n\n{OTHER} Not what the shipped recipe builds today, where {'; '.join(found)}." if found else ""


def released(content: Content) -> str:
    """Every component of a released recipe on every target."""
    rows = []
    others = differences(content)
    for key in sorted(content["rows"], key=lambda key: key.split("/")[1]):
        row, (_, target, component) = content["rows"][key], key.rsplit("/", 2)
        if "failed" in row:
            rows.append((component, target, DASH, f"failed: {row['failed']}", *(DASH,) * 7, stamp(row)))
            continue
        needs, latency = _estimates(component, row)
        peak = max(row["peak_resident_bytes"], row["children_peak_resident_bytes"])
        seconds = DASH if row["build_seconds"] is None else f"{row['build_seconds']:.0f}"
        rows.append(
            (
                component,
                target,
                f"{row['parameters'] / 1e6:.0f} M" + (f" {OTHER}" if key in others else ""),
                row["scheme"],
                seconds,
                gibibytes(peak),
                megabytes(row["program_bytes"]),
                needs,
                latency,
                _measured(row),
                DASH if "load" not in row else f"{row['load']:.1f}",
                stamp(row),
            )
        )
    head = ("component", "target", "parameters", "scheme", "build s", "peak GiB", "program MB")
    head = (*head, "needs GiB, estimated", "ms a call, estimated", "ms a call, measured", "load before", "made")
    return table(head, rows) + differences_text(content)


def _measured(row: Content) -> str:
    """Median and 90th percentile of a call on the building machine."""
    found = row.get("latency", {})
    return f"{found['p50_ms']:.0f} (p90 {found['p90_ms']:.0f})" if found.get("basis") == "measured" else DASH


def _estimates(component: str, row: Content) -> tuple[str, str]:
    """What the program that a device runs needs and takes: the twin with kernels where there is one."""
    programs = {program["name"]: program for program in row["programs"]}
    program = programs.get(f"{component}_pallas") or programs[component]
    estimates = program["estimates"]
    needs = estimates.get("run_memory_bytes") or estimates.get("memory_bytes")
    latency = [f"{e['value']:.0f} ({e['by'].split()[0]})" for e in estimates.get("latency_ms", ())]
    return (gibibytes(needs[0]["value"]) if needs else DASH), " / ".join(latency) or (program["unmeasured"] or DASH)
