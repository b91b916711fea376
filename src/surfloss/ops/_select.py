"""Which backend answers an operator, and why not another.

Order: the argument, then `use_backend`, then `SURFLOSS_BACKEND`, then the first of the table below that can
run on the tensor's device. A backend asked for by name runs or raises; only the automatic choice may pass on,
and it never takes a GPU tensor to the CPU.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from surfloss import _env
from surfloss._check import fail
from surfloss.backends import _load
from surfloss.backends.cuda import device as cuda_device


class Implementation(Protocol):
    """What a backend module provides; `backends/reference.py` documents and defines the meaning."""

    def edt(
        self, mask: Tensor, spacing: list[float], item_spacing: Tensor | None, form: str, squared: bool
    ) -> Tensor: ...

    def nearest_background(
        self, mask: Tensor, spacing: list[float], item_spacing: Tensor | None
    ) -> Tensor: ...

    def hausdorff_error(
        self,
        input: Tensor,
        target: Tensor,
        input_squared: Tensor | None,
        target_squared: Tensor | None,
        ignore: Tensor | None,
        sigmoid: bool,
        alpha: float,
        spacing: list[float],
        item_spacing: Tensor | None,
        empty: str,
    ) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Backend:
    """One row of the table: the module that implements it and where it runs."""

    name: str
    module: str
    automatic_on: tuple[str, ...]  # device types for which it may be chosen without being named
    named_on: tuple[str, ...] | None  # device types for which it may be named; None for every one
    problem: Callable[[], str | None] = lambda: (
        None
    )  # what this installation or machine lacks for it, if anything

    def unavailable(self, device: str | None = None) -> str | None:
        """Why it cannot run (on tensors of this device type), or None where it can."""
        if problem := self.problem():
            return problem
        if device is not None and self.named_on is not None and device not in self.named_on:
            return f"it runs on {', '.join(self.named_on)} tensors"
        return None

    def load(self) -> Implementation:
        return cast(Implementation, importlib.import_module(self.module))


# Fastest first: the automatic choice takes the first row that can run.
TABLE = (
    Backend(
        "cpu",
        "surfloss.backends.cpu",
        automatic_on=("cpu",),
        named_on=("cpu",),
        problem=_load.cpu_library_problem,
    ),
    Backend(
        "cuda",
        "surfloss.backends.cuda",
        automatic_on=(),
        named_on=("cuda",),
        problem=cuda_device.problem,
    ),
    # Named on a GPU tensor, the reference goes through the CPU: slow, correct and asked for.
    Backend("reference", "surfloss.backends.reference", automatic_on=("cpu",), named_on=None),
)

_override: ContextVar[str | None] = ContextVar("surfloss_backend", default=None)


def available_backends() -> dict[str, str | None]:
    """Every backend by name, with None where it can run here or else the reason why it cannot."""
    return {backend.name: backend.unavailable() for backend in TABLE}


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Answer every operator called inside the `with` block by the backend `name`.

    Raises:
        ValueError: if no backend has that name.
    """
    token = _override.set(_by_name("use_backend", name).name)
    try:
        yield
    finally:
        _override.reset(token)


def select(requested: str | None, device: torch.device) -> Implementation:
    """The implementation that answers for tensors on `device`.

    Args:
        requested: the `backend` argument of the call, None for no wish.

    Raises:
        ValueError: if a name is unknown.
        RuntimeError: if the named backend cannot run there, or if none can.
    """
    for source, name in (
        ("backend", requested),
        ("use_backend", _override.get()),
        ("SURFLOSS_BACKEND", _env.requested_backend()),
    ):
        if name is None:
            continue
        backend = _by_name(source, name)
        if reason := backend.unavailable(device.type):
            fail(
                source,
                f"{name!r} for a tensor on {device}",
                f"a backend that runs there: {reason}",
                RuntimeError,
            )
        return backend.load()
    reasons = []
    for backend in TABLE:
        if device.type not in backend.automatic_on:
            reasons.append(f"{backend.name} is not chosen for {device.type} tensors unless named")
        elif reason := backend.unavailable(device.type):
            reasons.append(f"{backend.name}: {reason}")
        else:
            return backend.load()
    fail("backend", f"a tensor on {device}", f"a device with a backend ({'; '.join(reasons)})", RuntimeError)


def _by_name(source: str, name: str) -> Backend:
    for backend in TABLE:
        if backend.name == name:
            return backend
    fail(source, repr(name), f"one of {', '.join(backend.name for backend in TABLE)}")
