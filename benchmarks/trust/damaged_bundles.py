"""Damaged copies of good bundles: each is refused, by `verify` and before anything is loaded.

    python benchmarks/trust/damaged_bundles.py [BUNDLE ...] [--count 1000] [--children 40] [--seed 0]

Without bundles, trellis-mini is built for eager, onnx, executorch and cpu-aoti, in a folder that `--work` names or that
is removed at the end. A copy is damaged in one of the ways of `harms`, the ways in turn. `gen3dexport verify` runs on
it in this process, through the command's own entry, and so does `runtime.load`; `--children` of the copies go to
`verify`, `run` and `run --isolate` in processes of their own too. A copy counts as refused with exit code 7, as
accepted with 0, and as a crash with a traceback, a signal or any other code. What does no harm, or cannot be told
without a signature, is counted by name:

- a report: `verify` refuses a changed one; `load` reads none, and one that is gone is no change;
- files that a killed validation leaves: both pass over them;
- a field left to its default, in a manifest whose digest was made anew: a whole manifest that says something else.

Programs and tokenizers packed anew with right digests are for those to refuse that read them: `run --isolate` gets some
that are none or another component's, and must end with 7 whatever becomes of its child. Writes
benchmarks/results/trust_damaged.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import bundles
import harms
import result_file
import wrong_values

from gen3dexport.bundle.report_files import DIGESTS, REPORTS
from gen3dexport.errors import GenExportError, VerificationError
from gen3dexport.runtime import load

RESULT = Path(__file__).parents[1] / "results" / "trust_damaged.json"
TARGETS = ("eager", "onnx", "executorch", "cpu-aoti")
REFUSED = VerificationError.exit_code


@dataclass(frozen=True)
class Outcome:
    """What became of a damaged copy.

    Attributes:
        kind: how it was damaged; what: where.
        verify, load: `refused`, `accepted`, or what it crashed with.
    """

    kind: str
    what: str
    verify: str
    load: str

    @property
    def name(self) -> str:
        """Why a copy that was accepted does no harm; "" where it does."""
        if self.kind == "left by a killed validation":
            return self.kind
        if wrong_values.DEFAULT in self.kind and self.load == "accepted" and self.verify in ("accepted", "refused"):
            return "a field left to its default, digest made anew"
        name = self.what.partition(":")[0]
        if name in (*REPORTS, DIGESTS) and self.load == "accepted":
            if self.verify == "refused":
                return "a report changed: told by verify, read by nobody else"
            if self.kind == "deleted" and name != DIGESTS:
                return "a report deleted"
        return ""


def outcomes(good: Sequence[harms.Good], count: int, seed: int, work: Path) -> Iterator[tuple[Outcome, Path]]:
    """So many damaged copies one after the other, and what became of each; the copy goes when the next one is asked."""
    chance, ways = random.Random(seed), harms.all_of(list(good))
    for number in range(count):
        kind = list(ways)[number % len(ways)]
        able = [one for one in good if not kind.startswith("manifest field") or _kind(kind) in one.wrong]
        one = able[number // len(ways) % len(able)]
        copy = bundles.linked(one.folder, work / "copy")
        what = ways[kind](one, copy, chance)
        yield Outcome(kind, what, _verified(copy), _loaded(copy)), copy
        for path in work.glob("copy*"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _kind(name: str) -> str:
    return name.removeprefix("manifest field ").removesuffix(", digest made anew")


def _verified(copy: Path) -> str:
    return _told(bundles.here("verify", copy))


def _told(done: bundles.Done) -> str:
    if done.crash:
        return done.crash
    found = {REFUSED: "refused", 0: "accepted"}.get(done.code)
    return found or f"exit {done.code}: {done.said}"


def _loaded(copy: Path) -> str:
    try:
        load(copy)
    except GenExportError as error:
        return "refused" if error.exit_code == REFUSED else f"exit {error.exit_code}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


def in_children(copy: Path, out: Path) -> dict[str, str]:
    """What became of a copy in processes of their own, by command."""
    asset = ("--prompt", "a chair", "-o", out, "--no-cache")
    commands = {"verify": ("verify", copy), "run": ("run", copy, *asset)}
    commands["run --isolate"] = ("run", copy, "--isolate", *asset)
    return {name: _told(bundles.child(*arguments)) for name, arguments in commands.items()}


def packed_anew(good: harms.Good, work: Path) -> Iterator[tuple[str, Path]]:
    """Copies whose digests are right and whose program is no program, or another component's."""
    programs = [program["files"][0] for program in good.data["programs"] if program["role"] == "component"]
    forms = {"empty": b"", "text": b"not a program\n"}
    if good.data["target"]["backend"] != "aotinductor":  # whose compiled code does not look at what it is given
        forms["another component's"] = (good.folder / "programs" / programs[0]).read_bytes()
    changed = [(name, f"programs/{programs[-1]}", content) for name, content in forms.items()]
    changed += [("a tokenizer that is none", name, b"{}") for name in good.files if name.startswith("host/tokenizer")]
    for name, file, content in changed:
        copy = bundles.linked(good.folder, work / "copy")
        data = json.loads(json.dumps(good.data))
        (copy / file).unlink()
        (copy / file).write_bytes(content)
        data["files"][file] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        harms.write(copy, data, sealed=True)
        yield name, copy
        shutil.rmtree(copy)


