"""Which backend answers an operator, and why not another.

Order: the argument, then `use_backend`, then `SURFLOSS_BACKEND`, then the first of the table below that can
run on the tensor's device. A backend asked for by name runs or raises; only the automatic choice may pass on,
and it never takes a GPU tensor to the CPU.
"""

import importlib
import importlib.util
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import cast

import torch

from surfloss import _env
from surfloss._check import fail
from surfloss.backends import _load
from surfloss.backends._interface import Implementation, LabelImplementation, PoolingImplementation
from surfloss.backends.cuda import device as cuda_device

_OLDEST_TRITON = (3, 4)


@dataclass(frozen=True)
class Backend:
    """One row of the table: the module that implements it and where it runs."""

    name: str
    module: str
    automatic_on: tuple[str, ...]  # device types for which it may be chosen without being named
    named_on: tuple[str, ...] | None  # device types for which it may be named; None for every one
    # What this installation or machine lacks for it, if anything.
    problem: Callable[[], str | None] = lambda: None
    also: tuple[str, ...] = ()  # which optional operators it has: "labels", "contour", "surface"

    def unavailable(self, device: str | None = None) -> str | None:
        """Why it cannot run (on tensors of this device type), or None where it can."""
        if problem := self.problem():
            return problem
        if device is not None and self.named_on is not None and device not in self.named_on:
            return f"it runs on {', '.join(self.named_on)} tensors"
        return None

    def load(self) -> Implementation:
        return cast(Implementation, importlib.import_module(self.module))


@cache  # every call of an operator on a GPU asks, and the search costs as much as a small transform
def _missing_triton() -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (on Linux and Windows it comes with PyTorch for GPUs)"
    with suppress(PackageNotFoundError):  # a build of another name
        found = version("triton")
        if tuple(map(int, re.findall(r"\d+", found)[:2])) < _OLDEST_TRITON:
            wanted = ".".join(map(str, _OLDEST_TRITON))
            return f"Triton {found} is installed, and {wanted} or later is needed"
    return None


def _triton_problem() -> str | None:
    if problem := _missing_triton():
        return problem
    if not _env.triton_interprets() and not torch.cuda.is_available():
        return "PyTorch finds no GPU here (TRITON_INTERPRET=1 at start runs it on CPU tensors, for tests)"
    return None


# Fastest first: the automatic choice takes the first row that can run.
TABLE = (
    Backend(
        "cuda",
        "surfloss.backends.cuda",
        automatic_on=("cuda",),
        named_on=("cuda",),
        problem=cuda_device.problem,
    ),
    # Interpreted it would copy a GPU's tensors to the host and back: then it takes the CPU's only.
    Backend(
        "triton",
        "surfloss.backends.triton",
        automatic_on=("cuda",),
        named_on=("cpu",) if _env.triton_interprets() else ("cuda",),
        problem=_triton_problem,
        also=("labels", "contour"),
    ),
    Backend(
        "cpu",
        "surfloss.backends.cpu",
        automatic_on=("cpu",),
        named_on=("cpu",),
        problem=_load.cpu_library_problem,
        also=("labels", "contour", "surface"),
    ),
    # Named on a GPU tensor, the reference goes through the CPU: slow, correct and asked for.
    Backend("reference", "surfloss.backends.reference", ("cpu",), named_on=None, also=("labels",)),
)


def instruction_sets() -> tuple[str, ...]:
    """This processor's, of those that the C++ library is compiled for, the best last; none without it."""
    if _load.cpu_library_problem():
        return ()
    from surfloss.backends import cpu  # not before it is needed: importing surfloss loads no backend

    return cpu.instruction_sets()


_override: ContextVar[str | None] = ContextVar("surfloss_backend", default=None)


def available_backends() -> tuple[str, ...]:
    """The names of the backends that run here, fastest first; `backend_status` says why the others do not."""
    return tuple(name for name, reason in backend_status().items() if reason is None)


def backend_status() -> dict[str, str | None]:
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


def check_backend(argument: str, name: object) -> None:
    """Refuse what is neither None nor the name of a backend; one that cannot run here passes."""
    if name is not None:
        _by_name(argument, name)


def select(requested: str | None, device: torch.device) -> Implementation:
    """The implementation that answers for tensors on `device`; `requested` is the call's `backend`.

    Raises:
        ValueError: if a name is unknown.
        RuntimeError: if the named backend cannot run there, or if none can.
    """
    source, name = _wish(requested)
    if name is not None:
        backend = _by_name(source, name)
        if reason := backend.unavailable(device.type):
            wanted = f"a backend that runs there: {reason}"
            fail(source, f"{name!r} for a tensor on {device}", wanted, RuntimeError)
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


def select_labels(requested: str | None, device: torch.device) -> LabelImplementation:
    """The implementation of the operator of ops/labels.py; only a choice by name meets a backend without it.

    Raises:
        NotImplementedError: if the named backend lacks it, or none that runs there has it.
        ValueError, RuntimeError: as `select`.
    """
    source, name = _wish(requested)
    able = [backend for backend in TABLE if "labels" in backend.also]
    if name is None:
        automatic = (b.name for b in able if device.type in b.automatic_on and not b.unavailable(device.type))
        requested = next(automatic, None)
    if requested is None if name is None else _by_name(source, name) not in able:
        got = f"a tensor on {device}" if name is None else repr(name)
        wanted = f"one of {', '.join(backend.name for backend in able)}, running there"
        fail(source, f"{got} for label_edt", wanted, NotImplementedError)
    return cast(LabelImplementation, select(requested, device))


def select_pooling(operator: str, requested: str | None, device_type: str) -> Backend | None:
    """The backend for the operators "contour" or "surface": the one asked for, or the first that has them.

    None where there is none: PyTorch's pooling does the same.
    """
    _, name = _wish(requested)
    for backend in TABLE:
        wanted = device_type in backend.automatic_on if name is None else backend.name == name
        if wanted and operator in backend.also and backend.unavailable(device_type) is None:
            return backend
    return None


def load_pooling(operator: str, requested: str | None, device: torch.device) -> PoolingImplementation:
    """The implementation that `select_pooling` finds.

    Raises:
        RuntimeError: where there is none.
    """
    backend = select_pooling(operator, requested, device.type)
    if backend is None:
        fail("backend", repr(requested), f"one with the {operator} operators on {device}", RuntimeError)
    return cast(PoolingImplementation, backend.load())


def _wish(requested: str | None) -> tuple[str, str | None]:
    """Which backend is asked for, or None, and by what."""
    wishes = (
        ("backend", requested),
        ("use_backend", _override.get()),
        ("SURFLOSS_BACKEND", _env.requested_backend()),
    )
    return next((wish for wish in wishes if wish[1] is not None), ("backend", None))


def _by_name(source: str, name: object) -> Backend:
    for backend in TABLE:
        if isinstance(name, str) and backend.name == name:
            return backend
    fail(source, repr(name), f"one of {', '.join(backend.name for backend in TABLE)}")
