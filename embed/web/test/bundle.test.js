import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';

import { openBundle } from '../src/index.js';

const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');
const encode = (words) => new TextEncoder().encode(words);
const PROGRAM = encode('the program');

// As Python's json.dumps(indent=1) writes a manifest, whose digest is of the text without spaces and without itself.
function bundleOf(change = (manifest) => manifest) {
  const port = { x: { shape: [1, 2, 2, 2], dtype: 'float32' } };
  const manifest = change({
    schema: 2,
    target: { name: 'onnx', backend: 'onnx' },
    note: 'a "quoted" text:  two  spaces, \\ and \u00fc',
    programs: [{ component: 'decoder', role: 'component', files: ['decoder.onnx'], inputs: port, outputs: { logits: port.x } }],
    host_steps: {
      version: 1,
      request: { prompt: false, image: false, seed: true, features: null },
      steps: [
        { op: 'noise', generator: 'pcg64-ziggurat-float32', shape: [1, 2, 2, 2], output: 'noise' },
        { op: 'call', component: 'decoder', inputs: { x: 'noise' }, outputs: { logits: 'logits' } },
      ],
      assets: { mesh: { rule: 'marching_cubes_lorensen', value: 'logits', level: 0 } },
    },
    files: { 'programs/decoder.onnx': { bytes: PROGRAM.length, sha256: digest(PROGRAM) } },
  });
  const own = digest(encode(JSON.stringify(manifest)));
  const files = new Map([
    ['manifest.json', encode(`${JSON.stringify({ ...manifest, digest: own }, null, 1)}\n`)],
    ['programs/decoder.onnx', PROGRAM],
  ]);
  return { files, read: async (name) => files.get(name) };
}

// A runtime whose programs give their one input back.
const ort = {
  created: 0,
  Tensor: class {
    constructor(type, data, dims) {
      Object.assign(this, { type, data, dims });
    }
    getData = async () => this.data;
  },
  InferenceSession: {
    create: async (bytes) => {
      assert.deepEqual(bytes, PROGRAM);
      ort.created++;
      return { run: async ({ x }) => ({ logits: x }), release: async () => {} };
    },
  },
};

test('a bundle is checked, loaded and run', async () => {
  const told = [];
  const bundle = await openBundle(bundleOf().read, ort, { onProgress: (progress) => told.push(progress) });
  assert.deepEqual(told.at(0), { stage: 'load', component: 'decoder', done: 0, total: 1 });
  const { assets, calls, milliseconds } = await bundle.generate({ seed: 1 }, { onProgress: (progress) => told.push(progress) });
  assert.equal(calls, 1);
  assert.deepEqual(told.at(-1), { stage: 'run', component: '', done: 1, total: 1 });
  assert.ok(assets.mesh.faces.length && milliseconds.all >= milliseconds.decoder);
  await assert.rejects(bundle.generate({ prompt: 'a chair' }), { name: 'RequestError', message: /takes none/ });
});

test('nothing that was changed reaches the runtime', async () => {
  const before = ort.created;
  const changed = bundleOf();
  changed.files.set('programs/decoder.onnx', encode('the progrem'));
  await assert.rejects(openBundle(changed.read, ort), { name: 'BundleError', message: /decoder\.onnx: SHA-256/ });
  const cut = bundleOf();
  cut.files.set('programs/decoder.onnx', PROGRAM.subarray(1));
  await assert.rejects(openBundle(cut.read, ort), { name: 'BundleError', message: /10 bytes.*says 11/ });
  const forged = bundleOf();
  const text = new TextDecoder().decode(forged.files.get('manifest.json'));
  for (const [one, other] of [['two  spaces', 'two spaces'], ['"level": 0', '"level": 1']]) {
    forged.files.set('manifest.json', encode(text.replace(one, other)));
    await assert.rejects(openBundle(forged.read, ort), { name: 'BundleError', message: /changed after it was written/ });
  }
  const outside = bundleOf((manifest) => ({ ...manifest, programs: [{ ...manifest.programs[0], files: ['../../secret'] }] }));
  await assert.rejects(openBundle(outside.read, ort), { name: 'BundleError', message: /not in the manifest/ });
  const listed = bundleOf((manifest) => ({
    ...manifest,
    programs: [{ ...manifest.programs[0], files: ['../../secret'] }],
    files: { 'programs/../../secret': { bytes: 1, sha256: '0' } },
  }));
  await assert.rejects(openBundle(listed.read, ort), { name: 'BundleError', message: /not in the manifest/ });
  assert.equal(ort.created, before);
});

test('bundles of other targets and formats are told', async () => {
  const pte = bundleOf((manifest) => ({ ...manifest, target: { name: 'executorch-xnnpack', backend: 'executorch' } }));
  await assert.rejects(openBundle(pte.read, ort), { name: 'UnsupportedError', message: /--target onnx/ });
  const old = bundleOf((manifest) => ({ ...manifest, schema: 1 }));
  await assert.rejects(openBundle(old.read, ort), { name: 'BundleError', message: /format 1/ });
});

test('whole numbers become what a program takes', async () => {
  const ids = { ids: { shape: [1, 3], dtype: 'int32' } };
  const tokens = { op: 'tokenize', text: 'empty', file: 'host/t.json', length: 3, fill: 'end', overflow: 'refuse', ids: 'ids', mask: null };
  const tokenizer = encode(JSON.stringify({
    added_tokens: [], normalizer: { type: 'BertNormalizer' }, pre_tokenizer: { type: 'BertPreTokenizer' },
    model: { type: 'WordPiece', vocab: {} },
    post_processor: { type: 'TemplateProcessing', single: [{ SpecialToken: { id: 'S' } }], special_tokens: { S: { ids: [7] } } },
  })); // prettier-ignore
  const { files, read } = bundleOf((manifest) => ({
    ...manifest,
    programs: [{ ...manifest.programs[0], inputs: ids }],
    host_steps: {
      ...manifest.host_steps,
      steps: [tokens, { op: 'call', component: 'decoder', inputs: { ids: 'ids' }, outputs: { logits: 'logits' } }],
    },
    files: { ...manifest.files, 'host/t.json': { bytes: tokenizer.length, sha256: digest(tokenizer) } },
  }));
  files.set('host/t.json', tokenizer);
  let fed = null;
  const session = {
    run: async (feeds) => {
      fed = feeds.ids;
      return { logits: new ort.Tensor('float32', Float32Array.from([-1, 1, -1, 1, -1, 1, -1, 1]), [1, 2, 2, 2]) };
    },
  };
  const bundle = await openBundle(read, { Tensor: ort.Tensor, InferenceSession: { create: async () => session } });
  await bundle.generate({ seed: 0 });
  assert.deepEqual([fed.type, Array.from(fed.data), fed.data.constructor], ['int32', [7, 7, 7], Int32Array]);
});

test('a request can be stopped', async () => {
  const bundle = await openBundle(bundleOf().read, ort);
  await assert.rejects(bundle.generate({ seed: 0 }, { signal: AbortSignal.abort() }), { name: 'AbortError' });
});
