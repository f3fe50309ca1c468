"""The released structure flow (555 M parameters, random weights) built for CUDA GPUs on a machine that has none.

    python benchmarks/cuda_released.py [--arch sm_90] [--scheme fp16] [--blocks 24 ...]

Each build runs in a fresh process, as `gen3dexport build` does it: random weights, quantization, torch.export, and the
AOTInductor compile. Build time, CPU time and peak memory (of the process, and of the largest compiler it starts) are
measured on this machine; the program's latency is unmeasured. `--blocks 2 8 24` shows how the build grows with depth,
because kernels are compiled once for all blocks. Writes benchmarks/results/cuda_released.json, one row per build.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import result_file

RESULTS = Path(__file__).parent / "results" / "cuda_released.json"
NETWORK = "ss_flow_img_dit_L_16l8_fp16"


def component(blocks: int) -> Any:
    """The network with random weights and that many of its 24 blocks."""
    import torch

    from gen3dexport.models.component import Component
    from gen3dexport.models.trellis.host.configs import NETWORKS
    from gen3dexport.models.trellis.networks.loading import random_network

    name, args = NETWORKS[NETWORK]
    torch.manual_seed(0)
    inputs = {"x": torch.randn(1, 8, 16, 16, 16), "t": torch.tensor([500.0]), "cond": torch.randn(1, 1374, 1024)}
    return Component("flow", random_network(name, {**args, "num_blocks": blocks}), inputs, ("v",), stack="blocks")


def build(arch: str, scheme: str, blocks: int) -> dict[str, Any]:
    """Build in this process and say what it took."""
    begin = time.perf_counter()
    from gen3dexport.backends import aotinductor
    from gen3dexport.export import Captured

    cpu = arch == "cpu"
    options = aotinductor.Options() if cpu else aotinductor.Options(device="cuda", arch=arch, rest="fp16")
    made = component(blocks)
    parameters = made.parameters
    ready = time.perf_counter()
    made = aotinductor.quantize(made, scheme, options)
    captured = Captured(made)
    _ = captured.whole
    exported = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        lowered = aotinductor.lower(captured, options, Path(folder))
    end = time.perf_counter()
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    facts, needs = lowered.facts, lowered.requires
    assert needs is not None
    return {
        "network": NETWORK,
        "blocks": blocks,
        "parameters": parameters,
        "arch": arch,
        "scheme": scheme,
        "seconds": {
            "total": end - begin,
            "random_weights": ready - begin,
            "quantize_and_export": exported - ready,
            "compile_and_check": end - exported,
            "cpu_own": own.ru_utime + own.ru_stime,
            "cpu_children": children.ru_utime + children.ru_stime,
        },
        "peak_rss_bytes": own.ru_maxrss * 1024,
        "peak_rss_bytes_children": children.ru_maxrss * 1024,
        "load_average": os.getloadavg()[0],
        "cores": os.cpu_count(),
        "latency": {"basis": "unmeasured", "reason": lowered.unmeasured or "this script builds only"},
        **{k: facts.get(k) for k in ("package_bytes", "cubins", "kernels", "attention", "operators", "weights")},
        **needs.model_dump(include={"torch", "cuda"}),
        "triton": facts["triton"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people."""
    head = ("blocks", "params", "arch", "scheme", "total", "export", "compile", "CPU", "peak RSS", "package", "cubins")
    lines = [head]
    for r in rows:
        s = r["seconds"]
        lines.append(
            (
                str(r["blocks"]),
                f"{r['parameters'] / 1e6:.0f} M",
                r["arch"],
                r["scheme"],
                f"{s['total']:.0f} s",
                f"{s['quantize_and_export']:.0f} s",
                f"{s['compile_and_check']:.0f} s",
                f"{s['cpu_own'] + s['cpu_children']:.0f} s",
                f"{r['peak_rss_bytes'] / 2**30:.2f} GiB",
                f"{r['package_bytes'] / 1e6:.0f} MB",
                ", ".join(f"{count} {arch}" for arch, count in (r["cubins"] or {}).items()) or "-",
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return f"{text}\nlatency: unmeasured ({', '.join(sorted({r['latency']['reason'] for r in rows}))})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="sm_90", help="sm_80, sm_86, sm_89, sm_90, sm_100, or cpu")
    parser.add_argument("--scheme", default="fp16")
    parser.add_argument("--blocks", type=int, nargs="+", default=[24])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(build(given.arch, given.scheme, given.blocks[0])))
        return
    key = ("arch", "scheme", "blocks")
    old = result_file.read(RESULTS).get("rows", [])
    rows = {tuple(row[k] for k in key): row for row in old}
    for blocks in given.blocks:
        command = [sys.executable, __file__, "--child", "--arch", given.arch, "--scheme", given.scheme]
        done = subprocess.run([*command, "--blocks", str(blocks)], stdout=subprocess.PIPE, text=True, check=True)
        row = {**json.loads(done.stdout.splitlines()[-1]), "made": result_file.stamp()}
        rows[tuple(row[k] for k in key)] = row
        result_file.write(RESULTS, __file__, {"rows": list(rows.values())})
    print(table(list(rows.values())))
    print(f"written to {RESULTS.relative_to(Path(__file__).parent.parent)}")


if __name__ == "__main__":
    main()
