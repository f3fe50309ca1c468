"""Commands at once on one cache and one bundle: what fails, and how often a component is made.

    python benchmarks/trust/concurrency.py [--builds 8] [--rounds 10] [--loads 50]
    python benchmarks/trust/concurrency.py --loads-alone     into trust_loads.json

builds     builds of one recipe at once on one cold cache, against one build and against four at once with a cache each
           and one: how often each component was lowered, and wall seconds of all
replaced   `run` and `load` again and again while `build` puts one of two bundles in the same place: every asset is that
           of the old or of the new bundle, never a mixture
runs       `run` from one bundle, at once
prune      `cache prune --max-size 0` again and again during builds: it removes nothing that a build reads
validate   `validate` and `verify` during `run`, two validations at a time

An error is an exit status other than 0, or 2 of a prune that says that a build uses the cache; a warning or a traceback
on stderr is one too. Writes benchmarks/results/trust_concurrency.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import commands
import numpy as np
import result_file
import tiny_pipeline

from gen3dexport.bundle import drafts
from gen3dexport.bundle.manifest import verify
from gen3dexport.errors import GenExportError, VerificationError
from gen3dexport.runtime import load

RESULT = Path(__file__).parents[1] / "results" / "trust_concurrency.json"
LOADS = RESULT.with_name("trust_loads.json")
TARGETS = ("onnx", "cpu-aoti")
"""Whose builds run at once: what they lower takes longer than their start."""


@dataclass
class Place:
    """Recipe, target, caches and bundles of the tiny pipeline for a target."""

    folder: Path
    target: str
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.environment = tiny_pipeline.environment(self.folder)
        self.recipe = tiny_pipeline.write(self.folder)
        self.once = tiny_pipeline.target(self.folder, self.target)
        self.features = self.folder / "features.npy"
        rng = np.random.default_rng(0)
        np.save(self.features, rng.standard_normal(tiny_pipeline.CONDITION, dtype=np.float32))

    def build(self, out: str, *fields: str, cache: str = "cache") -> commands.Started:
        """Start a build into a folder of this place."""
        arguments = ["build", str(self.recipe), *fields, "-t", str(self.once), "-o", str(self.folder / out)]
        return commands.start(arguments, {**self.environment, "GEN3DEXPORT_CACHE": str(self.folder / cache)})

    def run(self, bundle: str, out: str) -> commands.Started:
        """Start making an asset of the same features."""
        arguments = ["run", str(self.folder / bundle), "--features", str(self.features), "--kind", "voxels"]
        return commands.start([*arguments, "-o", str(self.folder / out)], self.environment)

    def command(self, *arguments: str) -> commands.Started:
        """Start another command."""
        return commands.start(arguments, self.environment)

    def ended(self, what: str, made: commands.Started, fine: Callable[[int, str], bool] | None = None) -> float:
        """Wait for a command and keep what was wrong with it; its seconds."""
        code, said = made.finish(), made.said
        good = code == 0 and "warning" not in said if fine is None else fine(code, said)
        if not good or "Traceback" in said:
            self.errors.append(f"{what}: exit {code}: {said[-400:]}")
        return made.seconds


def many_builds(place: Place, count: int) -> dict[str, Any]:
    """`count` builds at once on one cold cache, and what the same costs otherwise."""
    single = place.ended("one build", place.build("warm", "golden.seed=99"))  # Python's modules, torch's headers
    found: dict[str, Any] = {"target": place.target}
    single = place.ended("one build", place.build("single", cache="cold-single"))
    found["one_build_s"] = single
    for name, number, shared in (
        ("four_with_a_cache_each", 4, False),
        ("four_on_one_cache", 4, True),
        (f"{count}_on_one_cache", count, True),
    ):
        start = time.monotonic()
        caches = [f"cold-{name}" if shared else f"cold-{name}-{k}" for k in range(number)]
        builds = [place.build(f"{name}-{k}", cache=cache) for k, cache in enumerate(caches)]
        for build in builds:
            place.ended(name, build)
        seconds = time.monotonic() - start
        lowered = Counter(component for build in builds for component, stage in build.stages() if stage == "lower")
        if shared and any(count != 1 for count in lowered.values()):
            place.errors.append(f"{name}: lowered {dict(lowered)}")
        programs = {json.dumps(_programs(place.folder / f"{name}-{k}")) for k in range(number)}
        if shared and len(programs) != 1:
            place.errors.append(f"{name}: {len(programs)} different sets of programs")
        found[name] = {"seconds": seconds, "lowered": dict(lowered), "builds": number}
    return found


def _programs(bundle: Path) -> dict[str, str]:
    files = verify(bundle).files
    return {name: file.sha256 for name, file in files.items() if name.startswith("programs/")}


def two_bundles(place: Place) -> dict[str, str]:
    """Build `a` and `b`, of other weights, and `bundle`, a copy of `a`; the digests of their assets."""
    known = {}
    for name, weights in (("a", "weights"), ("b", "other")):
        if name == "b":
            _other_weights(place.folder)
        place.ended("build", place.build(name, f"weights={place.folder / weights}"))
        place.ended("run", place.run(name, f"{name}.npz"))
        known[_asset(place.folder / f"{name}.npz")] = name
    assert len(known) == 2, "the two bundles make the same asset"
    shutil.copytree(place.folder / "a", place.folder / "bundle")
    return known


def replaced(place: Place, rounds: int) -> dict[str, Any]:
    """Runs while builds replace the bundle by one with other weights."""
    known = two_bundles(place)
    builds, runs = 0, Counter[str]()
    with _again(lambda k: _one_run(place, k, known, runs), workers=2):
        for k in range(rounds):
            weights = place.folder / ("other", "weights")[k % 2]
            place.ended("build over it", place.build("bundle", f"weights={weights}"))
            builds += 1
    return {"builds": builds, "runs": dict(runs)}


def loaded(place: Place, count: int) -> dict[str, Any]:
    """Loads in one process, as an application does, during quick exchanges of two bundles."""
    loads, exchanges = Counter[str](), 0
    features = np.load(place.features)
    _KNOWN.update({_logits(load(place.folder / name), features): name for name in "ab"})
    with _again(lambda k: _one_load(place, features, loads), workers=1):
        while sum(loads.values()) < count:
            with drafts.writing(place.folder / "bundle") as draft:
                shutil.copytree(place.folder / "ab"[exchanges % 2], draft, dirs_exist_ok=True)
            exchanges += 1
            time.sleep(0.05)
    return {"exchanges": exchanges, "loads": dict(loads)}


def _one_run(place: Place, number: int, known: dict[str, str], runs: Counter[str]) -> None:
    out = f"run-{threading.get_ident()}-{number}.npz"
    place.ended("run during a build", place.run("bundle", out))
    which = known.get(_asset(place.folder / out), "a mixture") if (place.folder / out).is_file() else "none"
    runs[which] += 1
    if which == "a mixture":
        place.errors.append("run during a build: neither the old bundle's asset nor the new one's")


def _one_load(place: Place, features: np.ndarray, loads: Counter[str]) -> None:
    """Load in this process, as an application does: it is told to load again, or has one bundle whole."""
    try:
        found = _logits(load(place.folder / "bundle"), features)
        loads[_KNOWN.get(found, "a mixture")] += 1
        if found not in _KNOWN:
            place.errors.append("load during exchanges: a mixture of two bundles")
    except VerificationError as error:
        loads["told to load again"] += 1
        if "was changed after it was loaded" not in str(error):
            place.errors.append(f"load during exchanges: {error}")
    except GenExportError as error:
        place.errors.append(f"load during exchanges: {type(error).__name__}: {error}")


_KNOWN: dict[str, str] = {}


def _logits(bundle: Any, features: np.ndarray) -> str:
    assets = bundle.generate_assets(features=features)
    return hashlib.sha256(np.ascontiguousarray(assets["voxels"].occupancy).tobytes()).hexdigest()


def _asset(path: Path) -> str:
    with np.load(path) as arrays:
        return hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays.files))).hexdigest()


def _other_weights(folder: Path) -> None:
    """A copy of the weights in which the last layer of each network has the opposite sign, so that no mixture of two
    bundles makes the asset of either."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(folder / "weights", folder / "other")
    for network, name in (("ss_flow_tiny", "out_layer.weight"), ("ss_dec_tiny", "out_layer.2.weight")):
        path = folder / "other" / "ckpts" / f"{network}.safetensors"
        tensors = load_file(path)
        save_file({**tensors, name: -tensors[name]}, path)


