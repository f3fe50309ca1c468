#!/usr/bin/env bash
# With session.x64quantprecision, onnxruntime does not load a model whose int8 convolutions share a weight's zero point.
#
# On x86 processors without VNNI, products of uint8 and int8 saturate, and that entry of the session's configuration is the
# way to right numbers: int8 weights are rewritten as uint8. When two QLinearConv nodes name the same initializer as the
# zero point of their weights, which ONNX allows and exporters make of equal constants, the rewriting ends with "Attempt to
# replace the existing tensor". One initializer each is loaded. Without the entry both are; so are both on processors
# with VNNI, where nothing is rewritten: this script then has nothing to look at and says so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
if grep -qE 'avx512_vnni|avx_vnni' /proc/cpuinfo || ! grep -q avx2 /proc/cpuinfo; then
  echo "needs an x86 processor with AVX2 and without VNNI: nothing was looked at"
  exit 0
fi
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6 2>log || { tail -5 log; exit 1; }

cat >look.py <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def model(shared):
    """Two quantized convolutions one after the other; their weights have one zero point, or one each."""
    rng = np.random.default_rng(0)
    values = {"step": np.float32(0.05), "zero": np.uint8(128), "w_zero0": np.int8(0), "w_zero1": np.int8(0)}
    nodes = [helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q0"])]
    for k in range(2):
        values[f"w{k}"] = rng.integers(-127, 128, (16, 16, 3, 3)).astype(np.int8)
        values[f"w_step{k}"] = np.full(16, 0.01, np.float32)
        inputs = [f"q{k}", "step", "zero", f"w{k}", f"w_step{k}", "w_zero0" if shared else f"w_zero{k}", "step", "zero"]
        nodes.append(helper.make_node("QLinearConv", inputs, [f"q{k + 1}"], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("DequantizeLinear", ["q2", "step", "zero"], ["y"]))
    if shared:
        del values["w_zero1"]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 16, 8, 8]) for name in "xy"]
    given = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "two", ends[:1], ends[1:], given), opset_imports=[helper.make_opsetid("", 18)], ir_version=8
    )
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


print(f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}; onnx's full check passes for every model")
for precise in ("0", "1"):
    for shared in (False, True):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.x64quantprecision", precise)
        try:
            onnxruntime.InferenceSession(model(shared), options, providers=["CPUExecutionProvider"])
            said = "loaded"
        except Exception as error:
            said = "refused: " + str(error).strip().rpartition("AddInitializedOrtValue ")[2]
        print(f"x64quantprecision={precise}, {'one zero point' if shared else 'a zero point each'}: {said}")
PY
env/bin/python look.py >seen 2>log || { tail -5 log; exit 1; }

cat >expected <<'TXT'
onnxruntime 1.32.0, onnx 1.23.2; onnx's full check passes for every model
x64quantprecision=0, a zero point each: loaded
x64quantprecision=0, one zero point: loaded
x64quantprecision=1, a zero point each: loaded
x64quantprecision=1, one zero point: refused: Attempt to replace the existing tensor
TXT
cat seen
diff -u expected seen || { echo "changed: this finding no longer holds as written"; exit 1; }
echo "unchanged"
