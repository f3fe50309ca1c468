/** A value of host steps, row-major. */
export type Value =
  | { type: 'float32'; shape: number[]; data: Float32Array }
  | { type: 'int64'; shape: number[]; data: BigInt64Array };
export type Values = Record<string, Value>;

export class BundleError extends Error {}
export class NothingMadeError extends Error {}
export class RequestError extends Error {}
export class UnsupportedError extends Error {}

/** The bytes of a file, by its name relative to the bundle. */
export type Read = (name: string) => Promise<Uint8Array>;

export interface Request {
  prompt?: string;
  /** A whole number from 0 to 2^63 - 1. */
  seed?: number | bigint | string;
  /** Condition features, row-major, for bundles without an encoder. */
  features?: ArrayLike<number>;
}

export interface Progress {
  stage: 'load' | 'run';
  /** What is loaded or called next; '' at the end. */
  component: string;
  done: number;
  total: number;
}

/** A closed surface in the unit cube [-0.5, 0.5]^3, right-handed, z up. */
export interface Mesh {
  kind: 'mesh';
  /** [V, 3] */
  vertices: Float32Array;
  /** [V, 3], of length 1 */
  normals: Float32Array;
  /** [F, 3], counter-clockwise seen from outside */
  faces: Uint32Array;
}

export interface Voxels {
  kind: 'voxels';
  resolution: number;
  /** [R, R, R] by x, y, z; 1 where a voxel is occupied */
  data: Uint8Array;
  count: number;
}

export interface HeightField {
  kind: 'height_field';
  shape: [number, number];
  /** [H, W] over a square of edge 1, row 0 the far edge */
  heights: Float32Array;
}

export interface Assets {
  height_field?: HeightField;
  mesh?: Mesh;
  voxels?: Voxels;
}

export interface Made {
  assets: Assets;
  /** By component, `host` for the rest, `all`. */
  milliseconds: Record<string, number>;
  calls: number;
  warnings: string[];
}

export interface GenerateOptions {
  onProgress?: (progress: Progress) => void;
  onWarning?: (text: string) => void;
  onValue?: (name: string, value: Value) => void;
  signal?: AbortSignal;
}

export class Bundle {
  readonly manifest: any;
  /** Milliseconds by component. */
  readonly loading: Record<string, number>;
  generate(request: Request, options?: GenerateOptions): Promise<Made>;
  release(): Promise<void>;
}

/** `ort` is onnxruntime-web or onnxruntime-node; `session` goes to every InferenceSession. */
export function openBundle(
  read: Read,
  ort: any,
  options?: { session?: object; onProgress?: (progress: Progress) => void; signal?: AbortSignal },
): Promise<Bundle>;

/** What runs programs and reads files while host steps are followed. */
export interface Host {
  call(component: string, inputs: Values): Promise<Values>;
  text(file: string): Promise<string>;
  tokenizers?: Map<string, WordPiece>;
  onValue?: (name: string, value: Value) => void;
  onWarning?: (text: string) => void;
  signal?: AbortSignal;
}

/** Throws UnsupportedError, with the name of what is lacking here. */
export function checkHostSteps(hostSteps: any): void;
export function followSteps(hostSteps: any, request: Request, host: Host): Promise<Values>;
export function makeAssets(hostSteps: any, values: Values): Assets;

/** Where `field` [n, n, n] crosses 0, in cells. */
export function marchingCubes(field: Float32Array, n: number): { vertices: Float32Array; faces: Uint32Array };
/** Logits [R, R, R] with leading axes of 1. */
export function meshOfLogits(value: Value, rule?: { level?: number }): Mesh;

export const ENDINGS: string[];
export function glb(mesh: Mesh): Uint8Array;
export function ply(mesh: Mesh): Uint8Array;
/** The writer is chosen by the name's ending. */
export function meshFile(mesh: Mesh, name: string): Uint8Array;

/** numpy.random.default_rng(seed), bit for bit. */
export class Generator {
  constructor(seed: number | bigint);
  standardNormal(count: number): Float32Array;
}

/** BERT's tokenizer, of the text of a tokenizer.json. */
export class WordPiece {
  constructor(text: string);
  encode(text: string): { ids: number[]; unknown: string[] };
}
