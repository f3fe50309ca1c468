// Values of host steps: `{type: 'float32' | 'int64', shape, data}`, row-major; data is a Float32Array or BigInt64Array.

/** How many numbers a shape holds. */
export const size = (shape) => shape.reduce((all, n) => all * n, 1);

/** A float32 value. */
export const float32 = (shape, data = new Float32Array(size(shape))) => ({ type: 'float32', shape: [...shape], data });

/** An int64 value. */
export const int64 = (shape, data = new BigInt64Array(size(shape))) => ({ type: 'int64', shape: [...shape], data });

/** Values joined along an axis; their other lengths are equal. */
export function concat(values, axis) {
  const [{ type, shape }] = values;
  const before = size(shape.slice(0, axis));
  const joined = shape.map((n, k) => (k === axis ? values.reduce((all, value) => all + value.shape[axis], 0) : n));
  const data = new values[0].data.constructor(size(joined));
  let at = 0;
  for (let row = 0; row < before; row++) {
    for (const value of values) {
      const length = value.data.length / before;
      data.set(value.data.subarray(row * length, (row + 1) * length), at);
      at += length;
    }
  }
  return { type, shape: joined, data };
}

/** Row `index` of the first axis, which stays, with length 1. */
export function row(value, index) {
  const length = value.data.length / value.shape[0];
  return { ...value, shape: [1, ...value.shape.slice(1)], data: value.data.slice(index * length, (index + 1) * length) };
}
