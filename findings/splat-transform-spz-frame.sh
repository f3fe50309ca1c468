#!/usr/bin/env bash
# Two releases of splat-transform read each other's .spz files upside down.
#
# One splat at (1, 2, 3) in a .ply is written to .spz by both releases and read back by both.
# Each release undoes its own choice, so a round trip with one of them hides it. 2.7.1 turns by half a turn
# about x when it writes and when it reads; 3.7.0 keeps the numbers. The file does not say which.
# The .glb of both has the splat at (-1, -2, 3): the .spz and the .glb that one release makes of one .ply
# differ by half a turn as well.
# 3.7.0 asks for Node 22; "npm install @playcanvas/splat-transform" on Node 20 picks 2.7.1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm install --silent --no-audit --no-fund --prefix "$work/runtime" node@22.23.3 >/dev/null
node="$work/runtime/node_modules/node/bin/node"
for version in 2.7.1 3.7.0; do
  npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional --prefix "$work/$version" \
    "@playcanvas/splat-transform@$version" >/dev/null
done
convert() { # version input output
  "$node" "$work/$1/node_modules/@playcanvas/splat-transform/bin/cli.mjs" -q -w "$2" "$3" >/dev/null 2>&1
}

cat >probe.py <<'PY'
import csv
import struct
import sys

NAMES = "x y z f_dc_0 f_dc_1 f_dc_2 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3".split()


def make(path):
    row = [1, 2, 3, 0.5, -0.5, 0.25, 1, -3, -4, -5, 1, 0, 0, 0]
    head = "ply\nformat binary_little_endian 1.0\nelement vertex 1\n"
    head += "".join(f"property float {name}\n" for name in NAMES) + "end_header\n"
    with open(path, "wb") as file:
        file.write(head.encode() + struct.pack("<14f", *row))


def show(path):
    if path.endswith(".csv"):
        with open(path, newline="") as file:
            row = next(csv.DictReader(file))
        place = [float(row[axis]) for axis in "xyz"]
    else:  # .glb: POSITION is the first accessor and its data the first bytes of the binary chunk
        data = open(path, "rb").read()
        place = struct.unpack_from("<3f", data, 28 + struct.unpack_from("<I", data, 12)[0])
    print(*(f"{value:g}" for value in place))


{"make": make, "show": show}[sys.argv[1]](sys.argv[2])
PY

cat >expected <<'END'
.ply                                1 2 3
.spz written by 2.7.1 read by 2.7.1 1 2 3
.spz written by 2.7.1 read by 3.7.0 1 -2 -3
.glb written by 2.7.1               -1 -2 3
.spz written by 3.7.0 read by 2.7.1 1 -2 -3
.spz written by 3.7.0 read by 3.7.0 1 2 3
.glb written by 3.7.0               -1 -2 3
END

python="${PYTHON:-python3}"
"$python" probe.py make one.ply
{
  convert 3.7.0 one.ply ply.csv
  echo ".ply                                $("$python" probe.py show ply.csv)"
  for writer in 2.7.1 3.7.0; do
    convert "$writer" one.ply "$writer.spz"
    convert "$writer" one.ply "$writer.glb"
    for reader in 2.7.1 3.7.0; do
      convert "$reader" "$writer.spz" back.csv
      echo ".spz written by $writer read by $reader $("$python" probe.py show back.csv)"
    done
    echo ".glb written by $writer               $("$python" probe.py show "$writer.glb")"
  done
} | tee observed
diff -u expected observed || { echo "changed: this finding no longer holds as written"; exit 1; }
echo "unchanged"
