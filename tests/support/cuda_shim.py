"""The kernels of csrc/cuda on the CPU: compiled with g++ and tests/cpp/cuda_shim.h, called as on a GPU."""

import ctypes
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from shutil import which

import torch

ROOT = Path(__file__).parents[2]
H100_SHARED_BYTES = 227 * 1024


def missing() -> str | None:
    """Why the kernels cannot run on this CPU, or None if they can."""
    return None if which("g++") else "g++, which compiles the kernels for the CPU, is not on the path"


@cache
def library(sanitize: bool) -> ctypes.CDLL:
    """The kernels of the source tree. With `sanitize`, undefined behavior ends the process."""
    command = ["g++", "-std=c++17", "-x", "c++", "-O2", "-fPIC", "-shared"]
    # -march=native makes fmaf an instruction instead of a slow call. No other operations are fused.
    command += ["-march=native", "-ffp-contract=off", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE"]
    command += ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
    if sanitize:
        command += ["-fsanitize=undefined", "-fno-sanitize-recover=all", "-static-libubsan"]
    command += [f"-I{ROOT / 'csrc/cuda'}", f"-I{ROOT / 'tests/cpp'}", str(ROOT / "tests/cpp/cuda_shim.cpp")]
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/cuda_shim.so"
        subprocess.run([*command, "-o", path], check=True)
        loaded = ctypes.CDLL(path)
    loaded.shim_launch.argtypes = [
        ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p
    ]  # fmt: skip
    loaded.shim_candidates.argtypes = [ctypes.c_void_p]
    return loaded


def launch(
    kernel: str,
    blocks: int,
    threads: tuple[int, int],
    shared_bytes: int,
    arguments: Sequence[object],
    device: torch.device,
    sanitize: bool = False,
) -> None:
    """Replaces `backends.cuda.device.launch`."""
    assert device.type == "cpu"
    addresses = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
    status = library(sanitize=sanitize).shim_launch(
        kernel.encode(), blocks, *threads, shared_bytes, addresses
    )
    assert status == 0, f"{kernel} is unknown, or {threads} threads or {shared_bytes} bytes are too many"


def candidates() -> tuple[float, float]:
    """Candidates read since the last call: by all lanes, and with each lane as busy as its warp's busiest."""
    counts = (ctypes.c_double * 2)()
    library(sanitize=False).shim_candidates(counts)
    return counts[0], counts[1]
