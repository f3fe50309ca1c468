// Bundles of gen3dexport with ONNX programs, in browsers and Node.

export { Bundle, openBundle } from './bundle.js';
export { BundleError, NothingMadeError, RequestError, UnsupportedError } from './errors.js';
export { checkHostSteps, followSteps, makeAssets } from './host_steps.js';
export { marchingCubes } from './marching_cubes.js';
export { meshOfLogits } from './mesh.js';
export { ENDINGS, glb, meshFile, ply } from './mesh_files.js';
export { Generator } from './noise.js';
export { WordPiece } from './wordpiece.js';
