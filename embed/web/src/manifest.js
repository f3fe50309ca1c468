// A bundle's manifest, and its files: nothing is given to a runtime that does not have the digest that it should.

import { BundleError, UnsupportedError } from './errors.js';
import { sha256 } from './sha256.js';

const SCHEMA = 2;
const MANIFEST = 'manifest.json';

/**
 * The manifest of a bundle, its own digest checked.
 *
 * @param read (name relative to the bundle) -> Promise of its bytes.
 */
export async function readManifest(read) {
  const text = new TextDecoder().decode(await read(MANIFEST));
  let manifest;
  try {
    manifest = JSON.parse(text);
  } catch (error) {
    throw new BundleError(`${MANIFEST}: damaged (${error.message}); copy or build the bundle again`);
  }
  if (manifest?.schema !== SCHEMA) {
    throw new BundleError(`${MANIFEST}: format ${manifest?.schema}, and this package reads ${SCHEMA}; build the bundle again`);
  }
  if (manifest.digest !== (await sha256(new TextEncoder().encode(withoutDigest(text))))) {
    throw new BundleError(`${MANIFEST}: was changed after it was written (its own SHA-256 differs); copy or build the bundle again`);
  }
  if (manifest.target.backend !== 'onnx') {
    throw new UnsupportedError(`the bundle is of target ${manifest.target.name}; this package runs .onnx programs: build it with --target onnx`);
  }
  return manifest;
}

/** The manifest's JSON as its digest is of: without spaces between its parts, and without the digest, which is last. */
function withoutDigest(text) {
  const strings = /"(?:[^"\\]|\\.)*"|\s+/g;
  const compact = text.replace(strings, (found) => (found.startsWith('"') ? found : ''));
  return compact.replace(/,"digest":"[^"]*"\}$/, '}');
}

/** The bytes of a file of the bundle, once their number and SHA-256 are as the manifest says. */
export async function readFile(manifest, read, name) {
  const listed = Object.hasOwn(manifest.files, name) ? manifest.files[name] : null;
  if (!listed || name.startsWith('/') || /[\\:]|(^|\/)\.\.(\/|$)/.test(name)) {
    throw new BundleError(`${name}: not in the manifest; copy or build the bundle again`);
  }
  const bytes = await read(name);
  if (bytes.length !== listed.bytes) {
    throw new BundleError(`${name}: ${bytes.length} bytes, the manifest says ${listed.bytes}; copy the bundle again`);
  }
  if ((await sha256(bytes)) !== listed.sha256) {
    throw new BundleError(`${name}: SHA-256 differs from the manifest's; copy the bundle again`);
  }
  return bytes;
}
