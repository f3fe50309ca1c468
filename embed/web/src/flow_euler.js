// A flow's sampler loop with guidance, in the float32 arithmetic of NumPy: every operation is rounded.
//
// Source: Lipman et al. 2022, "Flow Matching for Generative Modeling".

import { concat, float32, row } from './array.js';

const f = Math.fround;

/** How many calls of its program a `flow_euler` step makes. */
export const callsOf = (step) =>
  step.steps.reduce((all, one) => all + (step.batch === 2 || one.weight === 1 ? 1 : 2), 0);

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
  for (const { time, dt, weight } of step.steps) {
    let v;
    if (step.batch === 2) {
      // A step without guidance fills the batch with a copy of its one branch.
      const both = await velocity(time, joined(conditional, weight === 1 ? conditional : unconditional));
      v = weight === 1 ? row(both, 0) : guided(row(both, 0), row(both, 1), weight);
    } else {
      v = await velocity(time, conditional);
      if (weight !== 1) v = guided(v, await velocity(time, unconditional), weight);
    }
    const moved = new Float32Array(x.data.length);
    const d = f(dt);
    for (let k = 0; k < moved.length; k++) moved[k] = x.data[k] - f(d * v.data[k]);
    x = float32(x.shape, moved);
  }
  return x;
}

/** weight * conditional - (weight - 1) * unconditional. */
function guided(conditional, unconditional, weight) {
  const [w, less] = [f(weight), f(weight - 1)];
  const data = new Float32Array(conditional.data.length);
  for (let k = 0; k < data.length; k++) data[k] = f(w * conditional.data[k]) - f(less * unconditional.data[k]);
  return float32(conditional.shape, data);
}
