import assert from 'node:assert/strict';
import test from 'node:test';

import { glb, meshFile, meshOfLogits, ply } from '../src/index.js';
import { json, needed, numbers } from './fixtures.js';

const cube = (n, data) => ({ type: 'float32', shape: [1, 1, n, n, n], data: Float32Array.from(data) });

test('surfaces are those of Python, vertex by vertex', needed, () => {
  for (const { name, resolution } of json('surfaces.json')) {
    const made = meshOfLogits(cube(resolution, numbers(`${name}.logits`, Float32Array)));
    assert.deepEqual(made.faces, numbers(`${name}.faces`, Uint32Array), name);
    assert.deepEqual(made.vertices, numbers(`${name}.vertices`, Float32Array), name);
    const normals = numbers(`${name}.normals`, Float32Array);
    const off = made.normals.reduce((most, value, k) => Math.max(most, Math.abs(value - normals[k])), 0);
    assert.ok(off < 1e-6, `${name}: normals differ by ${off}`);
  }
});

test('every edge has one face on either side, and normals point outward', () => {
  const n = 6;
  const ball = Array.from({ length: n ** 3 }, (_, at) => {
    const place = [Math.floor(at / n / n), Math.floor(at / n) % n, at % n].map((k) => (k + 0.5) / n - 0.5);
    return 0.4 - Math.hypot(...place);
  });
  const { vertices, normals, faces } = meshOfLogits(cube(n, ball));
  const edges = new Set();
  for (let face = 0; face < faces.length; face += 3) {
    for (let c = 0; c < 3; c++) {
      const edge = `${faces[face + c]} ${faces[face + ((c + 1) % 3)]}`;
      assert.ok(!edges.has(edge), edge);
      edges.add(edge);
    }
  }
  for (const edge of edges) assert.ok(edges.has(edge.split(' ').reverse().join(' ')), edge);
  for (let at = 0; at < vertices.length; at += 3) {
    const [v, w] = [vertices, normals].map((array) => array.subarray(at, at + 3));
    assert.ok(v[0] * w[0] + v[1] * w[1] + v[2] * w[2] > 0);
    assert.ok(Math.abs(Math.hypot(...w) - 1) < 1e-6);
  }
});

test('nothing and numbers that are none are told', () => {
  assert.throws(() => meshOfLogits(cube(2, new Array(8).fill(-1))), { name: 'NothingMadeError', message: /no voxel/ });
  assert.throws(() => meshOfLogits(cube(2, [NaN, ...new Array(7).fill(1)])), { name: 'NothingMadeError', message: /finite/ });
  assert.throws(() => meshOfLogits({ shape: [2, 2, 3], data: new Float32Array(12) }), RangeError);
});

test('files have what their headers say', () => {
  const mesh = meshOfLogits(cube(3, [...new Array(13).fill(-1), 1, ...new Array(13).fill(-1)]));
  const [vertices, faces] = [mesh.vertices.length / 3, mesh.faces.length / 3];
  const file = glb(mesh);
  const view = new DataView(file.buffer);
  assert.equal(view.getUint32(8, true), file.length);
  const length = view.getUint32(12, true);
  const document = JSON.parse(new TextDecoder().decode(file.subarray(20, 20 + length)));
  assert.deepEqual(document.accessors.map(({ count }) => count), [vertices, vertices, 3 * faces]);
  // z up becomes y up: (x, z, -y)
  const first = 20 + length + 8;
  const read = [0, 1, 2].map((axis) => view.getFloat32(first + 4 * axis, true));
  assert.deepEqual(read, [mesh.vertices[0], mesh.vertices[2], -mesh.vertices[1]]);

  const points = ply(mesh);
  const head = new TextDecoder().decode(points.subarray(0, 300));
  assert.match(head, new RegExp(`element vertex ${vertices}\n`));
  assert.equal(points.length, head.indexOf('end_header\n') + 11 + 24 * vertices + 13 * faces);
  assert.deepEqual(meshFile(mesh, 'A.PLY'), points);
  assert.throws(() => meshFile(mesh, 'a.stl'), { name: 'RequestError', message: /\.stl.*\.glb, \.ply|a\.stl/ });
});
