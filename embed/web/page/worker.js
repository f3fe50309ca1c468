// Loads the bundle and makes assets beside the page, which stays quick; messages are {id, do, ...} and answers {id, ...}.

import { meshFile, openBundle } from '../gen3d/index.js';

const RUNTIMES = { wasm: 'ort.wasm.min.mjs', webgpu: 'ort.webgpu.min.mjs' };
const VENDOR = new URL('../vendor/onnxruntime-web/dist/', import.meta.url).href;

let bundle = null;
let stop = null;

self.onmessage = async ({ data: { id, do: what, ...given } }) => {
  const tell = (message, transfer = []) => self.postMessage({ id, ...message }, transfer);
  try {
    if (what === 'cancel') stop?.abort();
    if (what === 'open') tell({ done: await open(given, (progress) => tell({ progress })) });
    if (what === 'make') {
      const made = await make(given, (progress) => tell({ progress }));
      tell({ done: made }, [made.assets.mesh, made.assets.voxels].flatMap((asset) => buffersOf(asset)));
    }
  } catch (error) {
    tell({ failed: { name: error.name, message: error.message ?? String(error) } });
  }
};

async function open({ provider, threads }, onProgress) {
  const ort = await import(VENDOR + RUNTIMES[provider]);
  ort.env.wasm.wasmPaths = VENDOR;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = 'error';
  await bundle?.release();
  bundle = null;
  const start = performance.now();
  const session = { executionProviders: [provider], logSeverityLevel: 3 };
  bundle = await openBundle(read, ort, { session, onProgress });
  return { manifest: bundle.manifest, loading: bundle.loading, milliseconds: performance.now() - start };
}

async function make({ prompt, seed }, onProgress) {
  stop = new AbortController();
  const made = await bundle.generate({ prompt, seed }, { onProgress, signal: stop.signal });
  const files = { glb: meshFile(made.assets.mesh, '.glb'), ply: meshFile(made.assets.mesh, '.ply') };
  return { ...made, files };
}

async function read(name) {
  const address = new URL(`../bundle/${name}`, import.meta.url);
  let answer;
  try {
    answer = await fetch(address);
  } catch (error) {
    throw new Error(`${name}: could not be fetched (${error.message}); is the page still served?`);
  }
  if (!answer.ok) throw new Error(`${name}: the server answers ${answer.status}; copy the site again`);
  return new Uint8Array(await answer.arrayBuffer());
}

const buffersOf = (asset) => Object.values(asset ?? {}).filter(ArrayBuffer.isView).map((array) => array.buffer);
