#!/usr/bin/env bash
# usd-core takes quaternions from NumPy in another order than from anything else.
#
# Gf.Quatf, its text form and .usda files all put the real part first: (w, x, y, z), as .ply splats do.
# Vt.QuatfArray.FromNumpy, and a USD array turned into NumPy, put it last: x, y, z, w. An array of rotations taken
# over from a 3DGS file row by row is accepted; the identity (1, 0, 0, 0) becomes half a turn about x.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check usd-core==26.11 numpy==2.4.6

cat >probe.py <<'PY'
import numpy as np
from pxr import Gf, Sdf, Usd, Vt

rows = np.array([[1, 0, 0, 0]], np.float32)
by_numbers = Vt.QuatfArray([Gf.Quatf(*map(float, row)) for row in rows])
by_array = Vt.QuatfArray.FromNumpy(rows)
print("usd-core", "{1}.{2}".format(*Usd.GetVersion()), "numpy", np.__version__)
print("  row", rows[0].tolist())
layer = Sdf.Layer.CreateAnonymous(".usda")
prim = Sdf.PrimSpec(layer, "a", Sdf.SpecifierDef)
for name, value in (("numbers", by_numbers), ("array", by_array)):
    Sdf.AttributeSpec(prim, name, Sdf.ValueTypeNames.QuatfArray).default = value
    line = next(line for line in layer.ExportToString().splitlines() if f" {name} =" in line)
    print(f"  from {name}, in .usda{line.split(name)[1]}, angle {Gf.Rotation(value[0]).angle:g}")
print("  back in NumPy", np.array(by_numbers).tolist()[0])
PY

cat >expected <<'END'
usd-core 26.11 numpy 2.4.6
  row [1.0, 0.0, 0.0, 0.0]
  from numbers, in .usda = [(1, 0, 0, 0)], angle 0
  from array, in .usda = [(0, 1, 0, 0)], angle 180
  back in NumPy [0.0, 0.0, 0.0, 1.0]
END

env/bin/python probe.py | tee observed
diff -u expected observed || { echo "changed: this finding no longer holds as written"; exit 1; }
echo "unchanged"