@contextmanager
def _again(step: Callable[[int], None], workers: int) -> Any:
    """`step` again and again in threads while the block runs, at least once in each."""
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set() or number == 0:
            step(number)
            number += 1

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def many_runs(place: Place, count: int) -> dict[str, Any]:
    """Runs from one bundle at once: all make the same asset."""
    start = time.monotonic()
    started = [place.run("a", f"many-{k}.npz") for k in range(count)]
    for made in started:
        place.ended("run at once", made)
    seconds = time.monotonic() - start
    assets = {_asset(place.folder / f"many-{k}.npz") for k in range(count)}
    if len(assets) != 1:
        place.errors.append(f"runs at once: {len(assets)} different assets")
    return {"runs": count, "seconds": seconds, "assets": len(assets)}


def pruned(place: Place, rounds: int) -> dict[str, Any]:
    """`cache prune` and `cache ls` during builds and runs."""
    told: Counter[str] = Counter()

    def prune(number: int) -> None:
        def fine(code: int, said: str) -> bool:
            refused = code == 2 and "a build is using it" in said
            told["refused, a build is at work" if refused else "pruned"] += 1
            return code == 0 or refused

        place.ended("prune", place.command("cache", "prune", "--max-size", "0"), fine)
        place.ended("cache ls", place.command("cache", "ls"))

    with _again(prune, workers=1):
        for k in range(rounds):
            pair = [place.build(f"pruned-{j}", f"golden.seed={100 + k}") for j in range(2)]
            for build in pair:
                place.ended("build during prunes", build)
    for j in range(2):
        verify(place.folder / f"pruned-{j}")
    return {"builds": 2 * rounds, "prunes": dict(told)}


