"""A matrix on a local Ray cluster of two nodes, one of which is killed while it builds."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import FAST_TARGET

from gen3dexport.matrix.build import build_matrix, kept
from gen3dexport.matrix.cells import Cell, make_cells
from gen3dexport.matrix.memory import OF_A_PROCESS
from gen3dexport.matrix.on_ray import Cluster
from gen3dexport.matrix.one_cell import Work
from gen3dexport.matrix.place import Place
from gen3dexport.matrix.results import Result

OF_A_NODE = {"num_cpus": 1, "object_store_memory": 80_000_000, "memory": OF_A_PROCESS + 10**9}


@pytest.fixture
def local() -> Iterator[Any]:
    """A cluster of a head that builds nothing, and two nodes with room for one cell each."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'gen3dexport[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_agent_register_timeout_ms", "150000")
    from ray.cluster_utils import Cluster as Local

    head = {"num_cpus": 0, "object_store_memory": 80_000_000, "include_dashboard": False}
    made = Local(initialize_head=True, head_node_args=head)
    try:
        yield made
    finally:
        made.shutdown()


def _place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "matrix")
    with place.held():
        return place


def test_a_cell_is_built_again_on_another_node_when_its_own_is_killed(
    local: Any, tiny_recipe: Path, tmp_path: Path
) -> None:
    nodes = [local.add_node(**OF_A_NODE) for _ in range(2)]
    targets = [tmp_path / "fast.yaml", tmp_path / "other.yaml"]
    for path in targets:
        path.write_text(FAST_TARGET.replace("eager-fast", path.stem))
    cells = make_cells([str(tiny_recipe)], [str(path) for path in targets])
    cells.append(Cell("large", "fast", ("no-such-recipe",), "digest", "networks"))
    place = _place(tmp_path)
    place.keep(cells[2].result("failed", 137, "killed", peak_bytes=10**12))
    seen: list[Result] = []

    def kill() -> None:
        """The node of the first cell, as soon as its build runs."""
        while not (place.log(cells[0].name).is_file() and place.attempts(cells[0].name)):
            time.sleep(0.05)
        identity = place.attempts(cells[0].name)[0].partition("(node ")[2].rstrip(")")
        local.remove_node(next(n for n in nodes if n.node_id.startswith(identity)), allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    cluster = Cluster(local.address)
    try:
        change = lambda cell, now: seen.append(now) if isinstance(now, Result) else None  # noqa: E731
        results = build_matrix(cells, Work(place, threads=1), cluster.build, "on Ray", change)
    finally:
        cluster.close()
        killer.join()
    assert [r.status for r in results] == ["pass", "pass", "skipped"], results
    assert len(results[0].attempts) == 2 and len({*results[0].attempts}) == 2
    assert results[1].attempts == (results[0].attempts[1],), "the other node built its own cell, too"
    assert all(kept(cell, Work(place)) is not None for cell in cells[:2]) and len(seen) == 3
    assert "the largest node has 3.0 GB" in results[2].reason and results[2].exit_code == 3
