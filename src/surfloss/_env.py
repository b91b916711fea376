"""The only reader of environment variables; `docs/environment.md` lists them."""

import os


def requested_backend() -> str | None:
    """Name of the backend asked for by `SURFLOSS_BACKEND`, or None where it is unset or empty."""
    return os.environ.get("SURFLOSS_BACKEND") or None


def requested_isa() -> str | None:
    """Name of the instruction set asked for by `SURFLOSS_CPU_ISA`, or None where it is unset or empty."""
    return os.environ.get("SURFLOSS_CPU_ISA") or None


def triton_interprets() -> bool:
    """Whether Triton runs its kernels in Python, on CPU tensors: what its own `TRITON_INTERPRET` says."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")


def requested_tolerance() -> str | None:
    """The tolerance that `SURFLOSS_NNUNET_TOLERANCE` asks for, or None where it is unset or empty."""
    return os.environ.get("SURFLOSS_NNUNET_TOLERANCE") or None
