// Follows a conformance kit's requests and writes every value and asset under the kit's names: docs/host-steps.md.

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { Generator, RequestError, UnsupportedError } from '../src/index.js';
import { npy, readNpy } from './npy.js';

/** What the kit's arrays of an asset are here: data, shape, and the type where it is not the data's own. */
const ARRAYS = {
  mesh: {
    vertices: ({ vertices }) => [vertices, [vertices.length / 3, 3]],
    normals: ({ normals }) => [normals, [normals.length / 3, 3]],
    faces: ({ faces }) => [BigInt64Array.from(faces, BigInt), [faces.length / 3, 3]],
  },
  height_field: { heights: ({ heights, shape }) => [heights, shape] },
  voxels: { occupancy: ({ data, resolution: r }) => [data, [r, r, r], '|b1'] },
};

/** Write what `bundle` makes of the kit's requests into the folder `out`. */
export async function followKit(bundle, kit, out) {
  // Seeds go up to 2^63 - 1, more than JSON.parse keeps: they are read as texts.
  const text = (await readFile(path.join(kit, 'kit.json'), 'utf8')).replace(/"seed": *(\d+)/g, '"seed": "$1"');
  const index = JSON.parse(text);
  if (index.version !== 1) throw new UnsupportedError(`${kit}: kit of version ${index.version}; this package follows 1`);
  const write = async (file, bytes) => {
    await mkdir(path.dirname(path.join(out, file)), { recursive: true });
    await writeFile(path.join(out, file), bytes);
  };
  for (const { prompt, seed, features, steps, assets } of index.requests) {
    const given = features ? readNpy(new Uint8Array(await readFile(path.join(kit, features)))).data : null;
    const values = {};
    const made = await bundle.generate({ prompt, seed, features: given }, { onValue: (name, value) => (values[name] = value) });
    for (const [name, file] of steps.flatMap((step) => Object.entries(step.values))) {
      if (!values[name]) throw new RequestError(`${kit}: value ${name} is none of this bundle's; make the kit of the same bundle`);
      await write(file, npy(values[name].data, values[name].shape));
    }
    for (const [kind, arrays] of Object.entries(assets)) {
      for (const [name, file] of Object.entries(arrays)) {
        const array = ARRAYS[kind]?.[name]?.(made.assets[kind]);
        if (array) await write(file, npy(...array));
      }
    }
  }
  for (const { seed, first } of index.noise) {
    const { length } = readNpy(new Uint8Array(await readFile(path.join(kit, first)))).data;
    await write(first, npy(new Generator(BigInt(seed)).standardNormal(length), [length]));
  }
}
