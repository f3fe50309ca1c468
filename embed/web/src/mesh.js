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
  const inside = Array.from({ length: wide }, (_, k) => Math.min(Math.max(k - 1, 0), n - 1));
  const edge = (k) => k === 0 || k === wide - 1;
  for (let i = 0, at = 0; i < wide; i++) {
    for (let j = 0; j < wide; j++) {
      const row = (inside[i] * n + inside[j]) * n;
      const shell = edge(i) || edge(j);
      for (let k = 0; k < wide; k++, at++) {
        const v = field[row + inside[k]];
        padded[at] = shell || edge(k) ? -Math.abs(v) : v;
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
  const [p, q, r] = [new Float64Array(3), new Float64Array(3), new Float64Array(3)]; // along the edges, of length 1
  const flat = new Float64Array(3);
  for (let face = 0; face < faces.length; face += 3) {
    const [a, b, c] = [3 * faces[face], 3 * faces[face + 1], 3 * faces[face + 2]];
    for (let axis = 0; axis < 3; axis++) {
      p[axis] = vertices[b + axis] - vertices[a + axis];
      q[axis] = vertices[c + axis] - vertices[a + axis];
      r[axis] = vertices[c + axis] - vertices[b + axis];
    }
    for (let axis = 0; axis < 3; axis++) {
      const [next, last] = [(axis + 1) % 3, (axis + 2) % 3];
      flat[axis] = p[next] * q[last] - p[last] * q[next];
    }
    for (const vector of [p, q, r, flat]) toUnit(vector);
    addAngle(total, a, flat, dot(p, q));
    addAngle(total, b, flat, -dot(r, p));
    addAngle(total, c, flat, dot(q, r));
  }
  const normals = new Float32Array(vertices.length);
  for (let at = 0; at < total.length; at += 3) {
    const length = Math.hypot(total[at], total[at + 1], total[at + 2]);
    if (length > 1e-12) for (let axis = 0; axis < 3; axis++) normals[at + axis] = total[at + axis] / length;
    else normals[at + 2] = 1;
  }
  return normals;
}

/** A face's part of the normal at one of its corners, whose edges enclose an angle of that cosine. */
function addAngle(total, corner, flat, cosine) {
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  for (let axis = 0; axis < 3; axis++) total[corner + axis] += angle * flat[axis];
}

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

/** The vector at length 1, in place; zero stays zero. */
function toUnit(v) {
  const length = Math.sqrt(dot(v, v));
  if (length > 0) for (let axis = 0; axis < 3; axis++) v[axis] /= length;
}
