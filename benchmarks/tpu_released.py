"""Released-size TRELLIS structure networks (random weights) built for a TPU without a TPU.

    python benchmarks/tpu_released.py [--chip v5e] [--scheme bf16] [flow] [decoder]

Each network is built in a fresh process, as `gen3dexport build` does it: torch.export, JAX export, roofline, weights
file, and the TPU compile of every program in children of its own. Build time, CPU time and peak memory are measured on
this machine; latency and memory of the TPU are estimated, by the model named beside each figure. Writes
benchmarks/results/tpu_released_CHIP.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import result_file

RESULTS = Path(__file__).parent / "results"
NETWORKS = {"flow": "ss_flow_img_dit_L_16l8_fp16", "decoder": "ss_dec_conv3d_16l8_fp16"}


def component(name: str) -> Any:
    """The network with random weights; the flow with the released sampler (25 steps, guidance 5 on t in [0.5, 1])."""
    import torch

    from gen3dexport.models.component import Component, Euler
    from gen3dexport.models.flow_sampler import Schedule
    from gen3dexport.models.trellis.host.configs import NETWORKS as SIZES
    from gen3dexport.models.trellis.networks.loading import random_network

    module = random_network(*SIZES[NETWORKS[name]])
    torch.manual_seed(0)
    if name == "decoder":
        return Component("ss_decoder", module, {"z": torch.randn(1, 8, 16, 16, 16)}, ("logits",))
    schedule = Schedule(steps=25, guidance_scale=5.0, guidance_interval=(0.5, 1.0), rescale_t=3.0)
    times = schedule.times
    loop = Euler(
        timesteps=tuple(1000 * t for t in times[:-1]),
        dts=tuple(a - b for a, b in itertools.pairwise(times)),
        guidance=schedule.weights,
    )
    inputs = {
        "x": torch.randn(1, 8, 16, 16, 16),
        "t": torch.tensor([500.0]),
        "cond": torch.randn(1, 1374, 1024),
    }
    return Component("ss_flow", module, inputs, ("v",), stack="blocks", loop=loop)


def build(name: str, chip: str, scheme: str) -> dict[str, Any]:
    """Build one network in this process and say what it took."""
    start = time.monotonic()
    from gen3dexport.backends import find
    from gen3dexport.export import Captured

    xla = find("xla")
    options = xla.Options(chip=chip, compile_timeout_s=600)
    made = component(name)
    parameters = made.parameters
    made = xla.quantize(made, scheme, options)
    ready, ready_cpu = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        lowered = xla.lower(Captured(made), options, Path(folder))
        files = {p.name: p.stat().st_size for p in sorted(Path(folder).iterdir())}
    seconds = time.monotonic() - ready
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    status = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    programs = {made.name: lowered, **lowered.extra}
    return {
        "network": NETWORKS[name],
        "parameters": parameters,
        "scheme": scheme,
        "chip": chip,
        "measured": {
            "random_weights_s": ready - start,
            "build_s": seconds,
            "build_cpu_s": time.process_time() - ready_cpu + children.ru_utime + children.ru_stime,
            "peak_rss_bytes_parent": int(status.group(1)) * 1024 if status else None,
            "peak_rss_bytes_compile_children": [p.facts["compile"].get("peak_rss_bytes") for p in programs.values()],
            "load_average": os.getloadavg(),
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "files": files,
        },
        "estimated": {
            key: {
                "latency_ms": {e.by: e.value for e in p.estimates["latency_ms"]},
                "memory_bytes": {e.by: e.value for e in p.estimates.get("memory_bytes", ())},
                "flops": p.facts["flops"],
                "hbm_traffic_bytes": p.facts["hbm_traffic_bytes"],
                "memory": p.facts.get("memory"),
                "compile": p.facts["compile"],
                "stablehlo_custom_calls": p.facts["stablehlo"]["custom_calls"],
            }
            for key, p in programs.items()
        },
        "unmeasured": lowered.unmeasured,
        "versions": lowered.facts["versions"],
    }


def table(results: list[dict[str, Any]]) -> str:
    """The results for people."""
    lines = []
    for r in results:
        m = r["measured"]
        children = [b for b in m["peak_rss_bytes_compile_children"] if b]
        lines.append(
            f"{r['network']} ({r['parameters'] / 1e6:.0f} M, {r['scheme']}) for {r['chip']}: built in "
            f"{m['build_s']:.0f} s (CPU {m['build_cpu_s']:.0f} s, load {m['load_average'][0]:.1f} "
            f"on {m['cores']} cores), peak {m['peak_rss_bytes_parent'] / 1e9:.2f} GB + compile children "
            f"{', '.join(f'{b / 1e9:.2f}' for b in children)} GB [measured]"
        )
        for key, p in r["estimated"].items():
            latency = "; ".join(f"{v:.2f} ms by {by}" for by, v in p["latency_ms"].items())
            total = (p["memory"] or {}).get("total", 0)
            lines.append(f"    {key}: {latency}; HBM {total / 1e9:.2f} GB [estimated]")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"of {', '.join(NETWORKS)}; default all")
    parser.add_argument("--chip", default="v5e", choices=["v5e", "v6e"])
    parser.add_argument("--scheme", default="bf16", choices=["fp32", "bf16", "int8-dynamic", "int8-weight"])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.networks or list(NETWORKS)
    if given.child:
        print(json.dumps(build(names[0], given.chip, given.scheme)))
        return
    results = []
    for name in names:
        command = [sys.executable, __file__, name, "--chip", given.chip, "--scheme", given.scheme, "--child"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
    print(table(results))
    path = RESULTS / f"tpu_released_{given.chip}{'' if given.scheme == 'bf16' else '_' + given.scheme}.json"
    result_file.write(path, __file__, {"rows": results})
    print(f"written to {path.relative_to(Path(__file__).parent.parent)}")


if __name__ == "__main__":
    main()
