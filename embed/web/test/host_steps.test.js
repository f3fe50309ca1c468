import assert from 'node:assert/strict';
import test from 'node:test';

import { checkHostSteps, followSteps, makeAssets } from '../src/index.js';
import { countCalls } from '../src/host_steps.js';

const REQUEST = { prompt: false, image: false, seed: true, features: null };
const noise = { op: 'noise', generator: 'pcg64-ziggurat-float32', shape: [1, 2, 2, 2], output: 'noise' };
const flow = {
  op: 'flow_euler', component: 'flow', noise: 'noise', latent_input: 'x', time_input: 't', velocity_output: 'v', batch: 1,
  inputs: {}, conditional: { cond: 'cond' }, unconditional: { cond: 'neg_cond' }, join: {}, output: 'z', sampler: null,
  steps: [{ time: 1000, dt: 0.4, weight: 3 }, { time: 600, dt: 0.6, weight: 1 }],
}; // prettier-ignore
const STEPS = {
  version: 1,
  request: { ...REQUEST, features: [2, 1, 1] },
  steps: [
    noise,
    { op: 'features', row: 0, output: 'cond' },
    { op: 'features', row: 1, output: 'neg_cond' },
    flow,
    { op: 'call', component: 'decoder', inputs: { z: 'z' }, outputs: { logits: 'logits' } },
  ],
  assets: { mesh: { rule: 'marching_cubes_lorensen', value: 'logits', level: 0 }, voxels: { rule: 'positive', value: 'logits' } },
};

// A flow whose velocity is cond + t / 1000 in every row, and a decoder that passes on.
const programs = (calls) => async (component, inputs) => {
  calls.push([component, inputs]);
  if (component === 'decoder') return { logits: inputs.z };
  const { x, t, cond } = inputs;
  const rows = x.shape[0];
  const data = x.data.map((_, k) => {
    const row = Math.floor((k * rows) / x.data.length);
    return cond.data[row] + t.data[row] / 1000;
  });
  return { v: { type: 'float32', shape: x.shape, data } };
};

test('a sampler walks by guidance, in float32', async () => {
  const calls = [];
  checkHostSteps(STEPS);
  const values = await followSteps(STEPS, { seed: 3, features: [2, 5] }, { call: programs(calls) });
  assert.equal(calls.length, countCalls(STEPS));
  assert.equal(calls.length, 4); // guided: two; alone: one; the decoder
  const f = Math.fround;
  const v1 = f(f(3 * f(2 + 1)) - f(2 * f(5 + 1)));
  const v2 = f(2 + f(f(600) / 1000));
  values.noise.data.forEach((x, k) => {
    assert.equal(values.z.data[k], f(f(x - f(f(0.4) * v1)) - f(f(0.6) * v2)));
  });
  assert.deepEqual(Array.from(calls[0][1].t.data), [1000]);
  const { voxels } = makeAssets(STEPS, values);
  assert.equal(voxels.count, values.logits.data.filter((x) => x > 0).length);
});

test('a step may reuse the difference of the branches, and the velocity before', async () => {
  const steps = [
    { time: 1000, dt: 0.4, weight: 3 },
    { time: 600, dt: 0.35, weight: 3, reuse: true, previous: 0.25 },
    { time: 250, dt: 0.25, weight: 1, previous: 0.5 },
  ];
  const some = { ...STEPS, steps: STEPS.steps.map((step) => (step === flow ? { ...flow, steps } : step)) };
  const calls = [];
  const values = await followSteps(some, { seed: 3, features: [2, 5] }, { call: programs(calls) });
  assert.equal(calls.length, countCalls(some));
  assert.equal(calls.length, 5); // two, one, one; the decoder
  const f = Math.fround;
  const v1 = f(f(3 * 3) - f(2 * 6));
  const v2 = f(f(2 + f(f(600) / 1000)) + f(2 * -3));
  const v3 = f(2 + f(f(250) / 1000));
  const direction2 = f(f(f(1.25) * v2) - f(f(0.25) * v1));
  const direction3 = f(f(f(1.5) * v3) - f(f(0.5) * v2));
  values.noise.data.forEach((x, k) => {
    const moved = f(f(x - f(f(0.4) * v1)) - f(f(0.35) * direction2));
    assert.equal(values.z.data[k], f(moved - f(f(0.25) * direction3)));
  });
});

test('both branches in one call give the same', async () => {
  const joined = { ...flow, batch: 2, join: { cond: 0 } };
  const both = { ...STEPS, steps: STEPS.steps.map((step) => (step === flow ? joined : step)) };
  const calls = [];
  const [one, two] = await Promise.all(
    [STEPS, both].map((steps) => followSteps(steps, { seed: 3, features: [2, 5] }, { call: programs(steps === both ? calls : []) })),
  );
  assert.deepEqual(two.z.data, one.z.data);
  assert.equal(calls.length, countCalls(both));
  assert.deepEqual(calls[0][1].x.shape, [2, 2, 2, 2]);
  assert.deepEqual(Array.from(calls[1][1].cond.data), [2, 2]); // a step without guidance fills with its one branch
});

