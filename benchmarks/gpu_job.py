"""One job of gpu_run.py, in a process of its own: a package built, the eager model timed, a package timed.

Inputs and weights are seeded, so that every job has the same. Rows go to `ROWS` in the output folder as they are found.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NETWORK, TINY = "ss_flow_img_dit_L_16l8_fp16", "ss_flow_tiny"
ROWS, REFERENCE = "rows.jsonl", "reference.safetensors"
_IN_A_ROW, _LISTED = 20, 15


def example(tiny: bool) -> dict[str, Any]:
    """Seeded inputs of the flow."""
    import torch

    torch.manual_seed(0)
    side, cond = (8, (11, 48)) if tiny else (16, (1374, 1024))
    return {"x": torch.randn(1, 8, side, side, side), "t": torch.tensor([500.0]), "cond": torch.randn(1, *cond)}


def component(blocks: int, tiny: bool) -> Any:
    """The flow with seeded random weights; the golden sets' size when `tiny`."""
    import torch

    from gen3dexport.models.component import Component
    from gen3dexport.models.trellis.host.configs import NETWORKS
    from gen3dexport.models.trellis.networks.loading import random_network

    inputs = example(tiny)
    name, args = NETWORKS[TINY if tiny else NETWORK]
    torch.manual_seed(0)
    return Component("flow", random_network(name, {**args, "num_blocks": blocks}), inputs, ("v",), stack="blocks")


def options(given: argparse.Namespace) -> Any:
    """The backend's options for the device."""
    from gen3dexport.backends import aotinductor

    chosen = {"autotune": given.kind == "autotune", "kernel_profile": given.device == "cpu"}
    if given.device == "cpu":
        return aotinductor.Options(min_features=32, **chosen)
    return aotinductor.Options(device="cuda", arch=given.arch, rest="fp16", **chosen)


def build(given: argparse.Namespace) -> None:
    """A package and its record into `given.folder`."""
    from gen3dexport.backends import aotinductor
    from gen3dexport.bundle.program import program_record, specs
    from gen3dexport.export import Captured

    chosen = options(given)
    made = component(given.blocks, given.device == "cpu")
    start = time.perf_counter()
    made = aotinductor.quantize(made, given.scheme, chosen)
    lowered = aotinductor.lower(Captured(made), chosen, given.folder)
    seconds = time.perf_counter() - start
    outputs = specs({"v": made.inputs["x"]})
    record = program_record(made.name, lowered, specs(made.inputs), outputs, scheme=given.scheme)
    record = record.model_copy(update={"facts": {**record.facts, "build_s": seconds}})
    (given.folder / "record.json").write_text(record.model_dump_json())


