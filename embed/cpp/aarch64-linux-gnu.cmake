# Cross-build for ARM64 Linux with Debian's g++-aarch64-linux-gnu:
#   cmake -S embed/cpp -B arm -DCMAKE_TOOLCHAIN_FILE=embed/cpp/aarch64-linux-gnu.cmake -DGEN3D_EXECUTORCH=<the aarch64 wheel's folder>
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# `max` is not usable: QEMU 7.2 multiplies int8 matrices wrongly with SME (docs/embed.md).
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -cpu cortex-a76 -L /usr/aarch64-linux-gnu)
