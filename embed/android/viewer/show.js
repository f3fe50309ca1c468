// Shows the mesh that the application has written, in the viewer of gen3dexport's web page.

import { makeViewer } from './viewer.js';

const hint = document.getElementById('hint');
let viewer = null;
try {
  viewer = makeViewer(document.getElementById('canvas'));
} catch {
  hint.textContent = 'this device draws no WebGL; the file is complete';
}

async function part(name, number, Type) {
  const answer = await fetch(`/made/${name}?${number}`, { cache: 'no-store' });
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return new Type(await answer.arrayBuffer());
}

async function show(number) {
  try {
    const [vertices, normals, faces] = await Promise.all([
      part('vertices', number, Float32Array),
      part('normals', number, Float32Array),
      part('faces', number, Uint32Array),
    ]);
    viewer?.show({ vertices, normals, faces });
    document.documentElement.dataset.shown = String(number);
  } catch (error) {
    hint.textContent = `cannot be shown (${error.message}); the file is complete`;
  }
}

window.gen3d = { show };
