// Numbers that Python made for these tests: tests/line/test_web_package.py writes them and names their folder.

import { readFileSync } from 'node:fs';
import path from 'node:path';

const folder = process.env.GEN3D_FIXTURES;

/** For `test(name, options, ...)`: skipped, with the reason, where there are none. */
export const needed = { skip: folder ? false : 'needs $GEN3D_FIXTURES, which tests/line/test_web_package.py makes' };

export const json = (name) => JSON.parse(readFileSync(path.join(folder, name), 'utf8'));

export const text = (name) => readFileSync(path.join(folder, name), 'utf8');

/** Raw little-endian numbers as a typed array. */
export function numbers(name, Type) {
  const bytes = readFileSync(path.join(folder, name));
  return new Type(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}
