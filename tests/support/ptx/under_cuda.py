"""The emulator below the CUDA backend: csrc/cuda compiled to PTX, run on CPU tensors."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from shutil import which
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from surfloss.backends import cuda
from surfloss.backends.cuda import device as adapter
from tests.support.ptx import library
from tests.support.ptx.memory import Memory, Options, watched
from tests.support.ptx.program import Program

SHARED_BYTES = 227 * 1024  # per block, on an H100

programs: list[Program] = []
"""All launched programs, for their counts."""


def missing(compiler: str) -> str | None:
    """Why the kernels cannot be emulated with "nvcc" or "nvrtc", or None if they can."""
    if compiler == "nvcc" and not which("nvcc"):
        return "nvcc is not on the path"
    reason = adapter.compiler_problem() if compiler == "nvrtc" else None
    return reason or library.missing()


@cache
def compiled(compiler: str, architecture: int) -> str:
    """All kernels of csrc/cuda as PTX, compiled with the options of the backend."""
    sources, unit = adapter._source_folder(), adapter._PROGRAM
    if compiler == "nvrtc":
        return _by_nvrtc(unit, f"--gpu-architecture=sm_{architecture}", f"--include-path={sources}")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "unit.cu"), Path(folder, "unit.ptx")
        source.write_text(unit)
        command = ["nvcc", "-ptx", f"-arch=sm_{architecture}", f"-std={adapter._STANDARD}", f"-I{sources}"]
        subprocess.run([*command, "-o", str(target), str(source)], check=True)
        return target.read_text()


def _by_nvrtc(source: str, *options: str) -> str:
    """Compile with NVRTC directly, since `cuda-core` needs a driver for PTX."""
    from cuda.bindings import nvrtc

    def checked(status: Any, *results: Any) -> Any:
        assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS, status
        return results[0] if results else None

    program = checked(*nvrtc.nvrtcCreateProgram(source.encode(), b"kernels.cu", 0, [], []))
    flags = [f"--std={adapter._STANDARD}".encode(), *(option.encode() for option in options)]
    checked(*nvrtc.nvrtcCompileProgram(program, len(flags), flags))
    text = bytearray(checked(*nvrtc.nvrtcGetPTXSize(program)))
    checked(*nvrtc.nvrtcGetPTX(program, text))
    return text.decode().rstrip("\0")


class _Pointer(adapter.int64):
    """A tensor's address, with the tensor, so that the launch knows which memory it may access."""

    tensor: Tensor | None = None


def _pointer(tensor: Tensor | None) -> _Pointer:
    address = _Pointer(0 if tensor is None else tensor.data_ptr())
    address.tensor = tensor
    return address


@contextmanager
def emulated(
    compiler: str, architecture: int, options: Options | None = None, shared_bytes: int = SHARED_BYTES
) -> Iterator[None]:
    """Run the CUDA backend's kernels on CPU tensors in this context, compiled for `sm_<architecture>`.

    The backend sees `shared_bytes` of shared memory per block.
    """
    text, chosen = compiled(compiler, architecture), options or Options()

    def launch(
        kernel: str, blocks: int, threads: tuple[int, int], shared: int, arguments: Sequence[Any],
        device: torch.device,
    ) -> None:  # fmt: skip
        assert device.type == "cpu", device
        assert shared <= SHARED_BYTES, f"{kernel}: {shared} bytes of shared memory"
        tensors = [
            (f"argument {i}", argument.tensor)
            for i, argument in enumerate(arguments)
            if getattr(argument, "tensor", None) is not None
        ]
        values = [argument.value for argument in arguments]
        _program(text, kernel).run(
            (blocks, 1, 1), (*threads, 1), values, Memory(tensors, chosen), shared, chosen,
            description=f"{', '.join(f'{n} {tuple(t.shape)} {t.dtype}' for n, t in tensors)}, {values}",
        )  # fmt: skip

    replaced: dict[str, Callable[..., Any]] = {
        "launch": launch,
        "shared_bytes_limit": lambda _: shared_bytes,
        "pointer": _pointer,
    }
    with (
        mock.patch.multiple(adapter, **replaced),
        mock.patch.object(cuda, "pointer", _pointer),
        watched(cuda),
    ):
        yield


@cache
def _program(text: str, kernel: str) -> Program:
    program = Program(text, kernel)
    programs.append(program)
    return program