test('what is unknown is refused by name before anything runs', () => {
  const changed = (field) => ({ ...STEPS, ...field });
  assert.throws(() => checkHostSteps(null), { name: 'UnsupportedError', message: /no host steps/ });
  assert.throws(() => checkHostSteps(changed({ version: 2 })), { name: 'UnsupportedError', message: /version 2/ });
  const odd = changed({ steps: [noise, { op: 'fold_paper' }] });
  assert.throws(() => checkHostSteps(odd), { name: 'UnsupportedError', message: /step 1.*fold_paper/ });
  const inherited = changed({ steps: [{ op: 'toString' }] });
  assert.throws(() => checkHostSteps(inherited), { name: 'UnsupportedError', message: /toString/ });
  const rule = changed({ assets: { mesh: { rule: 'knit', value: 'logits' } } });
  assert.throws(() => checkHostSteps(rule), { name: 'UnsupportedError', message: /mesh.*knit/ });
  assert.throws(() => checkHostSteps(changed({ request: { ...REQUEST, image: true } })), { name: 'UnsupportedError', message: /picture/ });
});

test('constants, scales and heights', async () => {
  const steps = [
    { op: 'constant', shape: [1, 1, 2, 2], numbers: [-1, 0.1, 0.5, 1], output: 'one' },
    { op: 'scale', value: 'one', factor: 0.3, output: 'scaled' },
  ];
  const rule = { rule: 'sinh_heights', value: 'one', knee: 5, span: 2, highest: 15, extent: 100 };
  const declared = { ...STEPS, steps, assets: { height_field: rule } };
  checkHostSteps(declared);
  const values = await followSteps(declared, { seed: 0 }, {});
  const f = Math.fround;
  assert.deepEqual(Array.from(values.scaled.data), [-1, 0.1, 0.5, 1].map((x) => f(f(0.3) * f(x))));
  const { shape, heights } = makeAssets(declared, values).height_field;
  assert.deepEqual(shape, [2, 2]);
  const expected = [0, 5 * Math.sinh(f(0.1) + 1), 5 * Math.sinh(1.5), 15].map((x) => f(f(x) / 100));
  heights.forEach((height, k) => assert.ok(Math.abs(height - expected[k]) < 1e-8));
});

test('requests that do not fit are told', async () => {
  const host = { call: programs([]) };
  await assert.rejects(followSteps(STEPS, { seed: 0, features: [1] }, host), { name: 'RequestError', message: /features/ });
  await assert.rejects(followSteps(STEPS, { seed: -1, features: [1, 2] }, host), { name: 'RequestError', message: /seed/ });
  const spoken = { ...STEPS, steps: [{ op: 'tokenize', text: 'prompt', file: 'host/tokenizer.json', length: 4, ids: 'ids' }] };
  await assert.rejects(followSteps(spoken, { prompt: '  ' }, host), { name: 'RequestError', message: /empty/ });
});

test('prompts are filled, cut or refused as the step says', async () => {
  const tokenizer = { encode: () => ({ ids: [1, 7, 8, 9, 2], unknown: ['xyz'] }) };
  const step = { op: 'tokenize', text: 'prompt', file: 'f', length: 7, fill: 'zeros', overflow: 'refuse', ids: 'ids', mask: 'mask' };
  const run = async (changes) => {
    const warnings = [];
    const host = { tokenizers: new Map([['f', tokenizer]]), onWarning: (words) => warnings.push(words) };
    const steps = { ...STEPS, steps: [{ ...step, ...changes }] };
    const values = await followSteps(steps, { prompt: 'a chair', seed: 0 }, host);
    return [Array.from(values.ids.data, Number), values.mask && Array.from(values.mask.data, Number), warnings];
  };
  assert.deepEqual((await run({})).slice(0, 2), [[1, 7, 8, 9, 2, 0, 0], [1, 1, 1, 1, 1, 0, 0]]);
  assert.match((await run({}))[2][0], /xyz/);
  assert.deepEqual((await run({ fill: 'end', mask: null }))[0], [1, 7, 8, 9, 2, 2, 2]);
  assert.deepEqual((await run({ length: 4, overflow: 'cut' }))[0], [1, 7, 8, 2]);
  await assert.rejects(run({ length: 4 }), { name: 'RequestError', message: /3 tokens, and the model takes 2; shorten it by 1/ });
});

test('a signal ends it before the next step', async () => {
  const stop = new AbortController();
  const call = async () => {
    stop.abort();
    return { v: { type: 'float32', shape: [1, 2, 2, 2], data: new Float32Array(8) } };
  };
  const run = followSteps(STEPS, { seed: 0, features: [1, 2] }, { call, signal: stop.signal });
  await assert.rejects(run, { name: 'AbortError' });
});
