// A bundle that runs: its programs in a runtime of ONNX files, its host steps in JavaScript.

import { size } from './array.js';
import { BundleError, RequestError } from './errors.js';
import { checkHostSteps, countCalls, followSteps, makeAssets, seedOf } from './host_steps.js';
import { readFile, readManifest } from './manifest.js';

/** What a value may be for a program's input of that type, and how its numbers become the input's. */
const INPUTS = {
  float32: ['float32', (data) => data],
  int64: ['int64', (data) => data],
  int32: ['int64', (data) => Int32Array.from(data, Number)],
};

/**
 * Read and check a bundle, and load its programs.
 *
 * @param read (name relative to the bundle) -> Promise of its bytes, as Uint8Array.
 * @param ort onnxruntime-web or onnxruntime-node.
 * @param options `{session?, onProgress?, signal?}`: options of every InferenceSession, and what is told of loading.
 */
export async function openBundle(read, ort, { session = {}, onProgress, signal } = {}) {
  const manifest = await readManifest(read);
  checkHostSteps(manifest.host_steps);
  const used = new Set(manifest.host_steps.steps.map((step) => step.component).filter(Boolean));
  const programs = new Map();
  for (const component of used) {
    signal?.throwIfAborted();
    const record = manifest.programs.find((one) => one.component === component && one.role === 'component');
    if (!record) throw new BundleError(`manifest.json: no program of component ${component}; build the bundle again`);
    onProgress?.({ stage: 'load', component, done: programs.size, total: used.size });
    const start = performance.now();
    const [program, ...rest] = await Promise.all(record.files.map((name) => readFile(manifest, read, `programs/${name}`)));
    const externalData = rest.map((data, k) => ({ path: record.files[k + 1], data }));
    const loaded = await ort.InferenceSession.create(program, externalData.length ? { ...session, externalData } : session);
    programs.set(component, { record, session: loaded, milliseconds: performance.now() - start });
  }
  onProgress?.({ stage: 'load', component: '', done: used.size, total: used.size });
  return new Bundle(manifest, read, ort, programs);
}

/** A loaded bundle. */
export class Bundle {
  #read;
  #ort;
  #programs;
  #tokenizers = new Map();

  constructor(manifest, read, ort, programs) {
    this.manifest = manifest;
    this.#read = read;
    this.#ort = ort;
    this.#programs = programs;
  }

  /** Milliseconds that each program took to read, check and load, by component. */
  get loading() {
    return Object.fromEntries(Array.from(this.#programs, ([name, { milliseconds }]) => [name, milliseconds]));
  }

  /**
   * Make the assets of one request.
   *
   * @param request `{prompt, seed, features}`, what the manifest's `host_steps.request` asks for.
   * @param options `{onProgress?, onWarning?, onValue?, signal?}`. `signal` is looked at before every call.
   * @returns `{assets, milliseconds, calls, warnings}`: assets by kind; times by component, `host` the rest, and `all`.
   */
  async generate(request, { onProgress, onWarning, onValue, signal } = {}) {
    const { host_steps: hostSteps } = this.manifest;
    if (hostSteps.request.seed) seedOf(request.seed ?? 0);
    if (request.prompt && !hostSteps.request.prompt) throw new RequestError('prompt: this bundle takes none');
    const total = countCalls(hostSteps);
    const milliseconds = {};
    const warnings = [];
    let calls = 0;
    const start = performance.now();
    const values = await followSteps(hostSteps, request, {
      signal,
      tokenizers: this.#tokenizers,
      onValue,
      onWarning: (text) => {
        warnings.push(text);
        onWarning?.(text);
      },
      text: async (name) => new TextDecoder().decode(await readFile(this.manifest, this.#read, name)),
      call: async (component, inputs) => {
        await macrotask(); // a page's message that asks to stop is read now
        signal?.throwIfAborted();
        onProgress?.({ stage: 'run', component, done: calls, total });
        const before = performance.now();
        const outputs = await this.#call(component, inputs);
        milliseconds[component] = (milliseconds[component] ?? 0) + performance.now() - before;
        calls++;
        return outputs;
      },
    });
    onProgress?.({ stage: 'run', component: '', done: calls, total });
    const assets = makeAssets(hostSteps, values);
    const all = performance.now() - start;
    const host = all - Object.values(milliseconds).reduce((sum, one) => sum + one, 0);
    return { assets, milliseconds: { ...milliseconds, host, all }, calls, warnings };
  }

  async #call(component, inputs) {
    const { record, session } = this.#programs.get(component);
    const feeds = {};
    for (const [name, value] of Object.entries(inputs)) {
      const wanted = record.inputs[name];
      const [type, converted] = INPUTS[wanted?.dtype] ?? [];
      if (type !== value.type || wanted.shape.join() !== value.shape.join()) {
        const asked = wanted ? `${wanted.dtype} [${wanted.shape}]` : 'no such input';
        throw new BundleError(`${component}: input ${name} is ${value.type} [${value.shape}], and the program takes ${asked}`);
      }
      feeds[name] = new this.#ort.Tensor(wanted.dtype, converted(value.data), value.shape);
    }
    const made = await session.run(feeds);
    const outputs = {};
    for (const name of Object.keys(record.outputs)) {
      const tensor = made[name];
      const data = await tensor.getData();
      if (data.length !== size(tensor.dims)) throw new BundleError(`${component}: output ${name} is cut short`);
      outputs[name] = { type: tensor.type, shape: [...tensor.dims], data };
    }
    return outputs;
  }

  /** Give the programs' memory back. */
  async release() {
    for (const { session } of this.#programs.values()) await session.release();
    this.#programs.clear();
  }
}

/** A turn of the event loop; timers would wait for milliseconds in browsers. */
function macrotask() {
  if (globalThis.setImmediate) return new Promise((resolve) => setImmediate(resolve));
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
