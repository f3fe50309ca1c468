"""Builds that are killed at random times over a good bundle: what is left, and how long the next build takes.

    python benchmarks/trust/kills.py [--kills eager=66 eager+=8 ...] [--seed 0] [--add]
    python benchmarks/trust/kills.py --printed LOG ... --add       # rounds that runs have printed, as rows

Every round has another golden seed, so that nothing of it is in the stage cache. It starts `gen3dexport build` over the
last round's bundle, sends a signal at a random time of the build's whole length, and checks: the bundle verifies and is
the old or the new one whole; no process of the round is left after a second; the next build succeeds, puts the new
bundle there and leaves no draft, no process and no temporary file; it makes no component that the killed one had
finished. The signal is SIGKILL or SIGTERM to the build, or SIGKILL to a child of it (of an eager build, the process
that validates).

Builds named `TARGET` are copies of a process that has imported torch, and do not validate: their whole length is work
that a kill can harm. Those named `TARGET+` are commands started from nothing, with validation. Where networks are
lowered in seconds (`SHALLOW`), they have one of blocks alike in a row; else whole ones, and three golden prompts.

Resume ratio: CPU seconds of the next build, with its children, over those of a control: the same build where nothing
was killed, and whose caches hold the same finished components. Both are run twice, and four times where that takes
seconds, in copies of what the kill left (a compiler keeps headers by their place), and the least counts, for what else
the machine does only adds; they take turns, and which of a pair comes first is drawn. The work that remains is that of
whole components: what a killed build had done of one is done again. The ratio of wall seconds stands beside it. Writes
benchmarks/results/trust_kills.json, after each target.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

import commands
import result_file
import tiny_pipeline

from gen3dexport.bundle.manifest import verify
from gen3dexport.errors import GenExportError

RESULT = Path(__file__).parents[1] / "results" / "trust_kills.json"
KILLS = {"eager": 66, "onnx": 12, "executorch": 8, "eager+": 8, "cpu-aoti": 6}
WAYS = {"SIGKILL": 6, "SIGTERM": 2, "SIGKILL to a child": 2}
"""How a round ends a build -> its share."""
THREADLESS = ("eager", "onnx", "executorch")
"""Targets that are built once in this process before it is copied."""
SHALLOW = ("onnx", "executorch", "cpu-aoti")
"""Targets whose builds of shallow networks take long enough to be killed and timed."""
_PROMPTS = "golden.prompts=[a ball,a cube,a chair]"  # of the others, whose components are made quickly
_GRACE_S = 1.0
_ROUND = re.compile(r"^(\S+) \d+ (\{.*\})$")  # as `many` prints it
SHORT_S = 8.0
"""Builds shorter than this are timed four times, for what else a machine does is a larger share of them."""


@dataclass
class Site:
    """A target's place: recipe, target, bundle, caches.

    Attributes:
        whole: whether builds start from nothing and validate.
        seed: golden seed of the bundle that lies there; cold: wall and CPU seconds of the cold builds so far.
    """

    folder: Path
    target: str
    whole: bool
    environment: dict[str, str]
    recipe: Path
    once: Path
    seed: int = 0
    cold: list[tuple[float, float]] = field(default_factory=list)

    @property
    def has_children(self) -> bool:
        """Whether a build starts processes."""
        return self.whole or self.target == "cpu-aoti"

    @property
    def bundle(self) -> Path:
        """Where the bundle lies."""
        return self.folder / "out" / "bundle"

    def copy(self, name: str, killed: bool) -> Site:
        """A copy of what lies here now, as a place of its own.

        Args:
            killed: with what killed builds left; else finished things alone.
        """
        place = self.folder / name
        for part in ("cache", "inductor", "out", "tmp"):
            shutil.rmtree(place / part, ignore_errors=True)
            left_out = None if killed else shutil.ignore_patterns(".*") if part != "tmp" else _everything
            shutil.copytree(self.folder / part, place / part, symlinks=True, ignore=left_out)
        return Site(place, self.target, self.whole, tiny_pipeline.environment(place), self.recipe, self.once)

    def arguments(self, seed: int) -> list[str]:
        """Of the build whose golden data has a seed."""
        place = ["-t", str(self.once), "-o", str(self.bundle), *([] if self.whole else ["--skip-validation"])]
        prompts = [] if self.target.removesuffix("+") in SHALLOW else [_PROMPTS]
        return ["build", str(self.recipe), f"golden.seed={seed}", *prompts, *place]

    def entries(self) -> dict[str, str]:
        """Finished components in the stage cache: name of the entry -> component."""
        found = (self.folder / "cache" / "stages").glob("[!.]*/entry.json")
        return {path.parent.name: json.loads(path.read_text())["component"] for path in found}

    def left(self) -> list[str]:
        """Drafts and temporary files."""
        drafts = [p.name for p in self.bundle.parent.iterdir() if ".draft-" in p.name]
        drafts += [p.name for p in (self.folder / "cache" / "stages").iterdir() if ".draft-" in p.name]
        return [*drafts, *(f"tmp/{p.name}" for p in (self.folder / "tmp").iterdir())]


def _everything(folder: str, names: list[str]) -> list[str]:
    return names


def site(folder: Path, target: str) -> Site:
    """A target's place with a good bundle in it; `target` as the command line has it, with a `+` for whole commands."""
    folder.mkdir()
    environment, name = tiny_pipeline.environment(folder), target.removesuffix("+")
    (folder / "out").mkdir()
    recipe = tiny_pipeline.write(folder, shallow=name in SHALLOW)
    made = Site(folder, target, target.endswith("+"), environment, recipe, tiny_pipeline.target(folder, name))
    cold_build(made)  # compiles Python's modules and torch's headers, which counts for none
    made.cold.clear()
    cold_build(made)
    return made


