"""The emulator below Triton's launch code: kernels compiled for an absent GPU, run on CPU tensors.

Triton specializes, compiles and launches as for a GPU. Only the driver is replaced.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple
from unittest import mock

import torch

from tests.support.ptx import library
from tests.support.ptx.memory import Memory, Options, watched
from tests.support.ptx.program import Program

SHARED_BYTES = 227 * 1024  # per block, on an H100


def missing() -> str | None:
    """Why Triton's kernels cannot be emulated here, or None if they can."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    from triton import knobs

    if knobs.runtime.interpret:
        return "Triton interprets its kernels in this process (`make test-ptx` emulates them)"
    return library.missing()


class _Function(NamedTuple):
    """Replaces the address of a loaded kernel."""

    program: Program
    shared_bytes: int


class _Launcher:
    """Launches a kernel with the arguments from Triton, which include constants."""

    options = Options()

    def __init__(self, source: Any, metadata: Any) -> None:
        self.kinds, self.warps = list(source.signature.items()), metadata.num_warps

    def __call__(
        self, x: int, y: int, z: int, stream: int, function: _Function, packed: object, launch: object,
        enter: object, leave: object, *arguments: Any,
    ) -> None:  # fmt: skip
        program = function.program
        values: list[int | float] = []
        tensors = []
        for (name, kind), argument in zip(self.kinds, arguments, strict=True):
            if kind == "constexpr":
                continue
            if kind.startswith("*"):
                tensors.append((name, argument))
            values.append(argument.data_ptr() if kind.startswith("*") else argument)
        # The last parameters are addresses of scratch memory, which our kernels do not use.
        values += [0] * (len(program.code.parameters) - len(values))
        program.run(
            (x, y, z), program.threads or (32 * self.warps, 1, 1), values,
            Memory(tensors, self.options), function.shared_bytes, self.options,
            description=", ".join(f"{name} {tuple(t.shape)} {t.dtype}" for name, t in tensors),
        )  # fmt: skip


class _Utilities:
    """Loads kernels, from PTX instead of machine code."""

    @staticmethod
    @cache
    def _program(text: str, name: str) -> Program:
        program = Program(text, name)
        programs.append(program)
        return program

    def load_binary(self, name: str, text: Any, shared: int, device: int) -> tuple[Any, ...]:
        text = text.decode() if isinstance(text, bytes) else text
        return None, _Function(self._program(text, name), shared), 0, 0, 1024

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": SHARED_BYTES, "multiprocessor_count": 132, "warpSize": 32}


programs: list[Program] = []
"""All loaded programs, for their counts."""


class _Driver:
    """The functions of Triton's driver that its launch code calls.

    The device number is that of the architecture, so that Triton caches kernels per architecture.
    """

    launcher_cls = _Launcher

    def __init__(self, architecture: int) -> None:
        from triton.backends.compiler import GPUTarget

        self.target, self.utils = GPUTarget("cuda", architecture, 32), _Utilities()

    def get_current_device(self) -> int:
        return int(self.target.arch)

    def get_current_stream(self, device: int | None = None) -> int:
        return 0

    def get_current_target(self) -> Any:
        return self.target

    def get_device_capability(self, device: int | None = None) -> tuple[int, int]:
        return divmod(self.target.arch, 10)

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def map_python_to_cpp_type(self, kind: str) -> str:
        return kind


def _without_machine_code(stages: dict[str, Callable[..., Any]]) -> None:
    """Make PTX the last stage, so that no assembler is needed."""
    stages["cubin"] = lambda source, metadata: source.encode()


@contextmanager
def emulated(architecture: int, options: Options | None = None) -> Iterator[None]:
    """Run the Triton backend's kernels on CPU tensors in this context, compiled for `sm_<architecture>`.

    Triton keeps this driver afterwards; without a GPU there is no other.
    """
    from triton.backends.nvidia.compiler import CUDABackend
    from triton.runtime.driver import driver

    backend = importlib.import_module("surfloss.backends.triton")
    add_stages = CUDABackend.add_stages

    def shorter(self: Any, stages: dict[str, Callable[..., Any]], *rest: Any) -> None:
        add_stages(self, stages, *rest)
        _without_machine_code(stages)

    driver.set_active(_Driver(architecture))
    with (
        mock.patch.object(CUDABackend, "add_stages", shorter),
        mock.patch.object(_Launcher, "options", options or Options()),
        mock.patch.object(torch.cuda, "device", mock.MagicMock()),
        # Use a separate cache, since the stored "machine code" is PTX.
        mock.patch.dict(os.environ, TRITON_CACHE_DIR=str(library.BUILD / "triton")),
        watched(backend),
    ):
        yield
