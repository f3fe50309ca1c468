// A flow's sampler loop with guidance, in the float32 arithmetic of NumPy: every operation is rounded.
//
// Source: Lipman et al. 2022, "Flow Matching for Generative Modeling".

import { concat, float32, row } from './array.js';

const f = Math.fround;

/** How many calls of its program a `flow_euler` step makes. */
export const callsOf = (step) =>
  step.steps.reduce((all, one) => all + (step.batch === 2 || one.weight === 1 || one.reuse ? 1 : 2), 0);

/**
 * x after the last step.
 *
 * @param step the operation; @param values all values so far, by name.
 * @param call (inputs by name) -> outputs by name: one call of the component's program.
 */
export async function flowEuler(step, values, call) {
  const named = (names) => Object.fromEntries(Object.entries(names).map(([input, value]) => [input, values[value]]));
  const shared = named(step.inputs ?? {});
  const branches = { conditional: named(step.conditional), unconditional: named(step.unconditional) };
  const noise = values[step.noise];
  let x = float32(noise.shape, Float32Array.from(noise.data));

  const velocity = async (time, condition) => {
    const batch = step.batch === 2;
    const inputs = {
      ...shared,
      ...condition,
      [step.latent_input]: batch ? concat([x, x], 0) : x,
      [step.time_input]: float32([batch ? 2 : 1], new Float32Array(batch ? 2 : 1).fill(time)),
    };
    return (await call(inputs))[step.velocity_output];
  };
  const joined = (one, other) =>
    Object.fromEntries(Object.entries(step.join).map(([input, axis]) => [input, concat([one[input], other[input]], axis)]));

  const { conditional, unconditional } = branches;
  let difference; // of the branches
  let before; // velocity of the step before
  for (const { time, dt, weight, reuse = false, previous = 0 } of step.steps) {
    const alone = weight === 1 || reuse;
    let v, other;
    if (step.batch === 2) {
      // A step that calls one branch fills the batch with a copy of it.
      const both = await velocity(time, joined(conditional, alone ? conditional : unconditional));
      [v, other] = [row(both, 0), row(both, 1)];
    } else {
      v = await velocity(time, conditional);
      if (!alone) other = await velocity(time, unconditional);
    }
    if (!alone) {
      difference = combined(1, v, 1, other);
      v = combined(weight, v, weight - 1, other);
    } else if (reuse) {
      v = combined(1, v, 1 - weight, difference);
    }
    const direction = previous === 0 ? v : combined(1 + previous, v, previous, before);
    x = combined(1, x, dt, direction);
    before = v;
  }
  return x;
}

/** a * x - b * y, every operation rounded. */
function combined(a, x, b, y) {
  const [p, q] = [f(a), f(b)];
  const data = new Float32Array(x.data.length);
  for (let k = 0; k < data.length; k++) data[k] = f(p * x.data[k]) - f(q * y.data[k]);
  return float32(x.shape, data);
}