class Rows:
    """Times calls against the float32 reference and writes what is found at once."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.on_gpu = given, given.device == "cuda"
        self.reference: Any = None
        if (path := given.out / REFERENCE).is_file():
            from safetensors.torch import load_file

            self.reference = load_file(path)["v"]

    def row(self, program: str, call: Callable[[], Any], **facts: Any) -> None:
        """Time `call`, which gives the network's output; what goes wrong is the row."""
        import torch

        try:
            with torch.inference_mode():
                if self.on_gpu:
                    torch.cuda.reset_peak_memory_stats()
                start = time.perf_counter()
                output = call().double().cpu()
                row = {"first_s": time.perf_counter() - start, **facts, **self._error(output), **self._times(call)}
                row["kernels"] = self._kernels(call)
        except Exception as error:  # the other programs are still to be timed
            row = {**facts, "error": f"{type(error).__name__}: {error}"[:600]}
        self.write({"program": program, **row})

    def write(self, row: dict[str, Any]) -> None:
        """Append a row to the file, and show it without its kernels."""
        with (self.given.out / ROWS).open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps({key: value for key, value in row.items() if key != "kernels"}), flush=True)

    def _error(self, output: Any) -> dict[str, float]:
        if self.reference is None:
            return {}
        return {"relative_l2_fp32": float((output - self.reference).norm() / self.reference.norm())}

    def _times(self, call: Callable[[], Any]) -> dict[str, float]:
        """Percentiles of calls that are waited for; and on a GPU of a series that is not, by the device's own clock,
        and the device's memory in use with the CUDA context: a process runs one package."""
        import numpy as np
        import torch

        wait = torch.cuda.synchronize if self.on_gpu else (lambda: None)
        for _ in range(max(2, self.given.runs // 10)):
            call()
        wait()
        times = []
        for _ in range(self.given.runs):
            start = time.perf_counter()
            call()
            wait()
            times.append(1e3 * (time.perf_counter() - start))
        found = {f"p{q}_ms": float(np.percentile(times, q)) for q in (50, 90, 99)}
        if self.on_gpu:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            for _ in range(_IN_A_ROW):
                call()
            end.record()
            wait()
            free, total = torch.cuda.mem_get_info()
            found |= {"stream_ms": begin.elapsed_time(end) / _IN_A_ROW, "device_bytes": total - free}
            found["torch_peak_bytes"] = torch.cuda.max_memory_allocated()
        return found

    def _kernels(self, call: Callable[[], Any]) -> list[dict[str, Any]]:
        """The kernels that take most of a call, by torch.profiler."""
        from gen3dexport.backends import _torch_profiling

        class Few:
            warmup = 1

            def __call__(self, traced: Callable[[], float | None]) -> None:
                for _ in range(3):
                    traced()

        found = _torch_profiling.profile(call, Few(), self.on_gpu)
        together: dict[str, list[float]] = {}
        for ran in (ran for calls in found.calls for ran in calls):
            together.setdefault(ran.operator, []).append(ran.us)
        rows = [
            {"kernel": name, "ms": sum(us) / len(found.calls) / 1e3, "runs": len(us) / len(found.calls)}
            for name, us in together.items()
        ]
        return sorted(rows, key=lambda row: -row["ms"])[:_LISTED]


def eager(given: argparse.Namespace) -> None:
    """By `--kind`: the reference in float32, and bf16 with torch's and with cuDNN's attention (`plain`); bf16 through
    torch.compile (`compile`), or with max-autotune (`autotune`)."""
    import torch

    from gen3dexport.backends import aotinductor

    tiny = given.device == "cpu"
    inputs = [value.to(given.device) for value in example(tiny).values()]
    if given.kind == "plain":
        _reference(given, inputs)
        if given.device == "cuda":
            torch.cuda.empty_cache()
    rows = Rows(given)
    bf16 = aotinductor.quantize(component(given.blocks, tiny), "bf16", options(given)).module.to(given.device)
    if given.kind == "plain":
        rows.row("eager bf16", lambda: bf16(*inputs))
        with _cudnn(given.device):
            rows.row("eager bf16, cuDNN attention", lambda: bf16(*inputs))
        return
    tuned = given.kind == "autotune"
    compiled = torch.compile(bf16, mode="max-autotune" if tuned else "default")
    rows.row(f"torch.compile bf16{', max-autotune' if tuned else ''}", lambda: compiled(*inputs))


def _reference(given: argparse.Namespace, inputs: list[Any]) -> None:
    """The float32 network's output, kept for the other jobs, and its row."""
    import torch
    from safetensors.torch import save_file

    module = component(given.blocks, given.device == "cpu").module.to(given.device)
    with torch.inference_mode():
        save_file({"v": module(*inputs).double().cpu().contiguous()}, given.out / REFERENCE)
    Rows(given).row("eager fp32", lambda: module(*inputs))


@contextmanager
def _cudnn(device: str) -> Iterator[None]:
    """Attention by cuDNN; by torch's flash attention on a CPU, which has no other."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION if device == "cuda" else SDPBackend.FLASH_ATTENTION):
        yield


def package(given: argparse.Namespace) -> None:
    """The package in `given.folder`, from disk."""
    from gen3dexport.backends import aotinductor
    from gen3dexport.bundle.program import ProgramRecord

    record = ProgramRecord.model_validate_json((given.folder / "record.json").read_text())
    start = time.perf_counter()
    program = aotinductor.load(given.folder, record)
    took = time.perf_counter() - start
    inputs = {name: value.to(given.device) for name, value in example(given.device == "cpu").items()}
    facts = {key: record.facts.get(key) for key in ("build_s", "package_bytes", "cubins", "build", "attention")}
    name = f"package {record.scheme}, {given.kind}"
    Rows(given).row(name, lambda: program(inputs)["v"], scheme=record.scheme, kind=given.kind, load_s=took, **facts)


def main() -> None:
    """`python gpu_job.py build|eager|package ...`; gpu_run.py says what."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=["build", "eager", "package"])
    for name in ("out", "folder"):
        parser.add_argument(f"--{name}", type=Path)
    for name in ("device", "arch", "scheme", "kind"):
        parser.add_argument(f"--{name}", default="")
    for name in ("blocks", "runs"):
        parser.add_argument(f"--{name}", type=int)
    given = parser.parse_args()
    {"build": build, "eager": eager, "package": package}[given.job](given)


if __name__ == "__main__":
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")
    main()
