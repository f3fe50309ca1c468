"""The Pallas kernels in Pallas's interpreter for TPU: against their formulas, and in the networks that take them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch
from lowering import relative_l2
from torch import Tensor, nn

os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax = pytest.importorskip("jax")
pytest.importorskip("torchax")

import jax.numpy as jnp  # noqa: E402
from jax.experimental.pallas.tpu import force_tpu_interpret_mode  # noqa: E402

from gen3dexport.backends import xla  # noqa: E402
from gen3dexport.backends.xla.attention_kernel import Heads, attention  # noqa: E402
from gen3dexport.backends.xla.capture import Lowerings  # noqa: E402
from gen3dexport.backends.xla.fuse import Kernels  # noqa: E402
from gen3dexport.backends.xla.int8_kernel import int8_linear  # noqa: E402
from gen3dexport.backends.xla.network import network  # noqa: E402
from gen3dexport.backends.xla.operators import einsum_attention, lowerings  # noqa: E402
from gen3dexport.backends.xla.rows import Layer, RowOperation, apply  # noqa: E402
from gen3dexport.backends.xla.weights import dtype_of  # noqa: E402
from gen3dexport.export import Captured  # noqa: E402
from gen3dexport.models.component import Component  # noqa: E402
from gen3dexport.models.trellis.networks.structure import ModulatedCrossBlock, set_linear_dtype  # noqa: E402

WIDTH, TOKENS, CONTEXT = 128, 100, 70


@pytest.mark.parametrize(
    ("queries", "keys", "count", "width", "normed", "masked"),
    [
        (128, 128, 4, 32, False, False),
        (200, 300, 2, 64, True, False),
        (130, 343, 1, 128, True, True),
        (40, 4200, 2, 64, True, True),  # keys in several blocks
    ],
)
def test_attention_kernel_equals_einsum(
    queries: int, keys: int, count: int, width: int, normed: bool, masked: bool
) -> None:
    """The kernel in Pallas's interpreter for TPU: heads from columns of one array, padded queries and keys."""
    columns, random = count * width, jax.random.normal
    q = random(jax.random.key(0), (2, queries, columns + 128))  # its heads start at column 128
    kv = random(jax.random.key(1), (2, keys, 2 * columns))
    gammas = random(jax.random.key(2), (2, count, width)) if normed else None
    mask = jnp.where(random(jax.random.key(3), (2, keys)) > 0, 0.0, -3e4) if masked else None
    if mask is not None and keys > 4096:
        mask = mask.at[:, : keys * 2 // 3].set(-jnp.inf)  # nothing to attend to in a whole block of keys

    def heads(x: Any, gamma: Any) -> Any:
        x = jnp.swapaxes(x.reshape(2, -1, count, width), 1, 2)
        return x if gamma is None else x / jnp.linalg.norm(x, axis=-1, keepdims=True) * gamma[:, None]

    places = (Heads(count, width, 128), Heads(count, width), Heads(count, width, columns))
    factors = (None, None) if gammas is None else ((gammas[0] / 2, 2.0), (Layer(gammas, jnp.int32(1)), 1.0))
    with force_tpu_interpret_mode():
        found = attention(q, kv, kv, places, width**-0.5, *factors, None if mask is None else mask[:, None])
    own = (None, None) if gammas is None else gammas
    with jax.default_matmul_precision("highest"):
        expected = einsum_attention(
            heads(q[..., 128:], own[0]),
            heads(kv[..., :columns], own[1]),
            heads(kv[..., columns:], None),
            None if mask is None else mask[:, None, None],
        )
    assert relative_l2(found, np.asarray(jnp.swapaxes(expected, 1, 2).reshape(2, queries, columns))) < 2e-6


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 128, 256), (70, 256, 640), (300, 128, 1024)])
def test_int8_kernel_equals_its_formula(rows: int, inputs: int, outputs: int) -> None:
    """Norm, modulation, product, activation, gate and residual, with weights of the second block of two."""
    random = jax.random.normal
    x = random(jax.random.key(0), (rows, inputs))
    weight = jax.random.randint(jax.random.key(1), (2, outputs, inputs), -127, 128).astype(jnp.int8)
    scale = jnp.abs(random(jax.random.key(2), (2, outputs))) * 0.01
    read = (random(jax.random.key(3), (1, inputs)), random(jax.random.key(4), (inputs,)))
    beside = tuple(random(jax.random.key(5 + i), (outputs,) if i < 2 else (rows, outputs)) for i in range(3))
    before = (RowOperation("norm", 1e-6), RowOperation("multiply", takes=True), RowOperation("add", takes=True))
    after = (
        RowOperation("add", takes=True),
        RowOperation("gelu_erf" if rows == 1 else "gelu_tanh"),
        RowOperation("multiply", takes=True),
        RowOperation("add", takes=True),
    )
    block = jnp.int32(1)
    with force_tpu_interpret_mode():
        found = int8_linear(x, Layer(weight, block), Layer(scale, block), before, read, after, beside)
    value = apply(before, x, read)
    largest = jnp.abs(value).max(-1, keepdims=True)
    product = np.asarray(jnp.round(value * (127 / largest)), np.float64) @ np.asarray(weight[1], np.float64).T
    expected = apply(after, jnp.asarray(product, jnp.float32) * (largest / 127) * scale[1], beside)
    assert relative_l2(found, np.asarray(expected)) < 1e-6


