"""Several components' entries at a time, in processes that each make one after the other."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import warnings
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gen3dexport.bundle import golden
from gen3dexport.children import Child
from gen3dexport.disk import scratch
from gen3dexport.errors import ExportError, GenExportError, of_kind
from gen3dexport.machine_memory import available
from gen3dexport.making.keys import found, states_after
from gen3dexport.making.orders import Order, order
from gen3dexport.making.start import Made, Making, OnStage
from gen3dexport.models.declaration import State
from gen3dexport.plan import Plan

_OF_A_PROCESS, _OF_A_PARAMETER = 3_000_000_000, 14  # bytes; assumed
COMMAND = """
import json, sys
sys.path[:] = json.loads(sys.argv.pop(1))
from gen3dexport.children import end_with_parent
end_with_parent()
from gen3dexport.making.worker import main
main(sys.argv[1:])
"""
"""What a process runs, of the folders where this one finds its modules, and of the file descriptor of its answers."""
_PIECE = 2**16
_ENDING_S = 5.0


@dataclass
class Begun:
    """An entry that a process makes.

    Attributes:
        states_at: the folder of the states after its component, as soon as it is there; path: of the finished entry.
    """

    workers: Workers
    name: str
    on_stage: OnStage
    states_at: Path | None = None
    path: Path | None = None

    def states(self) -> list[State]:
        """See `Making`."""
        while self.states_at is None:
            self.workers.listen()
        return states_after(self.states_at)

    def entry(self) -> Path:
        """See `Making`."""
        while self.path is None:
            self.workers.listen()
        return self.path


@dataclass
class _Process:
    """A process that makes entries.

    Attributes:
        work: what it makes now; checks: whether it checks a plan; heard: of a line that has not ended.
    """

    child: Child
    answers: int
    work: Begun | None = None
    checks: bool = False
    heard: bytes = field(default=b"", repr=False)


class Workers:
    """So many processes, started when there is work for them; see `Makers`."""

    def __init__(self, jobs: int) -> None:
        self._jobs, self._room = jobs, available()
        self._needs: dict[str, int] = {}
        self._processes: list[_Process] = []
        self._selector = selectors.DefaultSelector()
        self._leaving = ExitStack()
        self._folder = self._leaving.enter_context(scratch())
        self._begun = 0

    def check(self, plan: Plan) -> None:
        """See `Makers`."""
        process = self._processes[0] if self._processes else self._new()
        process.checks = True
        self._send(process, order(plan))
        while process.checks:
            self.listen()

    def start(self, plan: Plan, name: str, states: list[State], on_stage: OnStage) -> Making:
        """See `Makers`."""
        there = found(plan, name, states)
        if there is not None:
            on_stage(name, "cached")
            on_stage(name, "done")
            return Made(there)
        while len(self._processes) < self._jobs:  # importing torch takes them seconds
            self._new()
        process = self._free(self._needs.get(name, 0))
        self._begun += 1
        before = self._folder / f"{self._begun}.safetensors"
        golden.write_states(before, states)
        process.work = Begun(self, name, on_stage)
        self._send(process, order(plan, name, before))
        return process.work

    def _free(self, need: int) -> _Process:
        """A process without work, when there is memory for more; the first one always begins."""
        while True:
            taken = [self._needs.get(process.work.name, 0) for process in self._processes if process.work]
            idle = [process for process in self._processes if not process.work]
            if idle and (not taken or sum(taken) + need <= self._room):
                return idle[0]
            self.listen()

    def _send(self, process: _Process, asked: Order) -> None:
        assert process.child.process.stdin is not None
        try:
            process.child.process.stdin.write(asked.model_dump_json().encode() + b"\n")
            process.child.process.stdin.flush()
        except BrokenPipeError:
            raise self._ended(process) from None

    def _new(self) -> _Process:
        take, give = os.pipe()
        # Threads that wait for work do not spin on a core that another process could use.
        environment = {"OMP_WAIT_POLICY": "passive", **os.environ}
        command = [sys.executable, "-P", "-c", COMMAND, json.dumps(sys.path), str(give)]
        try:  # a key of the terminal stops this process, which ends that one
            child = Child(command, environment, pass_fds=(give,), start_new_session=True)
        except OSError:
            os.close(take)
            raise
        finally:
            os.close(give)
        process = _Process(child, take)
        self._processes.append(process)
        self._selector.register(take, selectors.EVENT_READ, process)
        return process

    def listen(self) -> None:
        """Wait for a process to say something.

        Raises:
            GenExportError: of a component that failed, or of a process that ended.
        """
        for key, _ in self._selector.select():
            process: _Process = key.data
            piece = os.read(process.answers, _PIECE)
            if not piece:
                raise self._ended(process)
            *lines, process.heard = (process.heard + piece).split(b"\n")
            for line in lines:
                self._hear(process, json.loads(line))

    def _hear(self, process: _Process, answer: dict[str, Any]) -> None:
        work = process.work
        if "stage" in answer and work:
            work.on_stage(*answer["stage"])
        elif "states" in answer and work:
            work.states_at = Path(answer["states"])
        else:
            process.work, process.checks = None, False
            for text in answer["warnings"]:
                warnings.warn(text, stacklevel=2)
            if "error" in answer:
                raise of_kind(answer["error"], answer["message"])
            if "absent" in answer:
                raise ModuleNotFoundError(answer["message"], name=answer["absent"])
            if work:
                work.path = Path(answer["entry"])
                work.states_at = work.states_at or work.path
            else:
                self._needs = {k: _OF_A_PROCESS + _OF_A_PARAMETER * n for k, n in answer["parameters"].items()}

    def _ended(self, process: _Process) -> GenExportError:
        """The error for a process that ended while it had work, or before it had any."""
        with suppress(subprocess.TimeoutExpired):
            process.child.process.wait(_ENDING_S)
        code = process.child.process.poll()
        name = process.work.name if process.work else "the plan" if process.checks else "a process without work"
        said = "\n  ".join(process.child.said().strip().splitlines()[-12:])
        tail = f":\n  {said}" if said else ""
        if code is None or code >= 0:
            return GenExportError(f"{name}: its process ended with exit code {code}{tail}")
        by = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        killed = f"{name}: its process was killed by {by}"
        if by == "SIGKILL":
            again = "build with --jobs 1, or on a machine with more memory"
            return GenExportError(f"{killed}, most likely by the system because memory ran out; {again}{tail}")
        return ExportError(f"{killed}{tail}")

    def close(self) -> None:
        """End the processes, with what they started."""
        for process in self._processes:
            with suppress(OSError):
                os.killpg(process.child.process.pid, signal.SIGKILL)
            process.child.process.wait()
            self._selector.unregister(process.answers)
            os.close(process.answers)
        self._selector.close()
        self._leaving.close()
