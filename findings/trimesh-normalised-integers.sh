#!/usr/bin/env bash
# trimesh reads normalised integers of a glTF file as if they were plain bytes and metres.
#
# glTF stores a 16-bit colour c as c / 65535, and KHR_mesh_quantization a 16-bit position p as p / 32767.
# The file made here says so in the two ways glTF has ("normalized" and the required extension),
# and the Khronos validator reports nothing about it. glTF-Transform returns 1, 0.5, 0.25 and a triangle
# of 1 m. trimesh keeps the low byte of each colour (32768 becomes 0) and makes the triangle 32767 m wide.
# No warning, no error.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check trimesh==5.2.0 numpy==2.4.6
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$work" \
  @gltf-transform/core@4.5.1 @gltf-transform/extensions@4.5.1 gltf-validator@2.0.0-dev.3.10 >/dev/null

cat >make.py <<'PY'
import json
import struct

positions = struct.pack("<12h", 0, 0, 0, 0, 32767, 0, 0, 0, 0, 32767, 0, 0)  # three shorts and one of padding
colours = struct.pack("<4H", 65535, 32768, 16384, 65535) * 3
indices = struct.pack("<3Hxx", 0, 1, 2)
document = {
    "asset": {"version": "2.0"},
    "extensionsUsed": ["KHR_mesh_quantization"],
    "extensionsRequired": ["KHR_mesh_quantization"],
    "scene": 0,
    "scenes": [{"nodes": [0]}],
    "nodes": [{"mesh": 0}],
    "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2}]}],
    "accessors": [
        {"bufferView": 0, "componentType": 5122, "normalized": True, "count": 3, "type": "VEC3",
         "min": [0, 0, 0], "max": [32767, 32767, 0]},
        {"bufferView": 1, "componentType": 5123, "normalized": True, "count": 3, "type": "VEC4"},
        {"bufferView": 2, "componentType": 5123, "count": 3, "type": "SCALAR"},
    ],
    "bufferViews": [
        {"buffer": 0, "byteOffset": 0, "byteLength": 24, "byteStride": 8, "target": 34962},
        {"buffer": 0, "byteOffset": 24, "byteLength": 24, "target": 34962},
        {"buffer": 0, "byteOffset": 48, "byteLength": 6, "target": 34963},
    ],
    "buffers": [{"byteLength": 56}],
}
text = json.dumps(document).encode()
text += b" " * (-len(text) % 4)
data = positions + colours + indices
with open("triangle.glb", "wb") as file:
    file.write(struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(data)))
    file.write(struct.pack("<I4s", len(text), b"JSON") + text)
    file.write(struct.pack("<I4s", len(data), b"BIN\0") + data)
PY

cat >with_trimesh.py <<'PY'
import trimesh

mesh = trimesh.load("triangle.glb", force="mesh", process=False)
print("trimesh", trimesh.__version__)
print("  second vertex", mesh.vertices[1].tolist())
print("  colour", mesh.visual.vertex_colors[0].tolist(), "of 255")
PY

cat >peers.mjs <<'JS'
import { readFileSync } from "node:fs";
import { NodeIO, VERSION } from "@gltf-transform/core";
import { KHRMeshQuantization } from "@gltf-transform/extensions";
import validator from "gltf-validator";

const bytes = new Uint8Array(readFileSync("triangle.glb"));
const report = await validator.validateBytes(bytes);
console.log("gltf-validator", report.validatorVersion);
console.log("  messages", report.issues.messages.length);
const read = await new NodeIO().registerExtensions([KHRMeshQuantization]).readBinary(bytes);
const primitive = read.getRoot().listMeshes()[0].listPrimitives()[0];
const at = (name, index) => primitive.getAttribute(name).getElement(index, []).map((x) => x.toFixed(3)).join(" ");
console.log("glTF-Transform", VERSION);
console.log("  second vertex", at("POSITION", 1));
console.log("  colour", at("COLOR_0", 0), "of 1");
JS

cat >expected <<'END'
gltf-validator 2.0.0-dev.3.10
  messages 0
glTF-Transform v4.5.1
  second vertex 1.000 0.000 0.000
  colour 1.000 0.500 0.250 1.000 of 1
trimesh 5.2.0
  second vertex [32767.0, 0.0, 0.0]
  colour [255, 0, 0, 255] of 255
END

env/bin/python make.py
{ node peers.mjs && env/bin/python with_trimesh.py; } | tee observed
diff -u expected observed || { echo "changed: this finding no longer holds as written"; exit 1; }
echo "unchanged"
