"""XNNPACK's partitioner, without the reshapes that cost nothing outside of a delegate.

A delegate copies what it reshapes. Outside, ExecuTorch gives the result its argument's memory. So a reshape of what no
delegate has made (a program's input, gathered rows) stays outside.
"""

from __future__ import annotations

from typing import Any

from torch import fx


def partitioner() -> Any:
    """An `XnnpackPartitioner` of all operators that XNNPACK takes."""
    from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
    from executorch.backends.xnnpack.partition.config.generic_node_configs import ViewCopyConfig
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir.backend.canonical_partitioners.config_partitioner import format_target_name

    taken = {config.target_name for config in ALL_PARTITIONER_CONFIGS}

    def from_outside(node: fx.Node, program: Any) -> bool:
        if node.op == "placeholder":
            return node.name in program.graph_signature.user_inputs
        return node.op == "call_function" and format_target_name(node.target.__name__) not in taken  # type: ignore[union-attr]

    class Reshape(ViewCopyConfig):  # type: ignore[misc]
        """A reshape of what comes from inside a delegate, or of a weight."""

        def check_constraints(self, node: fx.Node, ep: Any) -> bool:
            source = node.args[0]
            assert isinstance(source, fx.Node)
            return not from_outside(source, ep) and bool(super().check_constraints(node, ep))

    configs = [Reshape if config is ViewCopyConfig else config for config in ALL_PARTITIONER_CONFIGS]
    return XnnpackPartitioner(configs=configs)
