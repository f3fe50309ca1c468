"""Depth is data: one block is lowered, and stamped once for each block of the stack with that block's weights.

How it is known that a stamped block is what lowering it would have given: the block is lowered twice, with two sets of
random weights. A stamp is made only if the two results differ in nothing but constants that are copies of a weight, and
if every weight that differs between the blocks is among them. Anything else (a weight folded into another constant, or
one that shaped the graph) makes `stamp` return None, and the whole graph is lowered instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from gen3dexport.backends.executorch.delegation import Delegation, count
from gen3dexport.backends.executorch.joining import Part, join
from gen3dexport.backends.executorch.lowering import delegates, outlined, partition, to_edge
from gen3dexport.backends.executorch.rewriting import CAPTURED, rewrite
from gen3dexport.export import Stack


@dataclass(frozen=True)
class _Source:
    """A constant that is a copy of a weight, possibly transposed."""

    weight: str
    transposed: bool


def stamp(stack: Stack, attention_chunk: int, name: str) -> tuple[ExportedProgram, Delegation] | None:
    """The network of `stack` as one edge program and its delegation; None when its block cannot be stamped.

    Raises:
        ExportError: when ExecuTorch refuses one of the parts.
    """
    weights = [dict(_plain(block)) for block in stack.weights]
    varying = [k for k in weights[0] if any(not torch.equal(weights[0][k], w[k]) for w in weights[1:])]
    program = rewrite(stack.block, attention_chunk, f"{name}.block").run_decompositions({})
    if not varying or any(k not in program.state_dict for k in varying):
        return None
    probes = [_probe({k: weights[0][k] for k in varying}, seed) for seed in (1, 2)]
    lowered = [partition(_with_weights(program, probe), f"{name}.block") for probe in probes]
    sources = [_sources(probe) for probe in probes]
    if _skeleton(lowered[0], probes[0], sources[0]) != _skeleton(lowered[1], probes[1], sources[1]):
        return None
    block, source = lowered[0], sources[0]
    kept = [k for k in varying if k in _read_outside(block)]
    used = {source[d].weight for m in delegates(block).values() for d in _digests(m).values() if d in source}
    if used | set(kept) != set(varying) or any(not torch.equal(block.state_dict[k], probes[0][k]) for k in kept):
        return None
    before = to_edge(stack.before, attention_chunk, f"{name}.before")
    after = to_edge(stack.after, attention_chunk, f"{name}.after")
    delegation = count(before).add(count(block), len(weights)).add(count(after))
    parts = [Part(before, delegates(before))]
    for block_weights in weights:
        modules = {k: _stamped(m, source, block_weights) for k, m in delegates(block).items()}
        parts.append(Part(block, modules, {k: block_weights[k] for k in kept}))
    return join([*parts, Part(after, delegates(after))]), delegation


def _read_outside(edge: ExportedProgram) -> set[str]:
    """Names of the weights that operators outside delegates, or delegates as inputs, read."""
    signature = edge.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    return {names[n.name] for n in edge.graph.nodes if n.op == "placeholder" and n.name in names and n.users}


def _plain(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The weights of a block by the names they have in its program, torchao's tensors taken apart as torch does."""
    for name, tensor in state.items():
        if hasattr(tensor, "__tensor_flatten__"):
            owner, _, leaf = name.rpartition(".")
            stem = f"{owner}.parametrizations.{leaf}" if owner else f"parametrizations.{leaf}"
            for index, attribute in enumerate(tensor.__tensor_flatten__()[0]):
                yield f"{CAPTURED}{stem}.original{index}", getattr(tensor, attribute).detach()
        else:
            yield f"{CAPTURED}{name}", tensor.detach()


