// Files of meshes: .glb (glTF 2.0 in one file, y up) and .ply (binary, z up), right-handed.
//
// Sources: Khronos, "glTF 2.0 Specification"; Turk 1994, "The PLY polygon file format".

import { RequestError } from './errors.js';

const FLOAT = 5126;
const UNSIGNED_SHORT = 5123;
const UNSIGNED_INT = 5125;
const ARRAY_BUFFER = 34962;
const ELEMENT_ARRAY_BUFFER = 34963;
const ROUGHNESS = 0.9;

const WRITERS = { '.glb': glb, '.ply': ply };

/** The endings of files that a mesh goes into. */
export const ENDINGS = Object.keys(WRITERS);

/** The bytes of a file with a mesh, by the file's name. */
export function meshFile(mesh, name) {
  const ending = name.slice(name.lastIndexOf('.')).toLowerCase();
  if (!Object.hasOwn(WRITERS, ending)) throw new RequestError(`${name}: unknown format; known endings are ${ENDINGS.join(', ')}`);
  return WRITERS[ending](mesh);
}

/** From z up into glTF's y up: (x, y, z) becomes (x, z, -y). */
const yUp = (values) => values.map((_, k) => (k % 3 === 0 ? values[k] : k % 3 === 1 ? values[k + 1] : -values[k - 1]));

/** A .glb file: positions, normals and triangles, with a material that is no metal. */
export function glb(mesh) {
  const points = yUp(mesh.vertices);
  const small = points.length / 3 < 65535;
  const indices = small ? Uint16Array.from(mesh.faces) : mesh.faces;
  const bounds = [0, 1, 2].map((axis) => points.filter((_, k) => k % 3 === axis)).map((row) => extent(row));
  const parts = [points, yUp(mesh.normals), indices];
  let length = 0;
  const bufferViews = parts.map((part, k) => {
    const view = { buffer: 0, byteOffset: length, byteLength: part.byteLength, target: k < 2 ? ARRAY_BUFFER : ELEMENT_ARRAY_BUFFER };
    length += padded(part.byteLength);
    return view;
  });
  const vectors = { componentType: FLOAT, count: points.length / 3, type: 'VEC3' };
  const document = {
    asset: { version: '2.0', generator: 'gen3dexport' },
    scene: 0,
    scenes: [{ nodes: [0] }],
    nodes: [{ mesh: 0 }],
    meshes: [{ primitives: [{ attributes: { POSITION: 0, NORMAL: 1 }, material: 0, indices: 2 }] }],
    accessors: [
      { bufferView: 0, ...vectors, min: bounds.map(([low]) => low), max: bounds.map(([, high]) => high) },
      { bufferView: 1, ...vectors },
      { bufferView: 2, componentType: small ? UNSIGNED_SHORT : UNSIGNED_INT, count: indices.length, type: 'SCALAR' },
    ],
    bufferViews,
    buffers: [{ byteLength: length }],
    materials: [{ name: 'surface', pbrMetallicRoughness: { metallicFactor: 0, roughnessFactor: ROUGHNESS }, doubleSided: false }],
  };
  const text = new TextEncoder().encode(JSON.stringify(document));
  const file = new Uint8Array(12 + 8 + padded(text.length) + 8 + length);
  const view = new DataView(file.buffer);
  const words = (at, ...values) => values.forEach((value, k) => view.setUint32(at + 4 * k, value, true));
  words(0, 0x46546c67, 2, file.length); // "glTF"
  words(12, padded(text.length), 0x4e4f534a); // "JSON"
  file.fill(0x20, 20, 20 + padded(text.length));
  file.set(text, 20);
  const binary = 20 + padded(text.length);
  words(binary, length, 0x004e4942); // "BIN\0"
  parts.forEach((part, k) => file.set(bytesOf(part), binary + 8 + bufferViews[k].byteOffset));
  return file;
}

/** A .ply file: positions, normals and triangles. */
export function ply(mesh) {
  const count = mesh.vertices.length / 3;
  const triangles = mesh.faces.length / 3;
  const properties = ['x', 'y', 'z', 'nx', 'ny', 'nz'].map((name) => `property float ${name}\n`).join('');
  const head = new TextEncoder().encode(
    `ply\nformat binary_little_endian 1.0\nelement vertex ${count}\n${properties}element face ${triangles}\nproperty list uchar int vertex_indices\nend_header\n`,
  );
  const file = new Uint8Array(head.length + 24 * count + 13 * triangles);
  file.set(head);
  const view = new DataView(file.buffer);
  let at = head.length;
  for (let v = 0; v < 3 * count; v += 3) {
    for (const part of [mesh.vertices, mesh.normals]) {
      for (let axis = 0; axis < 3; axis++, at += 4) view.setFloat32(at, part[v + axis], true);
    }
  }
  for (let face = 0; face < 3 * triangles; face += 3) {
    view.setUint8(at++, 3);
    for (let corner = 0; corner < 3; corner++, at += 4) view.setInt32(at, mesh.faces[face + corner], true);
  }
  return file;
}

const padded = (bytes) => bytes + (-bytes & 3);

const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return [low, high];
}
