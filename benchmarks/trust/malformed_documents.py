"""Malformed recipes, targets, overrides, manifests, reports, configurations and weights: each is refused in words.

    python benchmarks/trust/malformed_documents.py [--count 1500] [--children 60] [--seed 0]

The cases are those of `wrong_documents`: every field of every schema with what it cannot hold, files that are no
document, and weights in every wrong form; `--count` of them are drawn, the same share of each group. Each goes through
the command line's own entry in this process, and `--children` of them through one of their own. A case is refused
where the exit code is 2 or more and the message has a remedy; it is a fault where the command takes it, ends in a
traceback or with code 1, names no remedy, or takes more than 10 s of CPU time. Writes
benchmarks/results/trust_malformed.json.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import bundles
import result_file
import wrong_documents
from wrong_documents import Case

RESULT = Path(__file__).parents[1] / "results" / "trust_malformed.json"
LONGEST = 10.0
"""Seconds of CPU time that a refusal may take."""
LONGEST_TEXT = 6000
REMEDY = re.compile(
    r"\b(?:add|ask|build|choose|convert|copy|did you mean|download|free|give|install|leave|make it|must|needs?|put"
    r"|remove|rename|replace|run `|save|set|should|shorten|swap|take|there are|unset|upgrade|use|validate|write)",
    re.IGNORECASE,
)
"""Words of a message that says what to do."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case; fault: "" where it was refused as it should be."""

    case: Case
    code: int
    seconds: float
    fault: str
    said: str


def drawn(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """So many cases, the same share of each group, with every kind of a group before one comes again."""
    chance = random.Random(seed)
    groups: dict[str, dict[str, list[Case]]] = {}
    for case in chance.sample(cases, len(cases)):
        groups.setdefault(case.group, {}).setdefault(case.kind, []).append(case)
    turns = [_in_turn(kinds) for kinds in groups.values()]
    found: list[Case] = []
    while turns and len(found) < count:
        turns = [turn for turn in turns if (case := next(turn, None)) is not None and not found.append(case)]
    return found[:count]


def _in_turn(kinds: dict[str, list[Case]]) -> Iterator[Case]:
    for round_ in range(max(map(len, kinds.values()))):
        yield from (cases[round_] for cases in kinds.values() if round_ < len(cases))


def outcome(case: Case, folder: Path, own_process: bool = False) -> Outcome:
    """Write a case into an empty folder and give it to its command."""
    arguments = case.write(folder)
    done = (bundles.child if own_process else bundles.here)(*arguments, limit=60)
    return Outcome(case, done.code, done.seconds, fault(done, own_process), done.said)


def fault(done: bundles.Done, own_process: bool = False) -> str:
    """What is wrong with how a malformed document was refused."""
    if done.crash:
        return f"crash: {done.crash}"
    if done.code < 2:
        return "accepted" if done.code == 0 else f"exit {done.code}: {done.said}"
    if not REMEDY.search(done.said):
        return f"no remedy: {done.said}"
    if len(done.said) > LONGEST_TEXT:
        return f"{len(done.said)} characters: {done.said[:300]}"
    if done.seconds > LONGEST * (3 if own_process else 1):  # which starts Python and torch too
        return f"took {done.seconds:.0f} s: {done.said}"
    return ""


def summary(found: Sequence[Outcome]) -> dict[str, Any]:
    """Counts by group, and every fault whole."""
    rows = []
    for group in dict.fromkeys(one.case.group for one in found):
        own = [one for one in found if one.case.group == group]
        words = Counter(one.fault.partition(":")[0].split()[0] for one in own if one.fault)
        row = {"group": group, "inputs": len(own), "kinds": len({one.case.kind for one in own})}
        row |= {"refused": sum(not one.fault for one in own), "accepted": words["accepted"]}
        row |= {"crashes": words["crash"] + words["exit"], "without a remedy": words["no"]}
        rows.append(row | {"slow": words["took"], "slowest_s": round(max(one.seconds for one in own), 2)})
    keys = [key for key in rows[0] if key not in ("group", "kinds", "slowest_s")]
    total = {key: sum(row[key] for row in rows) for key in keys}
    exits = Counter(str(one.code) for one in found)
    faults = [f"{one.case.group}: {one.case.what}: {one.fault}" for one in found if one.fault]
    return {"rows": rows, "total": total, "exits": dict(sorted(exits.items())), "faults": faults}


@contextmanager
def cached_exports() -> Iterator[None]:
    """While networks of one form are exported once: a plan that goes on past a wrong value looks at its operators."""
    from gen3dexport import export as exporting

    made: dict[Any, Any] = {}
    real = exporting.export_module

    def export(module: Any, inputs: tuple[Any, ...], name: str) -> Any:
        layers = tuple((key, tuple(p.shape)) for key, p in module.named_parameters())
        key = type(module), name, layers, tuple(tuple(i.shape) for i in inputs)
        return made[key] if key in made else made.setdefault(key, real(module, inputs, name))

    exporting.export_module = export
    try:
        yield
    finally:
        exporting.export_module = real


def main() -> int:
    """Draw, run, print, write; 1 when there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--children", type=int, default=60, help="cases that go to a process of their own too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--group", help="only cases of this group")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trust-") as scratch, cached_exports():
        right = wrong_documents.prepare(Path(scratch) / "right")
        cases = [case for case in wrong_documents.all_of(right) if given.group in (None, case.group)]
        chosen = drawn(cases, given.count, given.seed)
        start, found = time.perf_counter(), []
        for case in chosen:
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                found.append(outcome(case, Path(folder)))
            if found[-1].fault:
                print(f"{case.group}: {case.what}: {found[-1].fault[-1500:]}", file=sys.stderr, flush=True)
        children = []
        for case in chosen[: given.children]:
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                children.append(outcome(case, Path(folder), own_process=True))
        seconds = time.perf_counter() - start
    made = summary(found)
    told = summary(children) if children else {"total": {}, "exits": {}, "faults": []}
    print(json.dumps({"total": made["total"], "exits": made["exits"], "children": told["total"]}, indent=1))
    print(*(f"child: {line}" for line in told["faults"]), sep="\n")
    if given.group is None:
        content = {"basis": "measured", "count": len(chosen), "of": len(cases), "seed": given.seed}
        content |= {"seconds": round(seconds, 1), **made, "children": {**told["total"], "faults": told["faults"]}}
        result_file.write(RESULT, __file__, content)
    return 1 if made["faults"] or told["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
