// The page: a form, what it says of progress and errors, the files.

import { makeViewer } from './viewer.js';

const at = (id) => document.getElementById(id);
const root = document.documentElement;
const worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
const waiting = new Map();
const addresses = [];
let count = 0;
let opened = null;
let viewer = null;

window.gen3d = { last: null }; // what was made last, for whoever looks with the browser's tools

worker.onerror = (event) => fail(`the page's worker stopped: ${event.message ?? 'no reason given'}; load the page again`);
worker.onmessage = ({ data: { id, progress, done, failed } }) => {
  const call = waiting.get(id);
  if (!call) return;
  if (progress) return call.onProgress(progress);
  waiting.delete(id);
  if (failed) call.reject(Object.assign(new Error(failed.message), { name: failed.name }));
  else call.resolve(done);
};

function ask(what, given = {}, onProgress = () => {}) {
  return new Promise((resolve, reject) => {
    waiting.set(++count, { resolve, reject, onProgress });
    worker.postMessage({ id: count, do: what, ...given });
  });
}

const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(2)} s`;

function state(name) {
  root.dataset.state = name;
  const busy = name === 'loading' || name === 'running';
  for (const id of ['make', 'another', 'runtime']) at(id).disabled = busy || (id !== 'runtime' && !opened);
  at('cancel').hidden = name !== 'running';
}

function fail(message) {
  at('error').textContent = message;
  at('error').hidden = false;
  at('status').textContent = '';
  at('progress').value = 0;
  state('failed');
}

function offer(site) {
  const cores = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency ?? 1, 8) : 1;
  const choices = [['wasm 1', 'CPU, 1 thread']];
  for (let threads = 2; threads <= cores; threads *= 2) choices.push([`wasm ${threads}`, `CPU, ${threads} threads`]);
  if (site.webgpu && navigator.gpu) choices.push(['webgpu 1', 'GPU (WebGPU)']);
  at('runtime').replaceChildren(...choices.map(([value, text]) => new Option(text, value)));
  const asked = new URLSearchParams(location.search).get('runtime');
  const usual = choices.filter(([value]) => value.startsWith('wasm')).at(-1)[0];
  at('runtime').value = choices.some(([value]) => value === asked) ? asked : usual;
}

async function open() {
  const [provider, threads] = at('runtime').value.split(' ');
  opened = null;
  at('error').hidden = true;
  state('loading');
  try {
    opened = await ask('open', { provider, threads: Number(threads) }, ({ component, done, total }) => {
      at('status').textContent = component ? `loads ${component.replaceAll('_', ' ')}` : 'ready';
      at('progress').value = done / total;
    });
  } catch (error) {
    return fail(error.message);
  }
  const { recipe, target } = opened.manifest;
  at('title').textContent = recipe.name;
  at('summary').textContent = recipe.summary;
  document.title = recipe.name;
  at('prompt').placeholder = recipe.golden.prompts[0];
  at('status').textContent = `ready: ${target.name}, loaded in ${seconds(opened.milliseconds)}`;
  at('progress').value = 0;
  state('ready');
}

async function make() {
  at('error').hidden = at('warnings').hidden = true;
  state('running');
  at('status').textContent = 'reads the prompt';
  let made;
  try {
    const given = { prompt: at('prompt').value, seed: at('seed').value.trim() || '0' };
    made = await ask('make', given, ({ component, done, total }) => {
      at('status').textContent = component ? `${component.replaceAll('_', ' ')}, call ${done + 1} of ${total}` : 'makes the surface';
      at('progress').value = done / total;
    });
  } catch (error) {
    if (error.name !== 'AbortError') return fail(error.message);
    at('status').textContent = 'cancelled';
    at('progress').value = 0;
    return state('cancelled');
  }
  show(made);
  state('done');
}

function show(made) {
  window.gen3d.last = made;
  const { mesh } = made.assets;
  viewer?.show(mesh);
  at('hint').hidden = viewer !== null;
  at('progress').value = 1;
  at('status').textContent = `made in ${seconds(made.milliseconds.all)}`;
  root.dataset.milliseconds = made.milliseconds.all.toFixed(1);
  at('counts').textContent = `${(mesh.vertices.length / 3).toLocaleString('en')} vertices, ${(mesh.faces.length / 3).toLocaleString('en')} faces`;
  at('warnings').replaceChildren(...made.warnings.map((text) => Object.assign(document.createElement('li'), { textContent: text })));
  at('warnings').hidden = !made.warnings.length;
  for (const address of addresses.splice(0)) URL.revokeObjectURL(address);
  const types = { glb: 'model/gltf-binary', ply: 'application/octet-stream' };
  for (const [ending, type] of Object.entries(types)) {
    addresses.push((at(ending).href = URL.createObjectURL(new Blob([made.files[ending]], { type }))));
    at(ending).download = `asset.${ending}`;
  }
  const rows = Object.entries(made.milliseconds).map(([name, time]) => {
    const row = document.createElement('tr');
    const words = { host: 'host steps', all: 'in all' };
    row.append(...[words[name] ?? name.replaceAll('_', ' '), `${time.toFixed(0)} ms`].map((text) => Object.assign(document.createElement('td'), { textContent: text })));
    return row;
  });
  at('times').replaceChildren(...rows);
  at('made').hidden = false;
}

at('form').addEventListener('submit', (event) => {
  event.preventDefault();
  if (!at('make').disabled) make();
});
at('another').addEventListener('click', () => {
  at('seed').value = String(crypto.getRandomValues(new Uint32Array(1))[0]);
  make();
});
at('cancel').addEventListener('click', () => worker.postMessage({ do: 'cancel' }));
at('runtime').addEventListener('change', open);

try {
  viewer = makeViewer(at('canvas'));
} catch {
  at('hint').textContent = 'this browser draws no WebGL; the files are complete';
}
try {
  offer(await (await fetch('site.json')).json());
  await open();
} catch (error) {
  fail(error.message);
}
