"""An exported program rewritten into operators that XNNPACK takes and ExecuTorch's kernels run correctly.

Why each rule exists is said at the rule. The rewriting interprets the captured graph under a fresh torch.export, so
that shapes and dtypes are propagated by torch itself, and so that constants a rule needs (averaging vectors, 2-D
kernels of a 3-D convolution) are ordinary buffers that a delegate can own.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.export import ExportedProgram

from gen3dexport.backends.executorch import attention, convolution, graphs, normalization, resizing, shapes
from gen3dexport.backends.executorch.sites import Rule, Site
from gen3dexport.backends.executorch.unsupported import UNSUPPORTED
from gen3dexport.errors import ExportError
from gen3dexport.export import export_module

CAPTURED = "captured."
"""What the names of a captured program's weights begin with after rewriting."""

_RULES: dict[object, Rule] = {
    **attention.RULES,
    **convolution.RULES,
    **normalization.RULES,
    **resizing.RULES,
    **shapes.RULES,
}


def rewrite(program: ExportedProgram, attention_chunk: int, name: str) -> ExportedProgram:
    """`program` with the same inputs, outputs and weights, in operators that the delegate takes.

    Args:
        program: a capture by torch.export, weights may be torchao tensors.
        attention_chunk: the most queries that attend at once; 0 for all of them.
        name: of the component, for messages.

    Raises:
        ExportError: for an operator that this backend would run wrongly.
    """
    if any(_mutates(node) for node in program.graph.nodes):  # the rules take copies for what they copy
        program = program.run_decompositions({})
    inputs = tuple(program.example_inputs[0])
    rewritten = export_module(_Rewritten(program, attention_chunk, name), inputs, name)
    graphs.simplify(rewritten)
    return rewritten


class _Rewritten(nn.Module):
    """The captured graph as a module, with the constants of the rules as buffers."""

    def __init__(self, program: ExportedProgram, attention_chunk: int, name: str) -> None:
        super().__init__()
        self.captured = program.module(check_guards=False)
        assert isinstance(self.captured, fx.GraphModule)
        self.attention_chunk = attention_chunk
        self.component = name
        self.constants = nn.Module()  # of the rules; those made from weights have names of their own in the state dict
        for node in self.captured.graph.nodes:
            self._check(node)
            for key, value in self._constants_of(node).items():
                if not hasattr(self.constants, key):
                    self.constants.register_buffer(key, value)

    def forward(self, *inputs: Tensor) -> Any:
        return _Interpreter(self).run(*inputs)

    def train(self, mode: bool = True) -> _Rewritten:
        """A captured graph has its mode already, and refuses to be asked."""
        return self

    def _check(self, node: fx.Node) -> None:
        reason = UNSUPPORTED.get(str(node.target))
        if reason is not None:
            raise ExportError(
                f"{self.component}: {node.target} ({node.name}) lowers for ExecuTorch but does not run: {reason}; "
                "change the network, or build for another target"
            )

    def _constants_of(self, node: fx.Node) -> dict[str, Tensor]:
        if node.target in convolution.RULES:
            weight = node.args[1]
            assert isinstance(weight, fx.Node)
            return convolution.constants(node.name, _attribute(self.captured, weight))
        if node.target in normalization.RULES:
            return normalization.constants(node)
        if node.target in resizing.RULES:
            return resizing.constants(node)
        return {}


class _Interpreter(fx.Interpreter):
    """Runs the captured graph, each operator that has a rule by its rule."""

    def __init__(self, rewritten: _Rewritten) -> None:
        super().__init__(rewritten.captured)
        self.rewritten = rewritten

    def run_node(self, n: fx.Node) -> Any:
        rule = _RULES.get(n.target)
        if n.op != "call_function" or rule is None:
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        rewritten = self.rewritten
        constants = dict(rewritten.constants.named_buffers())
        site = Site(n, constants, rewritten.attention_chunk, rewritten.component)
        result = rule(site, *args, **kwargs)
        return super().run_node(n) if result is NotImplemented else result


def _attribute(module: fx.GraphModule, node: fx.Node) -> Tensor:
    """The parameter or buffer that a get_attr node reads."""
    owner, _, name = str(node.target).rpartition(".")
    value = getattr(module.get_submodule(owner), name)
    assert isinstance(value, Tensor)
    return value


def _mutates(node: fx.Node) -> bool:
    """Whether an operator changes one of its arguments in place."""
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable
