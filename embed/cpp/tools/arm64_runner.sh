#!/usr/bin/env bash
# Cross-builds what `gen3dexport validate --device` copies to an ARM64 Linux: gen3d with every CPU kernel, ExecuTorch's
# libraries, and the C library and loader that it was built for, so that it runs whichever the device has.
#   arm64_runner.sh WHEEL_FOLDER OUT_FOLDER      (default place of --runner: ~/.cache/gen3dexport/runners/aarch64)
# WHEEL_FOLDER: as in arm64_under_qemu.sh. Debian packages: cmake g++-aarch64-linux-gnu
set -euo pipefail
wheel=$(realpath "$1") out=$(realpath -m "$2")
here=$(cd "$(dirname "$0")/.." && pwd)
for tool in aarch64-linux-gnu-g++ cmake; do
  command -v "$tool" >/dev/null || { echo "$tool: not here; apt-get install g++-aarch64-linux-gnu cmake" >&2; exit 3; }
done
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cmake -S "$here" -B "$build" -DCMAKE_TOOLCHAIN_FILE="$here/aarch64-linux-gnu.cmake" -DGEN3D_EXECUTORCH="$wheel" \
  -DGEN3D_ALL_KERNELS=ON -DBUILD_TESTING=OFF ${GEN3D_CMAKE_OPTIONS:-}
cmake --build "$build" --target gen3d_tool gen3d --parallel "$(nproc)"
cmake --install "$build" --prefix "$out"
for library in ld-linux-aarch64.so.1 libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libgcc_s.so.1 libstdc++.so.6; do
  cp -L "$(aarch64-linux-gnu-g++ -print-file-name="$library")" "$out/lib/$library"
done
echo "$out: a runner for ARM64 Linux"
