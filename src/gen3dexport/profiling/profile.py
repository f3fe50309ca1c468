"""Profile: where the time and memory of a bundle's programs go, found in a fresh process."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from gen3dexport.bundle.manifest import Manifest, read_manifest
from gen3dexport.children import of_this_process
from gen3dexport.disk import scratch
from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UnmeasuredError, UsageError, VerificationError, of_kind
from gen3dexport.operator_times import Ran
from gen3dexport.profiling.child import ANSWER, EVENTS
from gen3dexport.profiling.records import Profile
from gen3dexport.reports.records import Failure
from gen3dexport.runtime import child_end

_ANSWER: TypeAdapter[Profile | Failure] = TypeAdapter(Profile | Failure)
_WORK = child_end.Work("nothing was profiled", "gen3dexport profile BUNDLE", UnmeasuredError, VerificationError)


@dataclass(frozen=True)
class Profiled:
    """A bundle's profile, and of each program the operators of one call."""

    profile: Profile
    events: Mapping[str, Sequence[Ran]]


def profile_bundle(folder: Path, calls: int, threads: int | None = None, component: str | None = None) -> Profiled:
    """Profile a bundle in a child process; nothing is written into it.

    Args:
        calls: traced calls of each program, and as many untraced ones in turns with them.
        threads: of the CPU; the target's where none are given.
        component: it or one of its programs alone; by its own name a sampler's loop, else left out, too.

    Raises:
        UsageError: when the folder is not a bundle, or has no such component.
        MissingError: when this machine lacks what its programs need.
        VerificationError: when it was changed, or its runtime refuses a program.
    """
    manifest = read_manifest(folder)
    names = [] if component is None else _programs(manifest, component, folder)
    wanted = str(threads or manifest.target["measure"]["threads"])
    with scratch() as place:
        own = {"OMP_NUM_THREADS": wanted, "TQDM_DISABLE": "1", "TMPDIR": str(place), "KINETO_LOG_LEVEL": "5"}
        command = [sys.executable, "-m", "gen3dexport.profiling.child", str(folder.absolute()), str(place), str(calls)]
        environment = of_this_process({**os.environ, **own})
        child = subprocess.run([*command, *names], env=environment, capture_output=True, text=True)
        if not (place / ANSWER).is_file():
            raise child_end.told(str(folder), child.returncode, child.stderr, _WORK)
        answer = _ANSWER.validate_json((place / ANSWER).read_text())
        if isinstance(answer, Failure):
            raise of_kind(answer.error, answer.message)
        events = json.loads((place / EVENTS).read_text())
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    profile = answer.model_copy(update={"created": created, "threads": int(wanted), "bundle": folder.absolute().name})
    return Profiled(profile, {name: [Ran(**ran) for ran in call] for name, call in events.items()})


def _programs(manifest: Manifest, name: str, folder: Path) -> list[str]:
    """Programs of a component, all but its sampler's loop; or the one of that name."""
    if name in manifest.components:
        return [p.name for p in manifest.programs if p.component == name and p.role != "sampler"]
    names = [p.name for p in manifest.programs]
    if name not in names:
        raise UsageError(f"{folder}: component {name!r}: there is none of that name{did_you_mean(name, names)}")
    return [name]
