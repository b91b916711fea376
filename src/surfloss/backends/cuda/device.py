"""Compiles the kernels of csrc/cuda for a device, once, and launches them on PyTorch's current stream.

NVRTC compiles at first use, through `cuda-core`: no CUDA toolkit is needed. The machine code is kept in
`$XDG_CACHE_HOME/surfloss` (`~/.cache/surfloss`), under a name that tells sources, options, compiler and
architecture. It is run as it lies there, so the folder must be the user's own.
"""

import ctypes
import hashlib
import importlib.util
import os
import stat
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from surfloss._check import fail

_OLDEST = (7, 0)  # of the architectures; threads of a warp run apart from there on
_PROGRAM = '#include "edt.cu"\n#include "hausdorff.cu"\n'
_STANDARD = "c++17"

int32, int64, float32, float64 = ctypes.c_int32, ctypes.c_int64, ctypes.c_float, ctypes.c_double
Argument: TypeAlias = ctypes.c_int32 | ctypes.c_int64 | ctypes.c_float | ctypes.c_double


def pointer(tensor: Tensor | None) -> Argument:
    """A tensor's address as an argument of a kernel; null for None."""
    return int64(0 if tensor is None else tensor.data_ptr())


@cache
def problem() -> str | None:
    """Why the kernels cannot run on the GPU that is current at the first call, or None where they can."""
    if reason := compiler_problem():
        return reason
    if not torch.cuda.is_available():
        return "PyTorch finds no NVIDIA GPU, driver, or CUDA build of its own"
    if torch.version.hip is not None:
        return "it is for NVIDIA GPUs, and this PyTorch is for AMD's"
    capability = torch.cuda.get_device_capability()
    if capability < _OLDEST:
        return f"{torch.cuda.get_device_name()} is sm_{_joined(capability)}, older than sm_{_joined(_OLDEST)}"
    return None


@cache
def compiler_problem() -> str | None:
    """Why nothing can be compiled here, with or without a GPU, or None where it can."""
    if not (_source_folder() / "edt.cu").is_file():
        return "this installation lacks the kernels' sources"
    if not _is_installed("cuda.core"):
        return "cuda-core is not installed (`pip install 'surfloss[cuda]'`)"
    if not _is_installed("cuda.bindings"):
        return "cuda-bindings is not installed, which comes with PyTorch's CUDA builds"
    try:
        from cuda.core import LaunchConfig, ObjectCode, Program, launch  # noqa: F401

        _nvrtc_version()
    except ImportError as error:
        return f"cuda-core 1.0 or later does not load: {str(error).splitlines()[0]}"
    except RuntimeError as error:  # cuda.pathfinder's own is one
        return f"NVRTC, which comes with PyTorch's CUDA builds, does not load: {str(error).splitlines()[0]}"
    return None


def shared_bytes_limit(device: torch.device) -> int:
    """How much shared memory a block may have."""
    properties: Any = torch.cuda.get_device_properties(device)  # PyTorch's stubs lack this one
    return int(properties.shared_memory_per_block_optin)


def launch(
    kernel: str,
    blocks: int,
    threads: tuple[int, int],
    shared_bytes: int,
    arguments: Sequence[Argument],
    device: torch.device,
) -> None:
    """Queue a kernel on the current stream of `device`; waits for nothing but, at first use, the compiler.

    Args:
        threads: of a block, along x and y.
        arguments: in the order and the types of the kernel's parameters.
    """
    from cuda.core import Device
    from cuda.core import launch as launch_kernel

    index = torch.cuda.current_device() if device.index is None else device.index
    # What PyTorch's context manager costs is spared where it has nothing to change.
    elsewhere = torch.cuda.device(index) if index != torch.cuda.current_device() else nullcontext()
    with elsewhere:
        Device(index).set_current()  # a thread that has not used the GPU yet has no context
        stream = _Stream(torch.cuda.current_stream().cuda_stream)
        launch_kernel(stream, _config(blocks, threads, shared_bytes), _kernel(kernel, index), *arguments)


