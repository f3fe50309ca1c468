"""Where a result comes from: every file of `benchmarks/results` says under `made` when, from what and on what it is.

`made` has `date`, `commit` (of this repository, `-dirty` when code or data differed from it), `device`, `versions` and
`script`. A file that several runs fill has `made` with `date` and `commit` in each row too.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CODE = ("src", "targets", "recipes", "weights", "benchmarks/*.py")


def stamp() -> dict[str, str]:
    """Today's date and the commit; `unknown` outside a checkout."""
    return {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "commit": commit_of(ROOT)}


def made(script: str, device: str | None = None) -> dict[str, Any]:
    """All that a file says of where it comes from.

    Args:
        script: the script's `__file__`.
        device: what the figures are of, where that is not this machine's CPU.
    """
    from gen3dexport.provenance import versions

    parts = Path(script).parts
    below = len(parts) - 1 - parts[::-1].index("benchmarks")
    return {**stamp(), "device": device or cpu(), "versions": versions(), "script": "/".join(parts[below:])}


def cpu() -> str:
    """This machine's CPU, e.g. `AMD EPYC, 2 cores, AVX2 (Linux x86_64)`."""
    from gen3dexport.provenance import host

    facts = host()
    parts = (facts["processor"], f"{os.cpu_count()} cores", *instruction_sets())
    return f"{', '.join(parts)} ({facts['system']} {facts['machine']})"


SETS = (
    {"avx512f": "AVX-512", "avx2": "AVX2"},
    {"avx512_vnni": "VNNI", "avx_vnni": "VNNI"},
    {"avx512_bf16": "bf16", "avx_ne_convert": "bf16"},
    {"amx_int8": "AMX"},
    {"sve": "SVE", "asimd": "NEON"},
    {"asimddp": "dot products"},
    {"i8mm": "int8 matrices"},
)
"""What kernels may use of a CPU, as Linux calls it and as people do: of each row the first that is there."""


def instruction_sets(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """The instruction sets of this machine that kernels of networks choose by; none where the system does not say."""
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    found = (next((word for flag, word in row.items() if flag in flags), None) for row in SETS)
    return tuple(word for word in found if word is not None)


def write(path: Path, script: str, content: Mapping[str, Any], device: str | None = None) -> None:
    """Write a result with where it comes from, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"made": made(script, device), **content}, indent=1) + "\n", encoding="utf-8")


def write_of_machine(path: Path, script: str, content: Mapping[str, Any]) -> None:
    """Write a result of this machine beside those of others: `machines`, each with its `made`; the former one of this
    machine goes."""
    own = {"made": made(script), **content}
    others = [m for m in read(path).get("machines", []) if m["made"]["device"] != own["made"]["device"]]
    write(path, script, {"machines": [*others, own]})


def read(path: Path) -> dict[str, Any]:
    """A result that is there, {} where there is none."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)


def commit_of(folder: Path) -> str:
    """The commit of a checkout, `-dirty` when code or data differ from it; `unknown` outside one."""
    try:
        found = _git(folder, "rev-parse", "--short", "HEAD")
        changed = _git(folder, "diff", "--quiet", "HEAD", "--", *CODE).returncode
    except OSError:
        return "unknown"
    return "unknown" if found.returncode else found.stdout.strip() + ("-dirty" if changed else "")
