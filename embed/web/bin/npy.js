// NumPy's .npy files, format 1.0. Source: NumPy's documentation, "numpy.lib.format".

const DTYPES = { Float32Array: '<f4', BigInt64Array: '<i8', Uint8Array: '|u1' };
const TYPES = { '<f4': Float32Array, '<i8': BigInt64Array };

/** The bytes of a .npy file; `dtype` where it is another than that of the array's own numbers (e.g. `|b1`). */
export function npy(data, shape, dtype = DTYPES[data.constructor.name]) {
  const tuple = `(${shape.map((n) => `${n},`).join(' ')})`;
  const header = `{'descr': '${dtype}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const length = Math.ceil((10 + header.length + 1) / 64) * 64;
  const file = new Uint8Array(length + data.byteLength);
  file.set([0x93, ...new TextEncoder().encode('NUMPY'), 1, 0, (length - 10) & 255, (length - 10) >> 8]);
  file.fill(0x20, 10, length - 1);
  file.set(new TextEncoder().encode(header), 10);
  file[length - 1] = 0x0a;
  file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), length);
  return file;
}

/** `{data, shape}` of a .npy file with float32 or int64 numbers in C order. */
export function readNpy(bytes) {
  const start = 10 + bytes[8] + 256 * bytes[9];
  const header = new TextDecoder().decode(bytes.subarray(10, start));
  const dtype = /'descr': '([^']+)'/.exec(header)?.[1];
  if (!Object.hasOwn(TYPES, dtype) || !header.includes("'fortran_order': False")) throw new Error(`.npy: ${header.trim()}: not read here`);
  const shape = /'shape': \(([^)]*)\)/.exec(header)[1].split(',').filter((n) => n.trim()).map(Number);
  const data = new TYPES[dtype](bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + bytes.length));
  return { data, shape };
}
