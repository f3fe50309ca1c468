#!/usr/bin/env bash
# Cross-builds gen3d for ARM64, runs its tests under qemu, and compares a bundle's steps with a kit that x86-64 made.
#   arm64_under_qemu.sh WHEEL_FOLDER BUILD_FOLDER [BUNDLE KIT]
# WHEEL_FOLDER: the unpacked aarch64 wheel of executorch (the folder that has include/ and lib/):
#   pip download executorch==1.5.1 --no-deps --only-binary=:all: --platform manylinux_2_28_aarch64 --python-version 3.11
# Debian packages: g++-aarch64-linux-gnu qemu-user-static
set -euo pipefail
wheel=$(realpath "$1") build=$2
here=$(cd "$(dirname "$0")/.." && pwd)
for tool in aarch64-linux-gnu-g++ qemu-aarch64-static cmake; do
  command -v "$tool" >/dev/null || { echo "$tool: not here; apt-get install g++-aarch64-linux-gnu qemu-user-static cmake" >&2; exit 3; }
done
cmake -S "$here" -B "$build" -DCMAKE_TOOLCHAIN_FILE="$here/aarch64-linux-gnu.cmake" -DGEN3D_EXECUTORCH="$wheel"
cmake --build "$build" --parallel "$(nproc)"
ctest --test-dir "$build" --output-on-failure
if [ $# -ge 4 ]; then
  qemu-aarch64-static -cpu cortex-a76 -L /usr/aarch64-linux-gnu "$build/gen3d" check-kit "$3" "$4"
fi
