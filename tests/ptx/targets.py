"""The targets of compilation: a backend, its compiler and an architecture."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

from surfloss.ops import _select
from tests.support.ptx import Options, under_cuda, under_triton


@dataclass(frozen=True)
class Target:
    """A backend as compiled by one compiler for one architecture."""

    backend: str
    compiler: str
    architecture: int

    def __str__(self) -> str:
        return f"{self.compiler} sm_{self.architecture}"

    def missing(self) -> str | None:
        """Why the target cannot be emulated, or None if it can."""
        return under_triton.missing() if self.backend == "triton" else under_cuda.missing(self.compiler)

    @contextmanager
    def emulated(
        self, options: Options | None = None, shared_bytes: int = under_cuda.SHARED_BYTES
    ) -> Iterator[None]:
        """Allow the backend to be named for CPU tensors in this context, and emulate it.

        Args:
            shared_bytes: shared memory per block, for the CUDA backend.
        """
        row = _select._by_name("backend", self.backend)
        here = _select.Backend(row.name, row.module, automatic_on=(), named_on=("cpu",), also=row.also)
        table = (here, *(other for other in _select.TABLE if other.name != row.name))
        if self.backend == "triton":
            below = under_triton.emulated(self.architecture, options)
        else:
            below = under_cuda.emulated(self.compiler, self.architecture, options, shared_bytes)
        with mock.patch.object(_select, "TABLE", table), below:
            yield


TRITON = tuple(Target("triton", "triton", architecture) for architecture in (90, 80, 100))
CUDA = (Target("cuda", "nvcc", 90), Target("cuda", "nvrtc", 80))
EVERY = os.environ.get("PTX_TARGETS") == "all"
"""Whether to test all targets, as `make test-ptx` does, or only the first of each backend."""


def _first(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    return next(((target,) for target in targets if not target.missing()), targets[:1])


TARGETS = (*TRITON, *CUDA) if EVERY else (*_first(TRITON), *_first(CUDA))
