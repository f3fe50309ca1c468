"""A matrix on a local Ray cluster of two nodes, one of which is killed while it builds."""

from __future__ import annotations

import os
import threading
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
    (target := tmp_path / "fast.yaml").write_text(FAST_TARGET.replace("eager-fast", "fast"))
    large = Cell("large", "fast", ("no-such-recipe",), "digest", "networks")
    cells = [*make_cells([str(tiny_recipe)], [str(target)], ["golden.prompts=[first]"]), large]
    place = _place(tmp_path)
    for cell, peak in zip(cells, (10**9, 10**12), strict=True):  # as earlier builds had; so nothing is planned
        place.keep(cell.result("failed", 137, "killed", peak_bytes=peak))
    seen: list[Result] = []
    ended = threading.Event()

    def kill() -> None:
        """The node of the first cell, as soon as its build runs."""
        while not (place.log(cells[0].name).is_file() and place.attempts(cells[0].name)):
            if ended.wait(0.05):
                return
        identity = place.attempts(cells[0].name)[0].partition("(node ")[2].rstrip(")")
        local.remove_node(next(n for n in nodes if n.node_id.startswith(identity)), allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    cluster = Cluster(local.address)
    try:
        change = lambda cell, now: seen.append(now) if isinstance(now, Result) else None  # noqa: E731
        results = build_matrix(cells, Work(place, threads=1), cluster.build, "on Ray", change)
    finally:
        ended.set()
        killer.join()
        cluster.close()
    assert [r.status for r in results] == ["pass", "skipped"] and len(seen) == 2, results
    assert len(results[0].attempts) == 2 and len({*results[0].attempts}) == 2, "on both nodes, one after the other"
    assert kept(cells[0], Work(place)) is not None, "its bundle is whole"
    assert "needs 1250.0 GB, and the largest node has 3.0 GB" in results[1].reason and results[1].exit_code == 3