def _probe(like: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Random tensors of the same names, shapes and dtypes, integers in the range that they have (int4 in bytes)."""
    generator = torch.Generator().manual_seed(seed)
    probe = {}
    for name, tensor in like.items():
        if tensor.is_floating_point():
            probe[name] = (torch.rand(tensor.shape, generator=generator) + 0.5).to(tensor.dtype)
        else:
            least, most = int(tensor.min()), int(tensor.max())
            probe[name] = torch.randint(least, most + 1, tensor.shape, generator=generator, dtype=tensor.dtype)
    return probe


def _with_weights(program: ExportedProgram, probe: Mapping[str, Tensor]) -> ExportedProgram:
    state = dict(program.state_dict)
    for name, tensor in probe.items():
        is_parameter = isinstance(state[name], nn.Parameter)
        state[name] = nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor
    return ExportedProgram(
        root=program.graph_module,
        graph=program.graph,
        graph_signature=program.graph_signature,
        state_dict=state,
        range_constraints=program.range_constraints,
        module_call_graph=program.module_call_graph,
        example_inputs=program.example_inputs,
        constants=program.constants,
        verifiers=[program.verifier],
    )


def _sources(probe: Mapping[str, Tensor]) -> dict[str, _Source]:
    """Digest of every form in which a weight can be a constant -> the weight; digests of two weights are left out."""
    found: dict[str, _Source] = {}
    twice = set()
    for name, tensor in probe.items():
        for transposed in (False, True) if tensor.dim() == 2 else (False,):
            digest = hashlib.sha256(_bytes(tensor, transposed)).hexdigest()
            if digest in found and found[digest].weight != name:
                twice.add(digest)
            found.setdefault(digest, _Source(name, transposed))
    return {k: v for k, v in found.items() if k not in twice}


def _skeleton(edge: ExportedProgram, probe: Mapping[str, Tensor], sources: Mapping[str, _Source]) -> tuple[object, ...]:
    """All that a lowered block is, with the name of a weight where a copy of it stands."""
    payloads = []
    for module in delegates(edge).values():
        payload = module.processed_bytes
        for digest in _digests(module).values():
            if digest in sources:
                source = hashlib.sha256(repr(sources[digest]).encode()).hexdigest()
                payload = payload.replace(digest.encode(), source.encode())
        payloads.append(payload)
    outside = {k: _bytes(v) for k, v in (*edge.state_dict.items(), *edge.constants.items()) if k not in probe}
    return str(edge.graph), sorted(edge.state_dict), outside, payloads


def _digests(module: object) -> dict[str, str]:
    """Key -> SHA-256 of the data, for a delegate's named constants. XNNPACK's keys contain this digest."""
    data = module.named_data_store_output  # type: ignore[attr-defined]
    found = {k: hashlib.sha256(data.buffers[e.buffer_index]).hexdigest() for k, e in data.pte_data.items()}
    if data.external_data or any(digest not in key for key, digest in found.items()):
        raise AssertionError(f"constants of an XNNPACK delegate are no longer named by their digest: {list(found)[:3]}")
    return found


def _stamped(module: object, sources: Mapping[str, _Source], weights: Mapping[str, Tensor]) -> object:
    """A lowered module with the constants of another block."""
    from executorch.exir._serialize._named_data_store import NamedDataStore

    store, payload = NamedDataStore(), module.processed_bytes  # type: ignore[attr-defined]
    data = module.named_data_store_output  # type: ignore[attr-defined]
    for key, digest in _digests(module).items():
        entry = data.pte_data[key]
        content = data.buffers[entry.buffer_index]
        if digest in sources:
            content = _bytes(weights[sources[digest].weight], sources[digest].transposed)
            new = hashlib.sha256(content).hexdigest()
            payload, key = payload.replace(digest.encode(), new.encode()), key.replace(digest, new)
        store.add_named_data(key, content, entry.alignment)
    return outlined(module, payload, store.get_named_data_store_output())


def _bytes(tensor: Tensor, transposed: bool = False) -> bytes:
    value = (tensor.t() if transposed else tensor).detach().contiguous()
    return value.reshape(-1).view(torch.uint8).numpy().tobytes()
