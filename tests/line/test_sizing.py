"""What a plan counts: a network whose blocks are alike by its parts, as if it were captured whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gen3dexport import sizing
from gen3dexport.errors import UsageError
from gen3dexport.export import Captured
from gen3dexport.models.trellis.networks.golden_sets import read_golden
from gen3dexport.quantization.quantize import check_takes

GOLDEN = Path(__file__).parents[1] / "golden" / "trellis"


def counted(graphs: list[tuple[torch.fx.Graph, int]]) -> tuple[Counter[str], int]:
    """Operators, and bytes of the largest tensor."""
    nodes = [(node, times) for graph, times in graphs for node in graph.nodes]
    operators: Counter[str] = Counter()
    for node, times in nodes:
        if node.op == "call_function":
            operators[str(node.target)] += times
    values = [node.meta["val"] for node, _ in nodes if isinstance(node.meta.get("val"), torch.Tensor)]
    return operators, max(value.nbytes for value in values)


@pytest.mark.parametrize("name", ["ss_flow", "slat_flow"])
def test_blocks_are_captured_once_and_counted_as_often_as_they_are(name: str) -> None:
    component = read_golden(GOLDEN / name).component
    assert component is not None and component.blocks is not None
    graphs = sizing._graphs(component)
    assert [times for _, times in graphs] == [1, len(component.blocks), 1]
    assert counted(graphs) == counted([(Captured(component).whole.graph, 1)])


def test_a_network_without_blocks_is_captured_whole() -> None:
    component = read_golden(GOLDEN / "ss_dec").component
    assert component is not None
    assert [times for _, times in sizing._graphs(component)] == [1]


def test_a_scheme_that_takes_nothing_is_told_by_plan_and_before_a_build_works(
    cli: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    words = "text_encoder: has no half-precision form; use scheme fp32"
    arguments = ["trellis-mini", "components.text_encoder.scheme=fp16", "--target", "eager"]
    for command in (["plan", *arguments], ["build", *arguments, "-o", tmp_path / "bundle"]):
        code, _, error = cli(*command)
        assert code == 2 and words in error and "observe" not in error, error
    flow = read_golden(GOLDEN / "ss_flow").component
    assert flow is not None
    with pytest.raises(UsageError, match="no convolution to quantize"):
        check_takes(flow, "int8-static")
    for scheme in ("fp32", "fp16", "int8-dynamic"):
        check_takes(flow, scheme)