def compiled(architecture: str) -> bytes:
    """The machine code of all kernels for an architecture such as "sm_90", from the cache or the compiler.

    Raises:
        RuntimeError: with the compiler's log, where it does not know the architecture; or where someone else
            may have put code into the cache.
    """
    path = _cache_folder() / f"kernels-{_fingerprint()}-{architecture}.cubin"
    with suppress(OSError):
        _refuse_foreign(path.parent, path.parent.lstat())
        with path.open("rb") as kept:
            _refuse_foreign(path, os.fstat(kept.fileno()))
            return kept.read()
    code = _compile(architecture)
    # Another process may write the same at the same time; without a place to write, every process compiles.
    with suppress(OSError):
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        _refuse_foreign(path.parent, path.parent.lstat())
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(code)
        os.replace(file.name, path)
    return code


class _Stream:
    """PyTorch's stream, by the protocol of `cuda-core`."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._handle


@lru_cache
def _config(blocks: int, threads: tuple[int, int], shared_bytes: int) -> Any:
    from cuda.core import LaunchConfig

    return LaunchConfig(grid=blocks, block=(*threads, 1), shmem_size=shared_bytes)


@cache
def _kernel(name: str, device: int) -> Any:
    """The kernel, allowed all shared memory of the device."""
    from cuda.bindings import driver

    kernel = _library(device).get_kernel(name)
    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    limit = shared_bytes_limit(torch.device("cuda", device))
    (status,) = driver.cuKernelSetAttribute(attribute, limit, kernel.handle, driver.CUdevice(device))
    if status != driver.CUresult.CUDA_SUCCESS:
        fail(f"{limit} bytes of shared memory", status.name, "CUDA_SUCCESS", RuntimeError)
    return kernel


@cache
def _library(device: int) -> Any:
    from cuda.core import ObjectCode

    return ObjectCode.from_cubin(compiled(f"sm_{_joined(torch.cuda.get_device_capability(device))}"))


def _compile(architecture: str) -> bytes:
    from cuda.core import Program, ProgramOptions

    options = ProgramOptions(std=_STANDARD, arch=architecture, include_path=str(_source_folder()))
    code: bytes = Program(_PROGRAM, "c++", options).compile("cubin").code
    return code


@cache
def _fingerprint() -> str:
    digest = hashlib.sha256(f"{_PROGRAM} {_STANDARD} {_nvrtc_version()}".encode())
    for path in sorted(_source_folder().glob("*.cu*")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:24]


def _nvrtc_version() -> tuple[int, int]:
    from cuda.bindings import nvrtc

    _, major, minor = nvrtc.nvrtcVersion()
    return major, minor


def _source_folder() -> Path:
    """In the package of a wheel; beside `src` in a source tree, which an editable install uses."""
    package = Path(__file__).parents[2]
    installed = package / "_kernels" / "cuda"
    return installed if installed.is_dir() else package.parents[1] / "csrc" / "cuda"


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "surfloss"


def _refuse_foreign(path: Path, status: os.stat_result) -> None:
    """Raise where someone else may have made or changed what will run as machine code."""
    if not hasattr(os, "geteuid"):
        return  # on Windows the folder lies in the user's profile
    is_own = status.st_uid == os.geteuid() and not stat.S_ISLNK(status.st_mode)
    if not is_own or status.st_mode & 0o022:
        got = f"{path} of user {status.st_uid} with mode {stat.filemode(status.st_mode)}"
        wanted = "one of your own, no link, that only you may write to (XDG_CACHE_HOME sets another place)"
        fail("cache of compiled kernels", got, wanted, RuntimeError)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # a package of `module`, or one that it needs
        return False


def _joined(capability: tuple[int, int]) -> str:
    return "".join(map(str, capability))
