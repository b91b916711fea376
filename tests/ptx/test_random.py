"""Random cases of every operator: `make test-ptx CASES=... SEED=...`, and a few in `make test`."""

import importlib
import os
import random
from contextlib import AbstractContextManager, nullcontext
from unittest import mock

import pytest

from tests.ptx.checks import CHECKS, OPERATORS, Draw
from tests.ptx.targets import TARGETS
from tests.support.ptx import Options, under_cuda

CASES, SEED = int(os.environ.get("PTX_CASES", "80")), int(os.environ.get("PTX_SEED", "0"))


@pytest.mark.parametrize("number", range(CASES), ids=lambda number: f"{SEED}-{number}")
def test_case(number: int) -> None:
    """One case. Seed and number determine target, operator, input and orders of blocks and warps."""
    draw = Draw(random.Random(f"{SEED}-{number}"))
    target = TARGETS[number % len(TARGETS)]
    if reason := target.missing():
        pytest.skip(reason)
    operator = draw.one("operator", OPERATORS[target.backend])
    backwards = {name: draw.random.random() < 0.5 for name in ("blocks_backwards", "warps_backwards")}
    # Without shared memory the CUDA backend runs its kernels for long axes.
    shared_bytes = draw.one("shared bytes", (0, *[under_cuda.SHARED_BYTES] * 5))
    with target.emulated(Options(**backwards), shared_bytes), in_rounds(target.backend, draw):
        CHECKS[operator](draw, target.backend)


def in_rounds(backend: str, draw: Draw) -> AbstractContextManager[object]:
    """Divide small volumes like large ones: the Triton backend's Hausdorff error in rounds and strips."""
    if backend != "triton" or draw.one("whole", (False, True)):
        return nullcontext()
    module = importlib.import_module("surfloss.backends.triton")
    sizes = {"ROUND": draw.one("round", (100, 1000, 5000)), "SMALL": draw.one("small", (0, 0, 1000))}
    return mock.patch.multiple(module, **sizes)
