#!/usr/bin/env bash
# ExecuTorch 1.5.1: to import the Python runtime is to import the whole exporter.
#
# `executorch.runtime` and `portable_lib` take one warning's class from `executorch.exir._warnings`, and the package
# `executorch.exir` imports the exporter, torchao, Triton, SymPy and torch's compiler on the way. The extension module
# below both, `executorch.extension.pybindings._C`, needs torch alone and runs the same programs.
#
# Counted are modules and resident memory beyond `import torch`, each in a process of its own.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check --no-cache-dir executorch==1.5.1 torch==2.14.1 2>log || { tail -5 log; exit 1; }

cat > count.py <<'PY'
import importlib, sys, warnings
warnings.simplefilter("ignore")

def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1000

import torch
modules, before = set(sys.modules), resident()
importlib.import_module(sys.argv[1])
new = set(sys.modules) - modules
packages = {name.split(".")[0] for name in new}
print(f"# {sys.argv[1]}: {len(new)} modules, {resident() - before:.0f} MB")
print(sys.argv[1], "modules:", "more than 1000" if len(new) > 1000 else "fewer than 20" if len(new) < 20 else len(new))
print(sys.argv[1], "memory:", "more than 100 MB" if resident() - before > 100 else "less than 100 MB")
print(sys.argv[1], "exporter:", "executorch.exir" in sys.modules, "sympy:", "sympy" in packages)
PY
for name in executorch.extension.pybindings._C executorch.extension.pybindings.portable_lib executorch.runtime; do
    env/bin/python count.py "$name" 2>>log
done > seen
grep '^#' seen; echo "executorch 1.5.1, torch 2.14.1"
cat > expected <<'TXT'
executorch.extension.pybindings._C modules: fewer than 20
executorch.extension.pybindings._C memory: less than 100 MB
executorch.extension.pybindings._C exporter: False sympy: False
executorch.extension.pybindings.portable_lib modules: more than 1000
executorch.extension.pybindings.portable_lib memory: more than 100 MB
executorch.extension.pybindings.portable_lib exporter: True sympy: True
executorch.runtime modules: more than 1000
executorch.runtime memory: more than 100 MB
executorch.runtime exporter: True sympy: True
TXT
grep -v '^#' seen | diff expected - && echo "as described"