def validated(place: Place, rounds: int) -> dict[str, Any]:
    """Two validations at a time and `verify` while runs go on."""
    counts = Counter[str]()

    def step(number: int) -> None:
        place.ended("run during a validation", place.run("a", f"v-{threading.get_ident()}-{number}.npz"))
        place.ended("verify during a validation", place.command("verify", str(place.folder / "a")))
        counts["runs"] += 1

    with _again(step, workers=1):
        for _ in range(rounds):
            pair = [place.command("validate", str(place.folder / "a")) for _ in range(2)]
            for made in pair:
                place.ended("validate", made)
                counts["validations"] += 1
    verify(place.folder / "a")
    return dict(counts)


def _loads_alone(count: int) -> int:
    """Loads and exchanges without the rest, into a file of their own; 1 when there was an error."""
    with tempfile.TemporaryDirectory(prefix="trust-concurrency-") as scratch:
        place = Place(Path(scratch) / "eager", "eager")
        two_bundles(place)
        found = loaded(place, count)
    result_file.write(LOADS, __file__, {"basis": "measured", **found, "errors": len(place.errors)})
    print(json.dumps(found), *sorted(set(place.errors))[:20], sep="\n")
    return 1 if place.errors else 0


def main() -> int:
    """Run all, print and write; 1 when there was an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--builds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--loads", type=int, default=50)
    parser.add_argument("--loads-alone", action="store_true")
    parser.add_argument("--targets", nargs="*", default=TARGETS)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    if options.loads_alone:
        return _loads_alone(options.loads)
    result: dict[str, Any] = {"basis": "measured", "builds": []}
    errors = []
    with tempfile.TemporaryDirectory(prefix="trust-concurrency-") as scratch:
        for target in options.targets:
            place = Place(Path(scratch) / f"builds-{target}", target)
            result["builds"].append(many_builds(place, options.builds))
            errors += place.errors
            print(json.dumps(result["builds"][-1], indent=1), flush=True)
        place = Place(Path(scratch) / "eager", "eager")
        for name, step in (
            ("replaced", lambda: replaced(place, options.rounds) | loaded(place, options.loads)),
            ("runs", lambda: many_runs(place, options.builds)),
            ("prune", lambda: pruned(place, max(1, options.rounds // 2))),
            ("validate", lambda: validated(place, max(1, options.rounds // 2))),
        ):
            result[name] = step()
            print(name, json.dumps(result[name]), f"{len(place.errors)} errors", flush=True)
        errors += place.errors
    result["errors"] = len(errors)
    result["what"] = sorted(set(errors))[:20]
    result_file.write(options.out, __file__, result)
    print(*result["what"], sep="\n")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
