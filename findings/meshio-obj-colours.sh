#!/usr/bin/env bash
# meshio reads the vertex colours of an .obj as three more coordinates of space.
#
# "v x y z r g b" is how mesh tools store vertex colours in .obj. trimesh returns points and colours. meshio returns
# points in six dimensions and no colours. From there .obj and .off files come out without colour, and the
# writers of .stl and .ply fail with messages about dimensions and indices that name neither the colours nor
# the file that was read.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check meshio==5.3.5 trimesh==5.2.0 numpy==2.4.6

cat >probe.py <<'PY'
import contextlib
import io
from importlib.metadata import version

import meshio
import trimesh

with open("triangle.obj", "w") as file:
    file.write("v 0 0 0 1 0.5 0.25\nv 1 0 0 1 0.5 0.25\nv 0 1 0 1 0.5 0.25\nf 1 2 3\n")
mesh = trimesh.load("triangle.obj", process=False)
print("trimesh", version("trimesh"))
print("  points", mesh.vertices.shape, "second", mesh.vertices[1].tolist())
print("  colour", mesh.visual.vertex_colors[1].tolist())
mesh = meshio.read("triangle.obj")
print("meshio", version("meshio"))
print("  points", mesh.points.shape, "second", mesh.points[1].tolist())
print("  point data", mesh.point_data)
for ending in ("obj", "off", "stl", "ply"):
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            mesh.write("again." + ending)
        print(f"  .{ending}: written")
    except Exception as error:
        print(f"  .{ending}: {type(error).__name__}")
with open("again.obj") as file:
    print("  in the .obj:", next(line.strip() for line in file if line.startswith("v 1")))
PY

cat >expected <<'END'
trimesh 5.2.0
  points (3, 3) second [1.0, 0.0, 0.0]
  colour [255, 128, 64, 255]
meshio 5.3.5
  points (3, 6) second [1.0, 0.0, 0.0, 1.0, 0.5, 0.25]
  point data {}
  .obj: written
  .off: written
  .stl: ValueError
  .ply: IndexError
  in the .obj: v 1.0 0.0 0.0
END

env/bin/python probe.py | tee observed
diff -u expected observed || { echo "changed: this finding no longer holds as written"; exit 1; }
echo "unchanged"
