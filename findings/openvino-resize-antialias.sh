#!/usr/bin/env bash
# OpenVINO runs an ONNX Resize with antialias=1 as if the attribute were 0.
#
# The attribute exists since opset 18; image encoders use it to shrink a picture to their input size as they were
# trained. onnxruntime and ONNX's reference evaluator blend all pixels under the wider filter. OpenVINO loads the
# same model without a warning and returns the numbers of antialias=0, for linear and for cubic.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check \
  onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 numpy==2.4.6

cat >probe.py <<'PY'
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

picture = np.array([[[[4, 0, 0, 0, 4, 0, 0, 0]]]], np.float32)
print(*(f"{name} {version(name)}" for name in ("onnx", "onnxruntime", "openvino")))
for mode in ("linear", "cubic"):
    for antialias in (0, 1):
        node = helper.make_node("Resize", ["x", "", "", "size"], ["y"], mode=mode, antialias=antialias)
        size = helper.make_tensor("size", TensorProto.INT64, [4], [1, 1, 1, 4])
        graph = helper.make_graph(
            [node],
            "resize",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, 4])],
            [size],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        data = model.SerializeToString()
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        print(f"  {mode}, antialias {antialias}")
        for name, result in (
            ("reference  ", ReferenceEvaluator(model).run(None, {"x": picture})[0]),
            ("onnxruntime", session.run(None, {"x": picture})[0]),
            ("openvino   ", compiled({"x": picture})[0]),
        ):
            print("   ", name, *(f"{value:.2f}" for value in result.ravel()))
PY

cat >expected <<'END'
onnx 1.23.2 onnxruntime 1.32.0 openvino 2026.4.1
  linear, antialias 0
    reference   2.00 0.00 2.00 0.00
    onnxruntime 2.00 0.00 2.00 0.00
    openvino    2.00 0.00 2.00 0.00
  linear, antialias 1
    reference   2.00 0.50 1.50 0.00
    onnxruntime 2.00 0.50 1.50 0.00
    openvino    2.00 0.00 2.00 0.00
  cubic, antialias 0
    reference   2.00 -0.38 2.38 0.00
    onnxruntime 2.00 -0.38 2.38 0.00
    openvino    2.00 -0.38 2.38 0.00
  cubic, antialias 1
    reference   1.93 0.24 1.76 -0.21
    onnxruntime 1.93 0.24 1.76 -0.21
    openvino    2.00 -0.38 2.38 0.00
END

env/bin/python probe.py | tee observed
diff -u expected observed || { echo "changed: this finding no longer holds as written"; exit 1; }
echo "unchanged"
