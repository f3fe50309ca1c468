// Voxels of a pipeline's logits: occupied where they are above 0.

import { NothingMadeError } from './errors.js';

/** The cube [R, R, R] of a value that has leading axes of 1: `{resolution, data}`. */
export function cubeOf({ shape, data }) {
  const resolution = shape.at(-1);
  const cube = shape.length >= 3 && shape.slice(-3).every((n) => n === resolution) && data.length === resolution ** 3;
  if (!cube) throw new RangeError(`logits have shape ${shape.join(' x ')}; need a cube`);
  return { resolution, data };
}

/** `{kind, resolution, data, count}`: data is a Uint8Array [R, R, R] by x, y, z, 1 where a voxel is occupied. */
export function voxelsOf(value) {
  const { resolution, data } = cubeOf(value);
  const occupied = Uint8Array.from(data, (logit) => (logit > 0 ? 1 : 0));
  const count = occupied.reduce((all, one) => all + one, 0);
  if (!count) throw new NothingMadeError('nothing was generated: no voxel is occupied; try another seed or another prompt');
  return { kind: 'voxels', resolution, data: occupied, count };
}
