"""Cells on a Ray cluster: each is a task, which Ray begins again on another node when its own is lost.

The folder of the matrix is one that every node has under the same path, and this package is installed on each. Ray
counts the memory that cells are given, and places them.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen3dexport.errors import Interrupted, MissingError, UsageError
from gen3dexport.matrix.cells import Cell
from gen3dexport.matrix.here import OnChange, broken, estimate, interrupted, too_large
from gen3dexport.matrix.memory import TooLarge, gigabytes
from gen3dexport.matrix.one_cell import Work, build_cell
from gen3dexport.matrix.results import MISSING_NODE, Result

TRIES = 4
"""How often a cell is begun at most when nodes are lost."""
PATIENCE_S = 60.0
"""So long the cells wait for a node when none is left."""
_ANSWER_S = 5.0
_OWN = ("auto", "local")


class Cluster:
    """A Ray cluster that cells are built on, until `close`."""

    def __init__(self, address: str, cpus: float = 1.0) -> None:
        """Join a cluster.

        Args:
            address: HOST:PORT or ray://HOST:PORT; `auto` for the one of this machine, `local` for one of its own.
            cpus: of each cell.

        Raises:
            MissingError: when Ray is not installed, or no cluster answers.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        check_answers(address)
        try:
            import ray
        except ModuleNotFoundError as error:
            raise MissingError("--ray: ray is not installed; run: pip install 'gen3dexport[ray]'") from error
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            why = " ".join(str(error).split())[:300]
            raise MissingError(f"--ray {address}: no Ray cluster is there ({why}); {_REMEDY}") from error
        self._ray, self._cpus = ray, cpus

    def close(self) -> None:
        """Leave the cluster; tasks of this matrix that still run there end."""
        self._ray.shutdown()

    def build(self, cells: Sequence[Cell], work: Work, on_change: OnChange) -> list[Result]:
        """What became of each cell, in their order.

        Raises:
            UsageError: when the nodes do not see the matrix's folder.
            Interrupted: after the running cells were ended and every cell was told to `on_change`.
        """
        results: dict[str, Result] = {}
        running: dict[Any, Cell] = {}
        known: dict[str, int] = {}

        def finish(cell: Cell, result: Result) -> None:
            results[cell.name] = result
            on_change(cell, result)

        try:
            self._check_folder(work.place.folder)
            for cell in cells:
                on_change(cell, "plan")
                estimated = estimate(cell, work, known, lambda: False)
                if isinstance(estimated, Cell):
                    assert estimated.status is not None
                    finish(cell, estimated.result(estimated.status, estimated.exit_code, estimated.reason))
                elif estimated > (largest := self._largest_node()):
                    problem = f"needs {gigabytes(estimated)}, and the largest node has {gigabytes(largest)}"
                    finish(cell, too_large(cell, TooLarge(problem), estimated))
                else:
                    on_change(cell, "build")
                    running[self._submit(cell, work, estimated)] = cell
            self._collect(running, finish)
        except Interrupted:
            for task, cell in running.items():
                self._ray.cancel(task, force=True)
                finish(cell, interrupted(cell))
            for cell in cells:
                if cell.name not in results:
                    finish(cell, interrupted(cell))
            raise
        return [results[cell.name] for cell in cells]

    def _submit(self, cell: Cell, work: Work, estimated: int) -> Any:
        options = {"num_cpus": self._cpus, "memory": estimated, "max_retries": TRIES - 1}
        return self._ray.remote(build_on_node).options(**options, name=cell.name).remote(cell, work, estimated)

    def _collect(self, running: dict[Any, Cell], finish: Any) -> None:
        """Until every task has ended, or no node is left to run one."""
        alone_since: float | None = None
        while running:
            done, _ = self._ray.wait(list(running), timeout=1)
            for task in done:
                cell = running.pop(task)
                try:
                    finish(cell, self._ray.get(task))
                except Exception as error:  # this cell's alone: its node was lost too often, or it could not begin
                    finish(cell, broken(cell, error))
            alone_since = None if self._nodes() else alone_since or time.monotonic()
            if running and alone_since is not None and time.monotonic() - alone_since >= PATIENCE_S:
                for task, cell in running.items():
                    self._ray.cancel(task, force=True)
                    finish(cell, cell.result("skipped", MissingError.exit_code, MISSING_NODE))
                return

    def _nodes(self) -> list[dict[str, Any]]:
        """The nodes that can build a cell."""
        return [n for n in self._ray.nodes() if n["Alive"] and n["Resources"].get("CPU", 0) >= self._cpus]

    def _largest_node(self) -> int:
        return int(max((n["Resources"].get("memory", 0) for n in self._nodes()), default=0))

    def _check_folder(self, folder: Path) -> None:
        """Ask every node for a file that this process writes into the folder.

        Raises:
            MissingError: when there is no node; UsageError: when one does not see it.
        """
        if not self._nodes():
            raise MissingError(f"--ray: the cluster has no node with a free CPU; {_REMEDY}")
        token = folder / f".seen-by-{platform.node()}-{os.getpid()}"
        token.touch()
        try:
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as At

            sees = self._ray.remote(_sees)
            for node in self._nodes():
                where = At(node["NodeID"], soft=False)
                task = sees.options(num_cpus=0, max_retries=0, scheduling_strategy=where).remote(str(token))
                if not self._ray.get(task, timeout=60):
                    raise UsageError(
                        f"{folder}: node {node['NodeManagerHostname']} does not see this folder; name one with -o that "
                        "all nodes share"
                    )
        finally:
            token.unlink(missing_ok=True)


_REMEDY = "start one with: ray start --head; or leave --ray out and build here"


def build_on_node(cell: Cell, work: Work, estimated: int) -> Result:
    """One cell on the node that this runs on."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    return build_cell(cell, work, estimated, f"{platform.node()} (node {node[:8]})")


def _sees(path: str) -> bool:
    return Path(path).exists()


def check_answers(address: str) -> None:
    """Refuse an address at which nothing listens, at once: Ray tries for minutes.

    Raises:
        UsageError: for no address; MissingError: when nothing answers.
    """
    if address in _OWN:
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UsageError(f"--ray {address}: needs HOST:PORT, ray://HOST:PORT, auto or local")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        why = error.strerror or "no answer"
        raise MissingError(f"--ray {address}: no Ray cluster is there ({why}); {_REMEDY}") from error
