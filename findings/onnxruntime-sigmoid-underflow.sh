#!/usr/bin/env bash
# onnxruntime's Sigmoid on CPUs is exactly 0 below about -18, where float32 has numbers down to 1e-38.
#
# The ONNX operator is 1 / (1 + exp(-x)): at -20 that is 2.06e-9, and NumPy in float32 agrees until about -88.
# onnxruntime gives twice the value at -17 and 0 at -20. A network that takes the logarithm, as matchers of keypoints
# do, gets minus infinity. torch 2.14.1's exporter writes logsigmoid as Log(Sigmoid(x)), which this script builds by
# hand; -Softplus(-x) in the same runtime is right everywhere.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6

cat >probe.py <<'PY'
from importlib.metadata import version

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

x = np.array([-30, -20, -17, -10, 0, 10, 20], np.float32)


def run(*operators):
    names = ["x", *(f"t{k}" for k in range(1, len(operators))), "y"]
    nodes = [helper.make_node(o, [a], [b]) for o, a, b in zip(operators, names, names[1:])]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [x.size]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "probe", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def told(values):
    return " ".join(f"{v:.2g}" for v in values.tolist())


print(*(f"{name} {version(name)}" for name in ("onnxruntime", "onnx", "numpy")))
print("x                   ", told(x))
print("Sigmoid, onnxruntime", told(run("Sigmoid")))
print("Sigmoid, NumPy      ", told(np.float32(1) / (np.float32(1) + np.exp(-x))))
print("Log(Sigmoid(x))     ", told(run("Sigmoid", "Log")))
print("-Softplus(-x)       ", told(run("Neg", "Softplus", "Neg")))
PY

cat >expected <<'END'
onnxruntime 1.32.0 onnx 1.23.2 numpy 2.4.6
x                    -30 -20 -17 -10 0 10 20
Sigmoid, onnxruntime 0 0 8.9e-08 4.5e-05 0.5 1 1
Sigmoid, NumPy       9.4e-14 2.1e-09 4.1e-08 4.5e-05 0.5 1 1
Log(Sigmoid(x))      -inf -inf -16 -10 -0.69 -4.5e-05 0
-Softplus(-x)        -30 -20 -17 -10 -0.69 -4.5e-05 -2.1e-09
END

env/bin/python probe.py | tee observed
diff -u expected observed || { echo "changed: this finding no longer holds as written"; exit 1; }
echo "unchanged"
