#!/usr/bin/env bash
# trimesh opens a glTF file whose required extension it cannot decode, and returns a mesh of zeros.
#
# glTF says: a reader that does not support an entry of extensionsRequired must not load the file.
# Draco meshes always stand there, because the file holds no other copy of the vertices. Without the optional
# DracoPy package, trimesh logs two warnings and hands back a mesh of the
# right vertex count with every vertex at the origin and every index 0. With DracoPy it reads the same file well.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

for name in without with; do
  "${PYTHON:-python3}" -m venv "$name"
  "$name/bin/pip" install --quiet --disable-pip-version-check trimesh==5.2.0 numpy==2.4.6
done
with/bin/pip install --quiet --disable-pip-version-check DracoPy==2.2.0

cat >make.py <<'PY'
import json
import struct

import DracoPy
import numpy as np

points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
data = DracoPy.encode(points, np.array([[0, 1, 2]], np.uint32), quantization_bits=14)
name = "KHR_draco_mesh_compression"
document = {
    "asset": {"version": "2.0"},
    "extensionsUsed": [name],
    "extensionsRequired": [name],
    "scene": 0,
    "scenes": [{"nodes": [0]}],
    "nodes": [{"mesh": 0}],
    "meshes": [{"primitives": [{
        "attributes": {"POSITION": 0},
        "indices": 1,
        "extensions": {name: {"bufferView": 0, "attributes": {"POSITION": 0}}},
    }]}],
    "accessors": [
        {"componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]},
        {"componentType": 5123, "count": 3, "type": "SCALAR"},
    ],
    "bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": len(data)}],
    "buffers": [{"byteLength": len(data)}],
}
data += b"\0" * (-len(data) % 4)
text = json.dumps(document).encode()
text += b" " * (-len(text) % 4)
with open("triangle.glb", "wb") as file:
    file.write(struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(data)))
    file.write(struct.pack("<I4s", len(text), b"JSON") + text)
    file.write(struct.pack("<I4s", len(data), b"BIN\0") + data)
PY

cat >read.py <<'PY'
import sys

import trimesh

mesh = trimesh.load("triangle.glb", force="mesh", process=False)
print("trimesh", trimesh.__version__, sys.argv[1], "DracoPy")
print("  vertices", mesh.vertices.tolist())
print("  faces", mesh.faces.tolist())
PY

cat >expected <<'END'
trimesh 5.2.0 with DracoPy
  vertices [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
  faces [[0, 1, 2]]
trimesh 5.2.0 without DracoPy
  vertices [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
  faces [[0, 0, 0]]
END

with/bin/python make.py
{ with/bin/python read.py with && without/bin/python read.py without; } | tee observed
diff -u expected observed || { echo "changed: this finding no longer holds as written"; exit 1; }
echo "unchanged"
