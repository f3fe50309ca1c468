"""The whole sampler as one program: noise and conditions in, latent out. Imports JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array, ShapeDtypeStruct, lax

from gen3dexport.models.component import Euler

Velocity = Callable[[Mapping[str, Array]], Array]


def sample(velocity: Velocity, inputs: Mapping[str, Any], loop: Euler, time: ShapeDtypeStruct) -> Array:
    """The state at t = 0 from the state at t = 1 in `inputs`, as a loop over calls of the network (`Euler.calls`)."""
    calls = loop.calls
    shares, times, moves = (jnp.asarray([getattr(c, k) for c in calls], jnp.float32) for k in ("share", "time", "move"))
    picks, ends = jnp.asarray([c.negative for c in calls], jnp.int32), jnp.asarray([c.last for c in calls])
    conditions = jnp.stack([inputs[loop.cond], inputs[f"neg_{loop.cond}"]])
    rest = {k: v for k, v in inputs.items() if k not in (loop.state, loop.cond, f"neg_{loop.cond}")}

    def answer(index: Array, x: Array) -> Array:
        fed = {
            loop.state: x,
            loop.time: jnp.full(time.shape, times[index], time.dtype),
            loop.cond: lax.dynamic_index_in_dim(conditions, picks[index], keepdims=False),
        }
        return velocity({**rest, **fed})

    def call(index: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        x, v = carry
        v = v + shares[index] * answer(index, x)
        x = jnp.where(ends[index], x - moves[index] * v, x)
        return x, jnp.where(ends[index], 0.0, v)

    noise = jnp.asarray(inputs[loop.state])
    blank = jnp.zeros_like(noise)
    if not loop.remembers:
        return lax.fori_loop(0, len(calls), call, (noise, blank))[0]
    again, previous = (jnp.asarray([getattr(c, k) for c in calls], jnp.float32) for k in ("again", "previous"))
    fresh = jnp.asarray([c.fresh for c in calls])

    def remembering(index: Array, carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        x, v, difference, before = carry
        made = answer(index, x)
        v = v + shares[index] * made
        difference = jnp.where(fresh[index], made, jnp.where(picks[index] == 1, difference - made, difference))
        whole = v + again[index] * difference
        x = jnp.where(ends[index], x - moves[index] * ((1 + previous[index]) * whole - previous[index] * before), x)
        return x, jnp.where(ends[index], 0.0, v), difference, jnp.where(ends[index], whole, before)

    return lax.fori_loop(0, len(calls), remembering, (noise, blank, blank, blank))[0]
