"""Compiles the kernels of csrc/cuda for a device, once, and launches them on PyTorch's current stream.

NVRTC compiles them on first use, through `cuda-core`; no CUDA toolkit is needed. The machine code is cached
in `$XDG_CACHE_HOME/surfloss` (`~/.cache/surfloss`). The file name has the architecture and a hash of sources,
options and compiler. Cached code runs unchecked, so the folder must be writable only by the user.
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

_OLDEST = (7, 0)  # oldest architecture: the first with independent thread scheduling
_PROGRAM = '#include "edt.cu"\n#include "hausdorff.cu"\n'
_STANDARD = "c++17"

int32, int64, float32, float64 = ctypes.c_int32, ctypes.c_int64, ctypes.c_float, ctypes.c_double
Argument: TypeAlias = ctypes.c_int32 | ctypes.c_int64 | ctypes.c_float | ctypes.c_double


def pointer(tensor: Tensor | None) -> Argument:
    """A tensor's address as a kernel argument; null for None."""
    return int64(0 if tensor is None else tensor.data_ptr())


@cache
def problem() -> str | None:
    """Why the kernels cannot run on the GPU that is current at the first call, or None if they can."""
    if reason := compiler_problem():
        return reason
    if not torch.cuda.is_available():
        return "PyTorch finds no NVIDIA GPU or driver, or was built without CUDA"
    if torch.version.hip is not None:
        return "it needs an NVIDIA GPU, and this PyTorch is built for AMD GPUs"
    capability = torch.cuda.get_device_capability()
    if capability < _OLDEST:
        return f"{torch.cuda.get_device_name()} is sm_{_joined(capability)}, older than sm_{_joined(_OLDEST)}"
    return None


@cache
def compiler_problem() -> str | None:
    """Why kernels cannot be compiled here, whether there is a GPU or not; None if they can."""
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
    except RuntimeError as error:  # the errors of cuda.pathfinder derive from it
        return f"NVRTC, which comes with PyTorch's CUDA builds, does not load: {str(error).splitlines()[0]}"
    return None


def shared_bytes_limit(device: torch.device) -> int:
    """Bytes of shared memory that a block may use."""
    properties: Any = torch.cuda.get_device_properties(device)  # the attribute is missing in PyTorch's stubs
    return int(properties.shared_memory_per_block_optin)


def launch(
    kernel: str,
    blocks: int,
    threads: tuple[int, int],
    shared_bytes: int,
    arguments: Sequence[Argument],
    device: torch.device,
) -> None:
    """Queue a kernel on the current stream of `device`. Does not block, except to compile on first use.

    Args:
        threads: threads per block along x and y.
        arguments: in the order and with the types of the kernel's parameters.
    """
    from cuda.core import Device
    from cuda.core import launch as launch_kernel

    index = torch.cuda.current_device() if device.index is None else device.index
    # Skip PyTorch's context manager, which is slow, if the device is already current.
    elsewhere = torch.cuda.device(index) if index != torch.cuda.current_device() else nullcontext()
    with elsewhere:
        Device(index).set_current()  # a new thread has no CUDA context yet
        stream = _Stream(torch.cuda.current_stream().cuda_stream)
        launch_kernel(stream, _config(blocks, threads, shared_bytes), _kernel(kernel, index), *arguments)


def compiled(architecture: str) -> bytes:
    """The machine code of all kernels for an architecture such as "sm_90", from the cache or the compiler.

    Raises:
        RuntimeError: if the compiler does not support the architecture (with its log), or if another user may
            have written to the cache.
    """
    path = _cache_folder() / f"kernels-{_fingerprint()}-{architecture}.cubin"
    with suppress(OSError):
        _refuse_foreign(path.parent, path.parent.lstat())
        with path.open("rb") as kept:
            _refuse_foreign(path, os.fstat(kept.fileno()))
            return kept.read()
    code = _compile(architecture)
    # Replace atomically: another process may write the same file. Continue if the cache is not writable.
    with suppress(OSError):
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        _refuse_foreign(path.parent, path.parent.lstat())
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(code)
        os.replace(file.name, path)
    return code


class _Stream:
    """PyTorch's stream as `cuda-core` expects it."""

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
    """The kernel, allowed to use all shared memory of a block."""
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
    """The CUDA sources: inside the package in a wheel, in `csrc` in a source tree or editable install."""
    package = Path(__file__).parents[2]
    installed = package / "_kernels" / "cuda"
    return installed if installed.is_dir() else package.parents[1] / "csrc" / "cuda"


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "surfloss"


def _refuse_foreign(path: Path, status: os.stat_result) -> None:
    """Raise if another user may have created or changed a file or folder of the cache."""
    if not hasattr(os, "geteuid"):
        return  # on Windows the folder is in the user's profile
    is_own = status.st_uid == os.geteuid() and not stat.S_ISLNK(status.st_mode)
    if not is_own or status.st_mode & 0o022:
        got = f"{path} of user {status.st_uid} with mode {stat.filemode(status.st_mode)}"
        wanted = "one that you own, not a link, writable only by you (XDG_CACHE_HOME moves the cache)"
        fail("cache of compiled kernels", got, wanted, RuntimeError)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # a parent package is missing, or fails to import
        return False


def _joined(capability: tuple[int, int]) -> str:
    return "".join(map(str, capability))
