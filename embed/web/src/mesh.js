// A mesh from occupancy logits: the unit cube [-0.5, 0.5]^3, right-handed, z up; axis 0 of the logits is x.

import { NothingMadeError } from './errors.js';
import { marchingCubes } from './marching_cubes.js';
import { cubeOf } from './voxels.js';

const f = Math.fround;

/**
 * The surface where logits [R, R, R] cross `level`; closed, faces outward.
 *
 * @returns `{kind, vertices, normals, faces}`: Float32Array [V, 3] twice, and Uint32Array [F, 3], counter-clockwise.
 */
export function meshOfLogits(value, { level = 0 } = {}) {
  const { resolution, data } = cubeOf(value);
  const field = Float32Array.from(data, (logit) => logit - f(level));
  let [largest, occupied] = [0, false];
  for (const v of field) {
    if (!Number.isFinite(v)) {
      throw new NothingMadeError('the decoder gave logits that are not finite, so there is no surface; build with scheme fp32 to see whether the precision is the cause');
    }
    largest = Math.max(largest, Math.abs(v));
    occupied ||= v > 0;
  }
  if (!occupied) throw new NothingMadeError('nothing was generated: no voxel is occupied; try another seed or another prompt');
  // A sample on the surface makes triangles without an area: keep samples a hair away from it.
  const hair = f(f(1e-3) * largest);
  for (let k = 0; k < field.length; k++) field[k] = field[k] > 0 ? Math.max(field[k], hair) : Math.min(field[k], -hair);
  const { vertices, faces } = marchingCubes(inMirroredShell(field, resolution), resolution + 2);
  for (let k = 0; k < vertices.length; k++) vertices[k] = f(f(vertices[k] - 0.5) / resolution) - 0.5;
  return { kind: 'mesh', vertices, normals: vertexNormals(vertices, faces), faces };
}

/** The field with a layer around it that mirrors its border below 0, so that the surface closes on the cube's faces. */
function inMirroredShell(field, n) {
  const wide = n + 2;
  const padded = new Float32Array(wide ** 3);
  const inside = (k) => Math.min(Math.max(k - 1, 0), n - 1);
  for (let i = 0, at = 0; i < wide; i++) {
    for (let j = 0; j < wide; j++) {
      for (let k = 0; k < wide; k++, at++) {
        const v = field[(inside(i) * n + inside(j)) * n + inside(k)];
        const shell = [i, j, k].some((place) => place === 0 || place === wide - 1);
        padded[at] = shell ? -Math.abs(v) : v;
      }
    }
  }
  return padded;
}

/**
 * Unit normals [V, 3]: the adjacent faces' normals weighted by their angle at the vertex; up where they have no area.
 *
 * Source: Thuermer and Wuethrich 1998, "Computing vertex normals from polygonal facets".
 */
export function vertexNormals(vertices, faces) {
  const total = new Float64Array(vertices.length);
  for (let face = 0; face < faces.length; face += 3) {
    const corners = [0, 1, 2].map((c) => vertices.subarray(3 * faces[face + c], 3 * faces[face + c] + 3));
    const flat = unit(cross(minus(corners[1], corners[0]), minus(corners[2], corners[0])));
    for (let c = 0; c < 3; c++) {
      const ahead = unit(minus(corners[(c + 1) % 3], corners[c]));
      const behind = unit(minus(corners[(c + 2) % 3], corners[c]));
      const cosine = ahead[0] * behind[0] + ahead[1] * behind[1] + ahead[2] * behind[2];
      const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
      for (let axis = 0; axis < 3; axis++) total[3 * faces[face + c] + axis] += angle * flat[axis];
    }
  }
  const normals = new Float32Array(vertices.length);
  for (let at = 0; at < total.length; at += 3) {
    const length = Math.hypot(total[at], total[at + 1], total[at + 2]);
    normals.set(length > 1e-12 ? [0, 1, 2].map((axis) => total[at + axis] / length) : [0, 0, 1], at);
  }
  return normals;
}

const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];

const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

function unit(v) {
  const length = Math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
  return length > 0 ? v.map((x) => x / length) : v;
}