class Blocks(nn.Module):
    """Two blocks of a flow: tokens, what modulates them, context, a mask of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.dtype = torch.float32
        self.blocks = nn.ModuleList(ModulatedCrossBlock(WIDTH, WIDTH, 2, 4, True, False) for _ in range(2))

    def set_block_dtype(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        set_linear_dtype(self.blocks, dtype)

    def before(self, x: Tensor, m: Tensor, context: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        return x.to(self.dtype), m.to(self.dtype), context.to(self.dtype), mask.to(self.dtype)

    def after(self, h: Tensor) -> Tensor:
        return h.float()

    def forward(self, x: Tensor, m: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        h, *shared = self.before(x, m, context, mask)
        for block in self.blocks:
            h = block(h, *shared)
        return self.after(h)


def blocks() -> Component:
    """`Blocks` with random weights and gammas, ten tokens masked."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Blocks().eval()
        for name, parameter in module.named_parameters():
            if "gamma" in name or "norm2" in name:
                parameter.data = torch.rand_like(parameter) + 0.5
        inputs = {
            "x": torch.randn(1, TOKENS, WIDTH),
            "m": torch.randn(1, WIDTH),
            "context": torch.randn(1, CONTEXT, WIDTH),
            "mask": torch.where(torch.arange(TOKENS) < TOKENS - 10, 0.0, -3e4)[None, None, None],
        }
    return Component("blocks", module, inputs, ("h",), stack="blocks")


@pytest.mark.parametrize(
    ("scheme", "bound"),
    # Kernels round less often than the operators they replace: in bfloat16 both are about as far from float32.
    [("fp32", 1e-5), ("bf16", 6e-3), ("int8-dynamic", 1.2e-2)],
)
def test_a_block_with_kernels_computes_what_it_did(scheme: str, bound: float) -> None:
    made = blocks()
    expected = made.run()["h"].numpy()
    made = xla.quantize(made, scheme, xla.Options())
    whole = network(Captured(made))
    state = {
        key: jnp.stack([as_jax(t) for t in source]) if isinstance(source, tuple) else as_jax(source)
        for key, source in whole.sources.items()
    }
    inputs = [v.numpy() for v in made.inputs.values()]
    kernels = Kernels(min_keys=64)
    with jax.default_matmul_precision("highest"):
        plain = jax.jit(lambda s: whole.call(s, inputs, Lowerings(lowerings()))[0])(state)
        with force_tpu_interpret_mode():
            taken = jax.jit(lambda s: whole.call(s, inputs, Lowerings(lowerings(), kernels))[0])(state)
    assert relative_l2(taken, np.asarray(plain)) < bound
    assert relative_l2(taken, expected) < 1.1 * relative_l2(plain, expected) + 1e-6
    shapes = [{"batch": 1, "heads": 2, "queries": TOKENS, "keys": n, "width": 64} for n in (TOKENS, CONTEXT)]
    assert kernels.used["attention"] == shapes
    modulated, normed = ["norm", "multiply", "add"], ["norm", "multiply", "add"]
    residual = ["add", "multiply", "add"]
    steps = {
        "modulation": ([], ["add"]),
        "qkv": (modulated, ["add"]),
        "out": ([], residual),
        "q": (normed, ["add"]),
        "kv": ([], ["add"]),
        "cross out": ([], ["add", "add"]),
        "up": (modulated, ["add", "gelu_tanh"]),
        "down": ([], residual),
    }
    found = [(call["before"], call["after"]) for call in kernels.used.get("int8_linear", [])]
    assert found == (list(steps.values()) if scheme == "int8-dynamic" else [])


