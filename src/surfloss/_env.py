"""The only reader of environment variables; `docs/environment.md` lists them."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

from surfloss._check import fail


def requested_backend() -> str | None:
    """Name of the backend asked for by `SURFLOSS_BACKEND`, or None where it is unset or empty."""
    return os.environ.get("SURFLOSS_BACKEND") or None


def requested_isa() -> str | None:
    """Name of the instruction set asked for by `SURFLOSS_CPU_ISA`, or None where it is unset or empty."""
    return os.environ.get("SURFLOSS_CPU_ISA") or None


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """Ask for an instruction set inside the `with` block, as `SURFLOSS_CPU_ISA` does."""
    before = os.environ.get("SURFLOSS_CPU_ISA")
    os.environ["SURFLOSS_CPU_ISA"] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ["SURFLOSS_CPU_ISA"]
        else:
            os.environ["SURFLOSS_CPU_ISA"] = before


def triton_interprets() -> bool:
    """Whether Triton runs its kernels in Python, on CPU tensors: what its own `TRITON_INTERPRET` says."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")


def requested_tolerance() -> float | None:
    """The tolerance in mm that `SURFLOSS_NNUNET_TOLERANCE` asks for, or None where it is unset or empty.

    Raises:
        ValueError: if it is no number of 0 or more.
    """
    text = os.environ.get("SURFLOSS_NNUNET_TOLERANCE")
    tolerance = _number(text) if text else None
    if tolerance is not None and not 0 <= tolerance < math.inf:
        fail("SURFLOSS_NNUNET_TOLERANCE", repr(text), "a finite number of mm, at least 0")
    return tolerance


def volume_limit() -> int:
    """Bytes that the voxels of one file may take in memory: `SURFLOSS_MAX_VOLUME_GIB`, or 4 GiB.

    Raises:
        ValueError: if the variable is no positive number.
    """
    text = os.environ.get("SURFLOSS_MAX_VOLUME_GIB") or "4"
    if not 0 < (limit := _number(text)) < math.inf:
        fail("SURFLOSS_MAX_VOLUME_GIB", repr(text), "a positive number of GiB")
    return int(limit * 2**30)


def _number(text: str) -> float:
    """NaN for a text that is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan
