#!/usr/bin/env node
// gen3d-run: one asset from a bundle with ONNX programs into files, in Node.

import { readFile, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

import { ENDINGS, meshFile, openBundle, RequestError } from '../src/index.js';
import { seedOf } from '../src/host_steps.js';
import { followKit } from './kit.js';

const USAGE = `usage: gen3d-run BUNDLE --prompt TEXT [--seed N] [--out FILE]...
       gen3d-run BUNDLE --kit KIT --out FOLDER

  -p, --prompt TEXT   what to make
  -s, --seed N        of the noise; the same seed makes the same asset (default 0)
  -o, --out FILE      a file; its ending says what it holds: ${ENDINGS.join(', ')} (default asset.glb)
  --runtime NAME      node (onnxruntime-node) or wasm (onnxruntime-web); default: the first that is installed
  --threads N         of the runtime (default 1)
  --kit KIT           make the requests of a kit (gen3dexport embed-kit) and write every value into the folder --out
  --json              print the result as JSON
`;
// Exit codes, and the names of errors in JSON, are those of gen3dexport.
const CODES = { RequestError: 2, TypeError: 2, MissingError: 3, UnsupportedError: 2, NothingMadeError: 5, BundleError: 7 };
const KINDS = { 1: 'GenExportError', 2: 'UsageError', 3: 'MissingError', 5: 'AccuracyError', 7: 'VerificationError' };

class MissingError extends Error {
  name = 'MissingError';
}

async function main() {
  const { values: given, positionals } = parseArgs({
    args: joined(process.argv.slice(2)),
    allowPositionals: true,
    options: {
      prompt: { type: 'string', short: 'p', default: '' },
      seed: { type: 'string', short: 's', default: '0' },
      out: { type: 'string', short: 'o', multiple: true, default: ['asset.glb'] },
      kit: { type: 'string', default: '' },
      runtime: { type: 'string', default: '' },
      threads: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (given.help) {
    console.log(USAGE);
    return;
  }
  if (positionals.length !== 1) throw new RequestError(`name one bundle\n\n${USAGE}`);
  const unknown = given.kit ? null : given.out.find((name) => !ENDINGS.includes(path.extname(name).toLowerCase()));
  if (unknown) throw new RequestError(`${unknown}: unknown format; known endings are ${ENDINGS.join(', ')}`);
  const threads = Number(given.threads);
  if (!Number.isInteger(threads) || threads < 1) throw new RequestError(`--threads: needs a whole number from 1 on (got ${given.threads})`);

  seedOf(given.seed);
  const [folder] = positionals;
  await bytesOf(path.join(folder, 'manifest.json'));
  const { ort, session } = await runtime(given.runtime, threads);
  const start = performance.now();
  const bundle = await openBundle((name) => bytesOf(path.join(folder, name)), ort, { session });
  const loaded = performance.now() - start;
  if (given.kit) {
    await followKit(bundle, given.kit, given.out[0]);
    return;
  }
  const onWarning = (text) => console.error(`warning: ${text}`);
  const made = await bundle.generate({ prompt: given.prompt, seed: given.seed }, { onWarning });
  if (!made.assets.mesh) throw new RequestError(`${folder}: makes ${Object.keys(made.assets).join(', ')}, and files are of meshes`);
  for (const name of given.out) await writeWhole(name, meshFile(made.assets.mesh, name));
  const { vertices, faces } = made.assets.mesh;
  const counts = { vertices: vertices.length / 3, faces: faces.length / 3 };
  if (given.json) {
    const { milliseconds, calls, warnings } = made;
    console.log(JSON.stringify({ out: given.out, seed: given.seed, ...counts, milliseconds, load_milliseconds: loaded, calls, warnings }));
    return;
  }
  for (const name of given.out) console.log(`${name}: mesh of ${counts.vertices} vertices, ${counts.faces} faces`);
  console.log(`made in ${(made.milliseconds.all / 1000).toFixed(2)} s, after ${(loaded / 1000).toFixed(1)} s of loading the programs`);
}

/** The arguments, a number below 0 joined to its option: `--seed -1` is a wrong seed, no option `-1`. */
function joined(words) {
  const found = [];
  for (const word of words) {
    const option = found.at(-1);
    if (/^-\d/.test(word) && (option === '-s' || /^--(seed|threads)$/.test(option ?? ''))) {
      found[found.length - 1] = option === '-s' ? `--seed=${word}` : `${option}=${word}`;
    } else {
      found.push(word);
    }
  }
  return found;
}

/** A runtime of ONNX files that is installed beside this package, or where the command was started. */
async function runtime(wanted, threads) {
  // Of the package for browsers a site's cache has these two files, which lie side by side.
  const packages = { node: 'onnxruntime-node', wasm: 'onnxruntime-web/ort-wasm-simd-threaded.wasm' };
  if (wanted && !Object.hasOwn(packages, wanted)) throw new RequestError(`--runtime: node or wasm (got ${wanted})`);
  const places = [import.meta.url, path.join(process.cwd(), 'package.json')].map(createRequire);
  for (const name of wanted ? [wanted] : Object.keys(packages)) {
    for (const place of places) {
      let found;
      try {
        found = place.resolve(packages[name]);
      } catch (error) {
        if (error.code !== 'MODULE_NOT_FOUND') throw error;
        continue;
      }
      if (name === 'node') {
        process.env.ORT_DISABLE_TELEMETRY ??= '1'; // it is read when the runtime is loaded
        const extra = { session: { intra_op: { allow_spinning: '0' } } };
        return { ort: place(found), session: { executionProviders: ['cpu'], intraOpNumThreads: threads, extra } };
      }
      const ort = await import(pathToFileURL(path.join(path.dirname(found), 'ort.wasm.min.mjs')));
      ort.env.wasm.numThreads = threads;
      return { ort, session: { executionProviders: ['wasm'] } };
    }
  }
  throw new MissingError(`no runtime of ONNX files is installed; run: npm install ${wanted === 'wasm' ? 'onnxruntime-web' : 'onnxruntime-node'}`);
}

async function bytesOf(file) {
  try {
    return new Uint8Array(await readFile(file));
  } catch (error) {
    const unsaid = error.code === 'ENOENT' || error.code === 'ENOTDIR';
    throw new RequestError(unsaid ? `${file}: not found; is this a bundle?` : `${file}: ${error.message}`);
  }
}

/** The file appears whole or not at all. */
async function writeWhole(name, bytes) {
  const draft = `${name}.${process.pid}.part`;
  try {
    await writeFile(draft, bytes);
    await rename(draft, name);
  } catch (error) {
    throw new RequestError(`${name}: cannot be written (${error.message})`);
  }
}

main().then(
  () => process.exit(0), // threads of a runtime would keep the process
  (error) => {
    const code = CODES[error.name] ?? 1;
    if (process.argv.includes('--json')) console.log(JSON.stringify({ error: KINDS[code], message: error.message }));
    else console.error(code === 1 ? error : `error: ${error.message}`);
    process.exit(code);
  },
);
