// Digests of a bundle's files, by the platform's WebCrypto.

import { BundleError } from './errors.js';

/** SHA-256 of bytes, in hexadecimal. */
export async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) {
    throw new BundleError(
      'digests cannot be checked: browsers have WebCrypto on https and on localhost alone; serve this page from there',
    );
  }
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