def summary(found: Sequence[Outcome]) -> dict[str, Any]:
    """Counts by kind, harmless ones by name, and everything that is neither refused nor harmless, whole."""
    rows, harmless, faults = [], Counter(), []
    for kind in dict.fromkeys(one.kind for one in found):
        of_kind = [one for one in found if one.kind == kind]
        bad = [one for one in of_kind if not one.name and {one.verify, one.load} != {"refused"}]
        harmless.update(one.name for one in of_kind if one.name)
        faults += [f"{one.kind}: {one.what}: verify {one.verify}; load {one.load}" for one in bad]
        row = {"kind": kind, "copies": len(of_kind), "harmless": sum(bool(one.name) for one in of_kind)}
        row |= {"refused": sum({one.verify, one.load} == {"refused"} for one in of_kind)}
        row |= {"accepted": sum("accepted" in (one.verify, one.load) for one in bad)}
        rows.append(row | {"crashes": len(bad) - row["accepted"]})
    totals = {key: sum(row[key] for row in rows) for key in ("copies", "refused", "harmless", "accepted", "crashes")}
    return {"rows": rows, "total": totals, "harmless": dict(harmless), "faults": faults}


def main() -> int:
    """Damage, run, print, write; 1 when a copy was accepted or crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--children", type=int, default=40, help="copies that go to processes of their own too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="a folder for the bundles, which stay there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trust-", dir=given.work) as scratch:
        work = Path(scratch)
        built = given.bundle or [bundles.good(target, given.work or work / "built") for target in TARGETS]
        good = [harms.Good(folder) for folder in built]
        start, found = time.perf_counter(), []
        children: dict[str, Counter[str]] = {}
        every = max(1, given.count // max(1, given.children))
        for number, (outcome, copy) in enumerate(outcomes(good, given.count, given.seed, work)):
            found.append(outcome)
            if given.children and number % every == 0 and not outcome.name:
                for command, told in in_children(copy, work / "asset.glb").items():
                    children.setdefault(command, Counter())[told] += 1
        seconds = time.perf_counter() - start
        packed = [
            {"target": one.data["target"]["name"], "program": name, "run": _told(bundles.child(*_run(copy, work)))}
            for one in good
            for name, copy in packed_anew(one, work)
        ]
    made = summary(found)
    print(json.dumps(made, indent=1), json.dumps(children, indent=1), json.dumps(packed, indent=1), f"{seconds:.0f} s")
    bad = made["faults"] or any({*told} - {"refused"} for told in children.values())
    bad = bad or any(one["run"] != "refused" for one in packed)
    content = {"basis": "measured", "count": given.count, "seed": given.seed, "seconds": round(seconds, 1)}
    targets = [one.data["target"]["name"] for one in good]
    content |= {"targets": targets, **made, "children": {k: dict(v) for k, v in children.items()}, "packed": packed}
    result_file.write(RESULT, __file__, content)
    return 1 if bad else 0


def _run(copy: Path, work: Path) -> tuple[str | Path, ...]:
    return "run", copy, "--isolate", "--prompt", "a tall chair", "-o", work / "asset.glb", "--no-cache"


if __name__ == "__main__":
    sys.exit(main())
