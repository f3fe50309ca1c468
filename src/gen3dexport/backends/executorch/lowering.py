"""From an exported program to an edge program with XNNPACK delegates, and from there to a .pte file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from gen3dexport.backends.executorch.linear_build import linear_build
from gen3dexport.backends.executorch.partitioner import partitioner
from gen3dexport.backends.executorch.rewriting import rewrite
from gen3dexport.errors import ExportError


def to_edge(program: ExportedProgram, attention_chunk: int, name: str) -> ExportedProgram:
    """`program` rewritten, with what XNNPACK takes inside delegates.

    One partitioner takes float and dynamically quantized operators together: a transformer becomes one delegate, where
    the documented order (dynamically quantized first) cuts it at every linear layer.

    Raises:
        ExportError: when ExecuTorch refuses the program.
    """
    return partition(rewrite(program, attention_chunk, name), name)


def partition(program: ExportedProgram, name: str) -> ExportedProgram:
    """`program` in the edge dialect, with delegates; see `to_edge`."""
    from executorch.backends.xnnpack.utils.configs import get_xnnpack_edge_compile_config
    from executorch.exir import to_edge_transform_and_lower

    with _quiet(), linear_build(), _errors(name):
        manager = to_edge_transform_and_lower(
            program, partitioner=[partitioner()], compile_config=get_xnnpack_edge_compile_config()
        )
    return manager.exported_program()  # type: ignore[no-any-return]


def delegates(edge: ExportedProgram) -> dict[str, Any]:
    """The lowered modules of an edge program, by attribute name, in the order of their calls."""
    from executorch.exir.delegate import executorch_call_delegate

    calls = [n for n in edge.graph.nodes if n.op == "call_function" and n.target is executorch_call_delegate]
    return {str(n.args[0].target): getattr(edge.graph_module, n.args[0].target) for n in calls}


def write(edge: ExportedProgram, path: Path, name: str) -> Any:
    """The .pte of an edge program, as a file; returns the program's flatbuffer in its Python form.

    Raises:
        ExportError: when ExecuTorch refuses the program.
    """
    from executorch.exir import EdgeCompileConfig, EdgeProgramManager

    for attribute, module in delegates(edge).items():
        setattr(edge.graph_module, attribute, outlined(module))
    with _quiet(), linear_build(), _errors(name):
        manager = EdgeProgramManager(edge, compile_config=EdgeCompileConfig(_check_ir_validity=False)).to_executorch()
    with path.open("wb") as file:
        manager.write_to_file(file)
    return manager.executorch_program


def outlined(module: Any, processed: bytes | None = None, data: Any = None) -> Any:
    """A lowered module without its source, and optionally with another payload and other named data.

    Each of ExecuTorch's thirty passes after lowering runs the source of every delegate to learn the shapes of its
    outputs. The outline has the shapes only.
    """
    from executorch.exir.lowered_backend_module import LoweredBackendModule

    source = module.original_module
    inputs = [
        n.meta["val"]
        for n in source.graph.nodes
        if n.op == "placeholder" and n.name in source.graph_signature.user_inputs
    ]
    outputs = [n.meta["val"] for n in source.graph.output_node().args[0]]
    examples = tuple(torch.empty(tuple(v.shape), dtype=v.dtype) for v in inputs)
    outline = torch.export.export(_Outline([(tuple(v.shape), v.dtype) for v in outputs]), examples, strict=False)
    lowered = LoweredBackendModule(
        edge_program=outline,
        backend_id=module.backend_id,
        processed_bytes=module.processed_bytes if processed is None else processed,
        compile_specs=module.compile_specs,
        named_data_store_output=module.named_data_store_output if data is None else data,
    )
    lowered.meta = dict(module.meta or {})
    return lowered


class _Outline(nn.Module):
    """Outputs of the given shapes and dtypes, whatever comes in."""

    def __init__(self, outputs: list[tuple[tuple[int, ...], torch.dtype]]) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        return [torch.empty(shape, dtype=dtype) for shape, dtype in self.outputs]


@contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # ExecuTorch raises many types; the cause is kept
        raise ExportError(f"{name}: ExecuTorch refused it: {type(error).__name__}: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the vendor's notes on every node that it leaves out; the delegation report says what counts."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