def cold_build(at: Site) -> None:
    """A cold build to its end, timed."""
    at.seed += 1
    code, build = commands.run(at.arguments(at.seed), at.environment, fork=not at.whole)
    assert code == 0, build.said
    at.cold.append((build.seconds, build.cpu_seconds))


def one_round(at: Site, number: int, way: str, rng: random.Random) -> dict[str, Any] | None:
    """Kill a build and build again: what was found; None where the build was faster than the signal."""
    mark = f"{at.target}-{number}-{rng.random()}"
    old, before = at.seed, at.entries()
    at.seed += 1
    length = at.cold[-1][0]
    when = rng.uniform(0, length)
    build = commands.start(at.arguments(at.seed), at.environment, mark, not at.whole)
    victim = _victim(build, way, when)
    if victim is None:
        assert build.finish() == 0, build.said
        return None
    commands.kill(victim, signal.SIGTERM if way == "SIGTERM" else signal.SIGKILL)
    killed_at = time.monotonic()
    code = build.finish()
    ended = time.monotonic() - killed_at
    if code == 0 and not way.endswith("child"):
        return None
    time.sleep(_GRACE_S)
    children = commands.names(commands.alive(mark))
    found: dict[str, Any] = {"way": way, "at": when / length, "exit": code, "ended_s": ended, "children": children}
    found["stage"] = "after " + " ".join([*build.stages()][-1:][0] if build.stages() else ["nothing"])
    found["bundle"] = _state(at, {old: "old", at.seed: "new"})
    found["traceback"] = "Traceback" in build.said
    cached = {component for name, component in at.entries().items() if name not in before}
    found["cached"], found["lost"] = sorted(cached), sorted(_lowered(build) - cached)

    def build_in(place: Site) -> tuple[int, commands.Started]:
        return commands.run(place.arguments(at.seed), place.environment, mark, not at.whole)

    repeats = range(4 if at.cold[-1][0] < SHORT_S else 2)
    controls = [at.copy(f"control-{n}", killed=False) for n in repeats]
    twins = [at.copy(f"twin-{n}", killed=True) for n in repeats]
    control, resumed = [], []
    for one, other in zip(controls, twins, strict=True):
        pair = [(control, one), (resumed, other)]
        rng.shuffle(pair)
        for builds, place in pair:
            builds.append(build_in(place))
    assert all(code == 0 for code, _ in control), control[0][1].said
    code, again = build_in(at)
    found["resumed"], found["said"] = code == 0, "" if code == 0 else again.said[-500:]
    found["made_again"] = sorted(cached & _lowered(again))
    found["after"] = _state(at, {at.seed: "new"})
    found["left"] = at.left()
    found["children_after"] = commands.names(commands.alive(mark))
    for name, of in (("cpu_seconds", "ratio"), ("seconds", "wall_ratio")):
        own, others = (min(getattr(build, name) for _, build in builds) for builds in (resumed, control))
        found[of] = own / others
        found[f"resume_{name}"], found[f"control_{name}"] = own, others
    return found


def _lowered(build: commands.Started) -> set[str]:
    """Components that a build has lowered to the end."""
    return {component for component, stage in build.stages() if stage == "lower"}


def _victim(build: commands.Started, way: str, when: float) -> Any:
    """The process to kill, after so many seconds; of children the first from then on. None where there is none."""
    while time.monotonic() < build.start + when:
        if build.process.poll() is not None:
            return None
        time.sleep(0.005)
    if not way.endswith("child"):
        return build.process if build.process.poll() is None else None
    while build.process.poll() is None:
        try:
            children = psutil.Process(build.process.pid).children(recursive=True)
        except psutil.Error:
            return None
        if children:
            return children[-1]
        time.sleep(0.005)
    return None


def _state(at: Site, known: dict[int, str]) -> str:
    """Which bundle lies there, or what is wrong with it."""
    try:
        manifest = verify(at.bundle)
    except GenExportError as error:
        return f"broken: {error}"
    return known.get(manifest.recipe["golden"]["seed"], "another one")


def many(at: Site, kills: int, rng: random.Random, end: float) -> list[dict[str, Any]]:
    """Rounds until so many builds were killed, or the monotonic clock shows `end`."""
    found: list[dict[str, Any]] = []
    number = 0
    while len(found) < kills and time.monotonic() < end:
        number += 1
        way = rng.choices([*WAYS], [*WAYS.values()])[0] if at.has_children else rng.choice(["SIGKILL", "SIGTERM"])
        if (one := one_round(at, number, way, rng)) is not None:
            found.append(one)
            print(at.target, len(found), {k: v for k, v in one.items() if k != "said" or v}, flush=True)
    cold_build(at)
    return found


