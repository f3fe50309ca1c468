import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';

import { Generator } from '../src/index.js';
import { seedOf } from '../src/host_steps.js';
import { json, needed } from './fixtures.js';

test('noise is bit-equal to numpy', needed, () => {
  for (const { seed, first, sha256, count } of json('noise.json')) {
    const drawn = new Generator(BigInt(seed)).standardNormal(count);
    assert.deepEqual(Array.from(drawn.subarray(0, first.length)), first, `seed ${seed}`);
    assert.equal(createHash('sha256').update(new Uint8Array(drawn.buffer)).digest('hex'), sha256, `seed ${seed}`);
  }
});

test('draws go on where the last ended, also in the middle of 64 bits', () => {
  const whole = new Generator(7n).standardNormal(1001);
  const parts = new Generator(7n);
  const joined = [...parts.standardNormal(1), ...parts.standardNormal(500), ...parts.standardNormal(500)];
  assert.deepEqual(joined, Array.from(whole));
});

test('seeds are whole numbers from 0 to 2^63 - 1', () => {
  assert.equal(seedOf('9223372036854775807'), 2n ** 63n - 1n);
  assert.equal(seedOf(0), 0n);
  for (const wrong of [-1, 1.5, 'one', '1e3', 2n ** 63n, NaN, null]) assert.throws(() => seedOf(wrong), { name: 'RequestError' });
});
