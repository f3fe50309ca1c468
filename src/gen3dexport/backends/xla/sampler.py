"""The whole sampler as one program: noise and conditions in, latent out. Imports JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, ShapeDtypeStruct, lax

from gen3dexport.models.component import Euler

Velocity = Callable[[Mapping[str, Array]], Array]


def sampler_inputs(inputs: Mapping[str, ShapeDtypeStruct], loop: Euler) -> dict[str, ShapeDtypeStruct]:
    """The sampler's inputs: the component's without the time, and `neg_` + condition beside the condition."""
    kept = {name: spec for name, spec in inputs.items() if name != loop.time}
    return kept | {f"neg_{loop.cond}": inputs[loop.cond]}


def sample(velocity: Velocity, inputs: Mapping[str, Any], loop: Euler, time: ShapeDtypeStruct) -> Array:
    """The state at t = 0 from the state at t = 1 in `inputs`.

    The loop runs over calls of the network, not steps: a guided step is two calls, any other one. So the program holds
    the network once (half the compile time of a conditional with the network in both places), and no step pays for
    guidance that it does not use. Each call adds its share to the velocity, c * f(cond) or -(c - 1) * f(neg_cond), and
    a step's last call moves the state: x <- x - dt * v.
    """
    table = _calls(loop)
    shares, times, moves = (jnp.asarray(table[name], jnp.float32) for name in ("share", "time", "move"))
    picks, ends = jnp.asarray(table["pick"], jnp.int32), jnp.asarray(table["end"], bool)
    conditions = jnp.stack([inputs[loop.cond], inputs[f"neg_{loop.cond}"]])
    rest = {k: v for k, v in inputs.items() if k not in (loop.state, loop.cond, f"neg_{loop.cond}")}

    def call(index: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        x, v = carry
        fed = {
            loop.state: x,
            loop.time: jnp.full(time.shape, times[index], time.dtype),
            loop.cond: lax.dynamic_index_in_dim(conditions, picks[index], keepdims=False),
        }
        v = v + shares[index] * velocity({**rest, **fed})
        x = jnp.where(ends[index], x - moves[index] * v, x)
        return x, jnp.where(ends[index], 0.0, v)

    noise = jnp.asarray(inputs[loop.state])
    return lax.fori_loop(0, len(table["time"]), call, (noise, jnp.zeros_like(noise)))[0]


def calls(loop: Euler) -> int:
    """How often the sampler calls the network."""
    return len(_calls(loop)["time"])


def _calls(loop: Euler) -> dict[str, list[float]]:
    table: dict[str, list[float]] = {"time": [], "share": [], "pick": [], "move": [], "end": []}
    for time, dt, weight in zip(loop.timesteps, loop.dts, loop.guidance, strict=True):
        guided = not np.isclose(weight, 1.0, rtol=0, atol=1e-12)
        rows = [(weight, 0, not guided), (1 - weight, 1, True)] if guided else [(1.0, 0, True)]
        for share, pick, end in rows:
            for key, value in (("time", time), ("share", share), ("pick", pick), ("move", dt), ("end", end)):
                table[key].append(value)
    return table
