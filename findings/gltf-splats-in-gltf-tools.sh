#!/usr/bin/env bash
# glTF tools that do not know KHR_gaussian_splatting turn splats into dots, or call the file invalid.
#
# The file made here holds one splat with the attributes of KHR_gaussian_splatting, and the extension stands in
# extensionsUsed only, as a file that wants a point cloud as fallback does.
# - Khronos' validator knows no "KHR_gaussian_splatting:" names and reports each attribute as an error.
# - glTF-Transform keeps the attributes but drops the extension object that makes them splats, so after any
#   read and write no reader can tell splats from points; one line on the terminal says so.
# - three's GLTFLoader makes a point cloud of 1-pixel dots without transparency, and lower-cases the names.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$work" \
  @gltf-transform/core@4.5.1 @gltf-transform/extensions@4.5.1 gltf-validator@2.0.0-dev.3.10 three@0.187.0 >/dev/null

cat >probe.mjs <<'JS'
import { NodeIO, VERSION, Logger, Verbosity } from "@gltf-transform/core";
import { ALL_EXTENSIONS } from "@gltf-transform/extensions";
import validator from "gltf-validator";
import { REVISION } from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

const name = "KHR_gaussian_splatting";
const columns = [
  ["POSITION", [1, 2, 3]],
  ["COLOR_0", [0.5, 0.5, 0.5, 0.7]],
  [`${name}:ROTATION`, [0, 0, 0, 1]],
  [`${name}:SCALE`, [0.1, 0.2, 0.3]],
  [`${name}:OPACITY`, [0.7]],
  [`${name}:SH_DEGREE_0_COEF_0`, [0, 0, 0]],
];
const types = { 1: "SCALAR", 3: "VEC3", 4: "VEC4" };
const views = [];
const accessors = [];
let offset = 0;
for (const [semantic, row] of columns) {
  views.push({ buffer: 0, byteOffset: offset, byteLength: row.length * 4, target: 34962 });
  const accessor = { bufferView: views.length - 1, componentType: 5126, count: 1, type: types[row.length] };
  accessors.push(semantic === "POSITION" ? { ...accessor, min: row, max: row } : accessor);
  offset += row.length * 4;
}
const data = Buffer.from(Float32Array.from(columns.flatMap((column) => column[1])).buffer);
const gltf = {
  asset: { version: "2.0" },
  extensionsUsed: [name],
  scene: 0,
  scenes: [{ nodes: [0] }],
  nodes: [{ mesh: 0 }],
  meshes: [{ primitives: [{
    mode: 0,
    attributes: Object.fromEntries(columns.map(([semantic], index) => [semantic, index])),
    extensions: { [name]: {
      kernel: "ellipse", colorSpace: "srgb_rec709_display", projection: "perspective", sortingMethod: "cameraDistance",
    } },
  }] }],
  accessors,
  bufferViews: views,
  buffers: [{ byteLength: data.length, uri: `data:application/octet-stream;base64,${data.toString("base64")}` }],
};
const text = JSON.stringify(gltf);

const report = await validator.validateBytes(new TextEncoder().encode(text));
console.log("gltf-validator", report.validatorVersion);
for (const message of report.issues.messages.filter((entry) => entry.severity === 0)) {
  console.log("  error", message.code, message.pointer.split("/").pop());
}

const io = new NodeIO().setLogger(new Logger(Verbosity.SILENT)).registerExtensions(ALL_EXTENSIONS);
const resources = { "a.bin": new Uint8Array(data) };
const document = await io.readJSON({ json: { ...gltf, buffers: [{ byteLength: data.length, uri: "a.bin" }] }, resources });
const { json } = await io.writeJSON(document);
const primitive = json.meshes[0].primitives[0];
console.log("glTF-Transform", VERSION, "after reading and writing");
console.log("  extensionsUsed", json.extensionsUsed ?? "none", "and in the primitive", primitive.extensions ?? "none");
console.log("  splat attributes", Object.keys(primitive.attributes).filter((key) => key.startsWith(name)).length);

// As .glb for three, whose loader fetches buffers through browser classes that Node lacks.
const head = Buffer.from(JSON.stringify({ ...gltf, buffers: [{ byteLength: data.length }] }));
const chunk = Buffer.concat([head, Buffer.alloc((4 - (head.length % 4)) % 4, " ")]);
const glb = Buffer.alloc(28 + chunk.length + data.length);
glb.write("glTF", 0);
[2, glb.length, chunk.length].forEach((number, index) => glb.writeUInt32LE(number, 4 + 4 * index));
glb.write("JSON", 16);
chunk.copy(glb, 20);
glb.writeUInt32LE(data.length, 20 + chunk.length);
glb.write("BIN\0", 24 + chunk.length);
data.copy(glb, 28 + chunk.length);
globalThis.self ??= globalThis;
const buffer = glb.buffer.slice(glb.byteOffset, glb.byteOffset + glb.length);
const scene = await new Promise((resolve, reject) => new GLTFLoader().parse(buffer, "", resolve, reject));
const object = scene.scene.getObjectByProperty("isPoints", true);
console.log("three", REVISION);
console.log("  object", object.type, "size", object.material.size, "transparent", object.material.transparent);
console.log("  attribute", Object.keys(object.geometry.attributes).find((key) => key.endsWith("rotation")));
JS

cat >expected <<'END'
gltf-validator 2.0.0-dev.3.10
  error MESH_PRIMITIVE_INVALID_ATTRIBUTE KHR_gaussian_splatting:ROTATION
  error MESH_PRIMITIVE_INVALID_ATTRIBUTE KHR_gaussian_splatting:SCALE
  error MESH_PRIMITIVE_INVALID_ATTRIBUTE KHR_gaussian_splatting:OPACITY
  error MESH_PRIMITIVE_INVALID_ATTRIBUTE KHR_gaussian_splatting:SH_DEGREE_0_COEF_0
glTF-Transform v4.5.1 after reading and writing
  extensionsUsed none and in the primitive none
  splat attributes 4
three 187
  object Points size 1 transparent false
  attribute khr_gaussian_splatting:rotation
END

node probe.mjs | tee observed
diff -u expected observed || { echo "changed: this finding no longer holds as written"; exit 1; }
echo "unchanged"
