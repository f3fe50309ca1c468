#!/usr/bin/env bash
# ExecuTorch 1.5.1's wheel for x86-64: a float32 convolution runs at half the rate of a linear layer, on CPUs with AVX2
# and without AVX-512.
#
# XNNPACK's convolution there is a tile of 5 x 16 numbers: ten sums, two vectors of weights and five of inputs, in
# sixteen registers. The compiler that built the wheel keeps one of the ten sums on the stack and loads and stores it at
# every step of the innermost loop, so that a step waits for memory where it could run ahead. Linear layers have a
# kernel in assembly, and kernels for AVX-512 have 32 registers: neither is touched, and nor is ARM.
#
# Counted are operations a second in time of the CPU, one thread, the same number of products for both layers; and, on
# any CPU, loops of the library that multiply into a vector on the stack and store it there again.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check --no-cache-dir executorch==1.5.1 torch==2.14.1 2>log || { tail -5 log; exit 1; }

cat > loops.py <<'PY'
import importlib.util, pathlib, re
folder = pathlib.Path(importlib.util.find_spec("executorch").submodule_search_locations[0])
code = next(folder.rglob("libexecutorch_backend_xnnpack.so")).read_bytes()
# vfmadd213ps N(%rsp), ymm, ymmK ... vmovaps ymmK, N(%rsp) ... jne backwards by less than 256 bytes
loop = rb"\xc4\xe2[\x05-\x7d]\xa8([\x44\x4c\x54\x5c\x64\x6c\x74\x7c])\x24(.).{0,40}?\xc5\xfc\x29\1\x24\2.{0,12}?(?:\x75[\x80-\xff]|\x0f\x85[\x00-\xff]\xff\xff\xff)"
print("loops that keep a sum on the stack:", "some" if re.search(loop, code, re.DOTALL) else "none")
PY
cat > rate.py <<'PY'
import time, warnings
warnings.simplefilter("ignore")
import torch
from torch import nn
torch.set_num_threads(1)
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime

held = []

def lowered(module, x):
    exported = torch.export.export(module.eval().requires_grad_(False), (x,))
    buffer = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch().buffer
    program = Runtime.get().load_program(buffer)
    held.append((buffer, program))
    method = program.load_method("forward")
    return lambda: method.execute([x])

channels, edge = 128, 64
picture, rows = torch.randn(1, channels, edge, edge), torch.randn(edge * edge, 9 * channels)
convolution, linear = nn.Conv2d(channels, channels, 3, padding=1), nn.Linear(9 * channels, channels)
calls = {
    "convolution": lowered(convolution, picture),
    "linear": lowered(linear, rows),
    "torch's convolution": lambda: convolution(picture),
}
least = dict.fromkeys(calls, float("inf"))
for _ in range(12):
    for name, call in calls.items():
        begin = time.process_time()
        call()
        least[name] = min(least[name], time.process_time() - begin)
work = 2 * 9 * channels * channels * edge * edge / 1e9
for name, seconds in least.items():
    print(f"# {name}: {work / seconds:.0f} GFLOP a second")
slower = least["convolution"] / least["linear"]
print("convolution against linear:", "more than 1.6 times the time" if slower > 1.6 else f"{slower:.2f} times the time")
PY
export OMP_NUM_THREADS=1
env/bin/python loops.py > seen 2>>log
echo "loops that keep a sum on the stack: some" > expected
if grep -q -w avx2 /proc/cpuinfo && ! grep -q -w avx512f /proc/cpuinfo; then
    env/bin/python rate.py >> seen 2>>log
    echo "convolution against linear: more than 1.6 times the time" >> expected
else
    echo "# not timed: this CPU is not one with AVX2 and without AVX-512"
fi
grep '^#' seen || true; echo "executorch 1.5.1, torch 2.14.1"
grep -v '^#' seen | diff expected - && echo "as described"
