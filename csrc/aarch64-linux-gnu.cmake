# Cross compilation for 64-bit Arm with Debian's g++-aarch64-linux-gnu:
#   cmake -S . -B build/arm64 -DCMAKE_TOOLCHAIN_FILE=csrc/aarch64-linux-gnu.cmake
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L /usr/aarch64-linux-gnu)
