// The interpreter of a bundle's host steps (docs/host-steps.md): operations over named values. It knows no model.

import { float32, int64, size } from './array.js';
import { BundleError, RequestError, UnsupportedError } from './errors.js';
import { callsOf, flowEuler } from './flow_euler.js';
import { heightsOf } from './height_field.js';
import { meshOfLogits } from './mesh.js';
import { Generator } from './noise.js';
import { voxelsOf } from './voxels.js';
import { WordPiece } from './wordpiece.js';

export const VERSION = 1;
const LARGEST_SEED = 2n ** 63n - 1n;

const OPERATIONS = { tokenize, noise, zeros, constant, scale, features, call, flow_euler: flow };
const RULES = { marching_cubes_lorensen: meshOfLogits, positive: voxelsOf, sinh_heights: heightsOf };

/** Refuse host steps that this package cannot follow, by the name of what it lacks, before anything runs. */
export function checkHostSteps(hostSteps) {
  if (!hostSteps) {
    throw new UnsupportedError('the bundle has no host steps: its family declares none; see docs/host-steps.md');
  }
  if (hostSteps.version !== VERSION) {
    throw new UnsupportedError(`host steps of version ${hostSteps.version}; this package follows ${VERSION}: upgrade it`);
  }
  for (const [number, step] of hostSteps.steps.entries()) {
    if (!Object.hasOwn(OPERATIONS, step.op)) throw new UnsupportedError(`step ${number}: operation ${step.op} is unknown here`);
  }
  for (const [kind, { rule }] of Object.entries(hostSteps.assets)) {
    if (!Object.hasOwn(RULES, rule)) throw new UnsupportedError(`asset ${kind}: rule ${rule} is unknown here`);
  }
  if (hostSteps.request.image) throw new UnsupportedError('the bundle is conditioned on a picture, which this package does not prepare');
}

/** How many calls of programs one asset takes. */
export function countCalls(hostSteps) {
  const calls = { call: () => 1, flow_euler: callsOf };
  return hostSteps.steps.reduce((all, step) => all + (calls[step.op]?.(step) ?? 0), 0);
}

/**
 * Follow the steps.
 *
 * @param hostSteps of a manifest, checked.
 * @param request `{prompt, seed, features}`.
 * @param host `{call(component, inputs), text(file), tokenizers?, onValue?, onWarning?, signal?}`: what runs programs and
 *   reads files; `tokenizers` is a Map that keeps what was read for the next request.
 * @returns all values by name.
 */
export async function followSteps(hostSteps, request, host) {
  const context = { hostSteps, request, host, values: {}, tokenizers: host.tokenizers ?? new Map() };
  if (hostSteps.request.seed) context.generator = new Generator(seedOf(request.seed ?? 0));
  for (const step of hostSteps.steps) {
    host.signal?.throwIfAborted();
    for (const [name, value] of Object.entries(await OPERATIONS[step.op](step, context))) {
      context.values[name] = value;
      host.onValue?.(name, value);
    }
  }
  return context.values;
}

/** The assets by kind, of the values that the steps made. */
export function makeAssets(hostSteps, values) {
  const made = Object.entries(hostSteps.assets).map(([kind, rule]) => [kind, RULES[rule.rule](values[rule.value], rule)]);
  return Object.fromEntries(made);
}

/** A seed as a bigint from 0 to 2^63 - 1. */
export function seedOf(seed) {
  let whole = null;
  try {
    whole = BigInt(seed);
  } catch {
    // told below
  }
  if (whole === null || whole < 0n || whole > LARGEST_SEED) {
    throw new RequestError(`seed: needs a whole number from 0 to ${LARGEST_SEED} (got ${seed})`);
  }
  return whole;
}

async function tokenize(step, { request, host, tokenizers }) {
  const text = step.text === 'prompt' ? request.prompt ?? '' : '';
  if (step.text === 'prompt' && !text.trim()) {
    throw new RequestError('prompt: empty; say what to make, e.g. a tall chair with four legs');
  }
  if (!tokenizers.has(step.file)) tokenizers.set(step.file, new WordPiece(await host.text(step.file)));
  const { ids: found, unknown } = tokenizers.get(step.file).encode(text);
  if (unknown.length) host.onWarning?.(`prompt: the text encoder has no token for ${unknown.join(', ')}: it reads a mark instead`);
  const { length } = step;
  let ids = found;
  if (ids.length > length) {
    const over = ids.length - length;
    if (step.overflow === 'refuse') {
      throw new RequestError(`prompt: ${ids.length - 2} tokens, and the model takes ${length - 2}; shorten it by ${over}`);
    }
    host.onWarning?.(`prompt: cut by ${over} tokens to the model's ${length - 2}`);
    ids = [...ids.slice(0, length - 1), ids.at(-1)];
  }
  const filler = step.fill === 'end' ? ids.at(-1) : 0;
  const filled = Array.from({ length }, (_, k) => BigInt(ids[k] ?? filler));
  const made = { [step.ids]: int64([1, length], BigInt64Array.from(filled)) };
  if (step.mask) {
    const mask = Array.from({ length }, (_, k) => (k < ids.length ? 1n : 0n));
    made[step.mask] = int64([1, length], BigInt64Array.from(mask));
  }
  return made;
}

function noise(step, { generator }) {
  if (step.generator !== 'pcg64-ziggurat-float32') throw new UnsupportedError(`noise: generator ${step.generator} is unknown here`);
  return { [step.output]: float32(step.shape, generator.standardNormal(size(step.shape))) };
}

function zeros(step) {
  return { [step.output]: float32(step.shape) };
}

function constant(step) {
  return { [step.output]: float32(step.shape, Float32Array.from(step.numbers)) };
}

function scale(step, { values }) {
  const { shape, data } = values[step.value];
  const factor = Math.fround(step.factor);
  return { [step.output]: float32(shape, data.map((x) => factor * x)) };
}

function features(step, { hostSteps, request }) {
  const shape = hostSteps.request.features;
  if (request.features?.length !== size(shape)) {
    throw new RequestError(`features: ${request.features?.length ?? 0} numbers, and the model takes ${shape.join(' x ')}`);
  }
  const one = shape.slice(-2);
  const start = (step.row ?? 0) * size(one);
  return { [step.output]: float32([1, ...one], Float32Array.from(request.features.slice(start, start + size(one)))) };
}

async function call(step, { host, values }) {
  const inputs = Object.fromEntries(Object.entries(step.inputs).map(([input, name]) => [input, values[name]]));
  const outputs = await host.call(step.component, inputs);
  return Object.fromEntries(
    Object.entries(step.outputs).map(([output, name]) => {
      if (!outputs[output]) throw new BundleError(`program of ${step.component}: gives no output ${output}`);
      return [name, outputs[output]];
    }),
  );
}

async function flow(step, { host, values }) {
  return { [step.output]: await flowEuler(step, values, (inputs) => host.call(step.component, inputs)) };
}