def as_jax(tensor: Tensor) -> Any:
    """`tensor` as a JAX array, bfloat16 too."""
    return jnp.asarray(tensor.detach().float().numpy(), dtype_of(tensor))


class Odd(nn.Module):
    """Attention whose heads fill no whole block of 128 columns, over values that no projection wrote."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(q, k * 2, v)


def test_heads_of_any_width_are_laid_out_for_the_kernel() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inputs = {name: torch.randn(1, 3, n, 40) for name, n in (("q", 20), ("k", 65), ("v", 65))}
    made = Component("odd", Odd().eval(), inputs, ("h",))
    assert_one_kernel_computes(made)


def assert_one_kernel_computes(made: Component) -> None:
    """An attention without weights goes into the kernel, and comes out as in eager."""
    whole, kernels = network(Captured(made)), Kernels(min_keys=64)
    with force_tpu_interpret_mode():
        found = whole.call({}, [v.numpy() for v in made.inputs.values()], Lowerings(lowerings(), kernels))[0]
    assert relative_l2(found, made.run()["h"].numpy()) < 2e-6
    assert len(kernels.used["attention"]) == 1


class Causal(nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


class Masked(nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(q, k, v, mask)


@pytest.mark.parametrize("kind", ["bool", "per query", "per query and batch"])
def test_masks_per_query_go_into_the_kernel(kind: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inputs = {name: torch.randn(2, 2, 70, 64) for name in "qkv"}
        seen = torch.rand(2 if "batch" in kind else 1, 1, 70, 70) > 0.5
    inputs["mask"] = seen if kind == "bool" else torch.where(seen, 0.0, -3e4)
    assert_one_kernel_computes(Component("masked", Masked().eval(), inputs, ("h",)))


@pytest.mark.parametrize("what", ["causal", "mask per head", "few keys", "wide heads"])
def test_what_the_attention_kernel_does_not_take_stays_with_xla(what: str) -> None:
    width, keys = 192 if what == "wide heads" else 64, 65
    inputs = {name: torch.rand(1, 2, keys, width) for name in "qkv"}
    module: nn.Module = Causal() if what == "causal" else Odd()
    if what == "mask per head":
        module, inputs["mask"] = Masked(), torch.zeros(1, 2, keys, keys)
    made = Component("odd", module.eval(), inputs, ("h",))
    kernels = Kernels(min_keys=66 if what == "few keys" else 64)
    found = network(Captured(made)).call({}, [v.numpy() for v in inputs.values()], Lowerings(lowerings(), kernels))[0]
    assert kernels.used == {} and relative_l2(found, made.run()["h"].numpy()) < 1e-5


class Shared(nn.Module):
    """An activation, a gate and a sum that two readers share: nothing that is read twice may go into a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(128, 128), nn.Linear(128, 256), nn.Linear(256, 128)])

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        first = self.blocks[0](x)
        h = first * gate
        up = self.blocks[1](nn.functional.layer_norm(h, (128,)))
        out = self.blocks[2](nn.functional.silu(up))  # not a form that the kernel has
        return out * 0.5 + first + h + up.mean()


def test_values_with_two_readers_and_other_activations_stay_outside() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inputs = {"x": torch.randn(1, 40, 128), "gate": torch.randn(128)}
        made = Component("shared", Shared().eval(), inputs, ("h",))
    made = xla.quantize(made, "int8-dynamic", xla.Options())
    whole, kernels = network(Captured(made)), Kernels(min_keys=64)
    state = {key: as_jax(source) for key, source in whole.sources.items() if isinstance(source, Tensor)}
    arrays = [v.numpy() for v in inputs.values()]
    plain = whole.call(state, arrays, Lowerings(lowerings()))[0]
    with force_tpu_interpret_mode():
        found = whole.call(state, arrays, Lowerings(lowerings(), kernels))[0]
    assert relative_l2(found, np.asarray(plain)) < 1e-2
    steps = [(call["before"], call["after"]) for call in kernels.used["int8_linear"]]
    assert steps == [([], ["add"]), (["norm"], ["add"]), ([], ["add", "multiply", "add", "add"])]