def printed(logs: list[Path]) -> dict[str, list[dict[str, Any]]]:
    """Target -> the rounds that runs of this script have printed, of one that was stopped, too."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in (line for log in logs for line in log.read_text(encoding="utf-8").splitlines()):
        if match := _ROUND.match(line):
            found.setdefault(match[1], []).append({"said": "", **ast.literal_eval(match[2])})
    return found


def summary(target: str, cold: list[tuple[float, float]], rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """What the rounds of a target found, as a row; `cold` are wall and CPU seconds of its cold builds."""
    ratios = sorted(one["ratio"] for one in rounds)
    broken = [one for one in rounds if one["bundle"] not in ("old", "new") or one["after"] != "new"]
    return {
        "target": target,
        "kills": len(rounds),
        "ways": dict(Counter(one["way"] for one in rounds)),
        "stages": dict(Counter(one["stage"] for one in rounds)),
        "old": sum(one["bundle"] == "old" for one in rounds),
        "new": sum(one["bundle"] == "new" for one in rounds),
        "broken": len(broken),
        "failed_resumes": sum(not one["resumed"] for one in rounds),
        "tracebacks": sum(one["traceback"] for one in rounds),
        "drafts": sum(bool(one["left"]) for one in rounds),
        "children_after_1_s": dict(Counter(name for one in rounds for name in one["children"])),
        "children_after_resume": sum(bool(one["children_after"]) for one in rounds),
        "lost": sum(bool(one["lost"]) for one in rounds),
        "made_again": sum(bool(one["made_again"]) for one in rounds),
        "cached": dict(Counter(str(len(one["cached"])) for one in rounds)),
        "sigterm_to_exit_s": max((one["ended_s"] for one in rounds if one["way"] == "SIGTERM"), default=None),
        "cold_s": [seconds for seconds, _ in cold],
        "cold_cpu_s": [seconds for _, seconds in cold],
        "control_cpu_s": sorted(one["control_cpu_seconds"] for one in rounds),
        "ratios": ratios,
        "wall_ratios": sorted(one["wall_ratio"] for one in rounds),
        **quantiles(ratios),
    }


def quantiles(ratios: list[float]) -> dict[str, float]:
    """The median, the ninth decile and the largest."""
    ordered = sorted(ratios)
    return {f"p{q}": ordered[min(len(ordered) - 1, len(ordered) * q // 100)] for q in (50, 90)} | {"max": ordered[-1]}


def warm_up(folder: Path, targets: list[str]) -> None:
    """Build once in this process, for each target whose backend starts no threads, so that copies of it need not import
    and trace what it has."""
    import gc
    import os

    import torch

    from gen3dexport.build import build
    from gen3dexport.plan import make_plan, read_recipe, read_target

    torch.set_num_threads(1)  # a copy of a process that has OpenMP's threads waits for them for ever
    os.environ.update(tiny_pipeline.environment(folder))
    recipe = tiny_pipeline.write(folder, shallow=True)
    for name in sorted({*targets}):
        target = read_target(name)
        build(make_plan(read_recipe(str(recipe), target), target), folder / f"bundle-{name}")
    gc.collect()
    gc.freeze()  # a copy's collector need not look at it


def _as_row(found: tuple[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return summary(found[0], [], found[1])


def rounds_of(wanted: Mapping[str, int], seed: int, minutes: float) -> Iterator[dict[str, Any]]:
    """A row for each target, of so many kills."""
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="trust-kills-") as scratch:
        warm_up(Path(scratch) / "warm", [name for name in wanted if name in THREADLESS])
        for target, count in wanted.items():
            at = site(Path(scratch) / target, target)
            if found := many(at, count, random.Random(f"{seed} {target}"), end):
                yield summary(target, at.cold, found)


def main() -> int:
    """Kill, print and write; 1 when something was broken or left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", nargs="*", default=[f"{k}={v}" for k, v in KILLS.items()], metavar="TARGET=COUNT")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=120, help="after which no round begins")
    parser.add_argument("--add", action="store_true", help="keep the rows of other targets that the result has")
    parser.add_argument(
        "--printed", nargs="*", type=Path, metavar="LOG", help="make rows of what was printed, run nothing"
    )
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    wanted = {name: int(count) for name, _, count in (text.partition("=") for text in options.kills)}
    there = printed(options.printed) if options.printed else {}
    named = {*(there or wanted)}
    kept = result_file.read(options.out) if options.add else {}
    rows: list[dict[str, Any]] = [
        {key: kept["made"][key] for key in result_file.stamp()} | row
        for row in kept.get("rows", [])
        if row["target"] not in named
    ]
    total: dict[str, Any] = {}
    for row in rounds_of(wanted, options.seed, options.minutes) if not there else map(_as_row, there.items()):
        rows.append(row | result_file.stamp())
        total = totals(rows)
        result = {"basis": "measured", "seed": options.seed, "grace_s": _GRACE_S, "total": total, "rows": rows}
        result_file.write(options.out, __file__, result)
        print(json.dumps(rows[-1], indent=1), flush=True)
    print(json.dumps(total, indent=1))
    return 1 if any(total[key] for key in BAD) else 0


BAD = ("broken", "failed_resumes", "tracebacks", "drafts", "children_after_resume", "lost", "made_again")
"""Fields of a row that ought to be 0."""


def totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over all targets, and quantiles of all resume ratios."""
    total = {key: sum(row[key] for row in rows) for key in ("kills", *BAD)}
    every = {name: [ratio for row in rows for ratio in row[name]] for name in ("ratios", "wall_ratios")}
    wall = {f"wall_{key}": value for key, value in quantiles(every["wall_ratios"]).items()}
    return {**total, **quantiles(every["ratios"]), **wall}


if __name__ == "__main__":
    sys.exit(main())
