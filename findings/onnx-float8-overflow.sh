#!/usr/bin/env bash
# ONNX and ml_dtypes disagree on what becomes of a weight that float8 cannot hold.
#
# ONNX's Cast to float8_e4m3fn saturates unless told otherwise: 465, 10000 and even infinity become 448, the
# largest number. ml_dtypes, the types of JAX, makes all of them NaN.
# In float8_e5m2 infinity stays infinity in ml_dtypes and becomes 57344 in ONNX.
# So a scale that is a little too small is unseen in the one and destroys a layer in the other, and an infinity
# that a check should find is gone after an ONNX cast.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check \
  onnx==1.23.2 onnxruntime==1.32.0 ml_dtypes==0.6.0 numpy==2.4.6

cat >probe.py <<'PY'
import warnings
from importlib.metadata import version

import ml_dtypes
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

warnings.simplefilter("ignore")
weights = np.array([448, 464, 465, 1e4, 1e5, np.inf], np.float32)
print(*(f"{name} {version(name)}" for name in ("onnxruntime", "ml_dtypes")))
print("  weights          ", weights.tolist())
for name, code, dtype in (
    ("float8_e4m3fn", TensorProto.FLOAT8E4M3FN, ml_dtypes.float8_e4m3fn),
    ("float8_e5m2", TensorProto.FLOAT8E5M2, ml_dtypes.float8_e5m2),
):
    nodes = [
        helper.make_node("Cast", ["x"], ["q"], to=code),
        helper.make_node("Cast", ["q"], ["y"], to=TensorProto.FLOAT),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [6]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "cast", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    print(" ", name)
    print("    onnxruntime", session.run(None, {"x": weights})[0].tolist())
    print("    ml_dtypes  ", weights.astype(dtype).astype(np.float32).tolist())
PY

cat >expected <<'END'
onnxruntime 1.32.0 ml_dtypes 0.6.0
  weights           [448.0, 464.0, 465.0, 10000.0, 100000.0, inf]
  float8_e4m3fn
    onnxruntime [448.0, 448.0, 448.0, 448.0, 448.0, 448.0]
    ml_dtypes   [448.0, 448.0, nan, nan, nan, nan]
  float8_e5m2
    onnxruntime [448.0, 448.0, 448.0, 10240.0, 57344.0, 57344.0]
    ml_dtypes   [448.0, 448.0, 448.0, 10240.0, inf, inf]
END

env/bin/python probe.py | tee observed
diff -u expected observed || { echo "changed: this finding no longer holds as written"; exit 1; }
echo "unchanged"
