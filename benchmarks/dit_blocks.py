"""Two blocks of TRELLIS's flow transformer at full width: 1024 wide, 1024 tokens, 256 context tokens, random weights.

`python benchmarks/dit_blocks.py` times them in eager fp32 and bf16, torch.compile, cpu-aoti and ExecuTorch in turns
(see `turns`), prints size, time, ratios and error against eager fp32, says which goals hold, and writes
`benchmarks/results/dit_blocks.json`, beside the rows of other machines. The weights have outlier columns, as trained
ones do.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

import result_file
from rich.console import Console
from rich.table import Table
from turns import Call, Turns, in_bf16, of_module, of_target, take_turns

RESULT = Path(__file__).parent / "results" / "dit_blocks.json"
WIDTH, TOKENS, CONTEXT, BLOCKS = 1024, 1024, 256, 2

VARIANTS: dict[str, tuple[str, str] | None] = {
    "eager fp32": None,
    "eager bf16": None,
    "torch.compile fp32": None,
    "torch.compile bf16": None,
    "cpu-aoti fp32": ("cpu-aoti", "fp32"),
    "cpu-aoti bf16": ("cpu-aoti", "bf16"),
    "cpu-aoti int8-dynamic": ("cpu-aoti", "int8-dynamic"),
    "cpu-aoti-avx512 fp32": ("cpu-aoti-avx512", "fp32"),
    "cpu-aoti-avx512 bf16": ("cpu-aoti-avx512", "bf16"),
    "cpu-aoti-avx512 int8-dynamic": ("cpu-aoti-avx512", "int8-dynamic"),
    "executorch fp32": ("executorch", "fp32"),
    "executorch int8-dynamic": ("executorch", "int8-dynamic"),
    "executorch int8-dynamic, modulation int4": ("executorch", "int8-dynamic"),
    "onnxruntime fp32": ("onnx", "fp32"),
    "onnxruntime int8-dynamic": ("onnx", "int8-dynamic"),
}

BF16 = ("eager bf16", "cpu-aoti bf16", "cpu-aoti-avx512 bf16")
OWN = {"executorch": 0.36, "cpu-aoti-avx512": 0.30}
"""Target -> the most that its int8-dynamic may take of its own float32's time."""


def component() -> Any:
    """The blocks as a component with a repeated stack."""
    import torch
    from torch import Tensor, nn

    from gen3dexport.models.component import Component
    from gen3dexport.models.trellis.networks.structure import ModulatedCrossBlock, set_linear_dtype

    class Blocks(nn.Module):
        """The repeated stack alone: tokens [1, T, C], timestep embedding [1, C], context [1, L, C]."""

        def __init__(self) -> None:
            super().__init__()
            self.block_dtype = torch.float32
            self.blocks = nn.ModuleList(
                ModulatedCrossBlock(WIDTH, WIDTH, WIDTH // 64, 4, True, False) for _ in range(BLOCKS)
            )

        def set_block_dtype(self, dtype: torch.dtype) -> None:
            self.block_dtype = dtype
            set_linear_dtype(self.blocks, dtype)

        def before(self, x: Tensor, m: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return x.to(self.block_dtype), m.to(self.block_dtype), context.to(self.block_dtype)

        def after(self, h: Tensor) -> Tensor:
            return h.float()

        def forward(self, x: Tensor, m: Tensor, context: Tensor) -> Tensor:
            h, embedded, read = self.before(x, m, context)
            for block in self.blocks:
                h = block(h, embedded, read)
            return self.after(h)

    torch.manual_seed(0)
    module = Blocks().eval()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Linear):
                part.weight[:, torch.randperm(part.in_features)[: part.in_features // 64]] *= 4
    inputs = {
        "x": torch.randn(1, TOKENS, WIDTH),
        "m": torch.randn(1, WIDTH),
        "context": torch.randn(1, CONTEXT, WIDTH),
    }
    return Component("blocks", module, inputs, ("h",), stack="blocks")


def prepare(variant: str, folder: Path) -> tuple[Call, int]:
    """The call of a variant and its bytes."""
    import torch

    made, lowering = component(), VARIANTS[variant]
    if lowering is not None:
        rules = {"blocks.*.adaLN_modulation.1": "int4-dynamic"} if variant.endswith("modulation int4") else None
        return of_target(made, *lowering, folder, rules)
    module = in_bf16(made.module) if variant.endswith("bf16") else made.module
    return of_module(made, torch.compile(module) if variant.startswith("torch.compile") else module)


def goals(found: dict[str, Turns]) -> list[tuple[str, float, float]]:
    """What these blocks should reach: (what, value, the most it may be)."""
    rows = {name: turns.row(found["eager fp32"]) for name, turns in found.items() if turns.reason is None}
    eager, bf16 = rows["eager fp32"], min((rows[n]["p50_ms"] for n in BF16 if n in rows), default=float("nan"))
    wanted = []
    for name in ("executorch int8-dynamic", "executorch int8-dynamic, modulation int4"):
        if (row := rows.get(name)) is not None:
            wanted += [
                (f"{name}: time × eager fp32", row["ratio"], 0.40),
                (f"{name}: time × the faster bf16", row["p50_ms"] / bf16, 0.80),
                (f"{name}: bytes × fp32", row["bytes"] / eager["bytes"], 0.25),
                (f"{name}: 1 - cosine", 1 - row["cosine"], 1e-3),
            ]
    if (row := rows.get("cpu-aoti-avx512 int8-dynamic")) is not None:
        wanted.append(("cpu-aoti-avx512 int8: time × eager fp32", row["ratio"], 0.32))
    for target, most in OWN.items():
        int8, fp32 = (rows.get(f"{target} {scheme}") for scheme in ("int8-dynamic", "fp32"))
        if int8 is not None and fp32 is not None:
            wanted.append((f"{target} int8-dynamic: time × its own fp32", int8["p50_ms"] / fp32["p50_ms"], most))
    return wanted


def main() -> None:
    """Time every variant, print the table and the goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--only", nargs="*", default=[], help="variants to time besides eager fp32; writes no JSON")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # inherited by every variant's process
    chosen = [v for v in VARIANTS if v == "eager fp32" or not arguments.only or v in arguments.only]
    found = take_turns({v: partial(prepare, v) for v in chosen}, arguments.threads, arguments.rounds)
    rows = [{"variant": name, **turns.row(found["eager fp32"])} for name, turns in found.items()]
    table = Table("variant", "MB", "p50 ms", "p90", "min", "× eager fp32", "rel. L2", "cosine")
    for row in rows:
        if row["basis"] == "measured":
            times = (f"{row['p50_ms']:.1f}", f"{row['p90_ms']:.1f}", f"{row['min_ms']:.1f}", f"{row['ratio']:.2f}")
            table.add_row(
                row["variant"],
                f"{row['bytes'] / 1e6:.1f}",
                *times,
                f"{row['relative_l2']:.1e}",
                f"{row['cosine']:.6f}",
            )
        else:
            table.add_row(row["variant"], "–", "–", "–", "–", "–", "–", row["reason"])
    console = Console(width=140)
    console.print(table)
    judged = goals(found)
    for what, value, most in judged:
        console.print(f"{'holds ' if value <= most else 'missed'}  {what}: {value:.4g} (at most {most:g})")
    if arguments.only:
        return
    settings = {"threads": arguments.threads, "rounds": arguments.rounds}
    named = [{"goal": what, "value": value, "at_most": most} for what, value, most in judged]
    result_file.write_of_machine(RESULT, __file__, {**settings, "rows": rows, "goals": named})


if __name__ == "__main__":
    main()
