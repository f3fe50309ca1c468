import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import * as all from '../src/index.js';

test('the types name what the package exports', () => {
  const text = readFileSync(new URL('../src/index.d.ts', import.meta.url), 'utf8');
  const named = Array.from(text.matchAll(/^export (?:class|function|const) (\w+)/gm), ([, name]) => name);
  assert.deepEqual([...new Set(named)].sort(), Object.keys(all).sort());
});
