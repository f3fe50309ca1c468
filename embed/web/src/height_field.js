// Heights over a square of edge 1, of a value in [-1, 1] whose numbers are fine near the ground.

/**
 * `{kind, shape, heights}`: float32 [H, W], row 0 the far edge; the lowest is 0.
 *
 * @param value [H, W] with leading axes of 1. @param rule `sinh_heights` of a manifest.
 */
export function heightsOf({ shape, data }, { knee, span, highest, extent }) {
  const [rows, columns] = shape.slice(-2);
  if (shape.length < 2 || rows * columns !== data.length) throw new RangeError(`heights have shape ${shape.join(' x ')}; need [H, W]`);
  const raised = Float64Array.from(data, (v) => Math.min(Math.max(knee * Math.sinh(((v + 1) / 2) * span), 0), highest));
  const lowest = raised.reduce((least, height) => Math.min(least, height), Infinity);
  const edge = Math.fround(extent);
  return { kind: 'height_field', shape: [rows, columns], heights: Float32Array.from(raised, (height) => Math.fround(height - lowest) / edge) };
}
