"""Fixtures for every test: fixed seeds, the backends, and scratch memory that shows what was not written."""

import importlib.util
import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import settings

if not torch.cuda.is_available():
    # Read as Triton and the table of backends are imported: its kernels run in Python, on CPU tensors.
    os.environ.setdefault("TRITON_INTERPRET", "1")

from surfloss import backend_status
from surfloss.backends import reference
from surfloss.ops._select import _by_name
from tests.support import interpreted

if importlib.util.find_spec("triton"):
    interpreted.hasten()

settings.register_profile("surfloss", deadline=None, derandomize=True, database=None, max_examples=40)
settings.load_profile("surfloss")


@pytest.fixture(autouse=True)
def _seeds() -> None:
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(params=list(backend_status()))
def backend(request: pytest.FixtureRequest) -> str:
    """The name of every backend in turn; skipped, with its reason, where it takes no CPU tensors here."""
    if reason := _by_name("backend", request.param).unavailable("cpu"):
        pytest.skip(f"{request.param}: {reason}")
    if request.param == "triton" and interpreted.too_slow(request):
        pytest.skip("triton: interpreted it would take too long")
    return request.param


@pytest.fixture
def seen_masks(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The masks as they reach the reference backend, which minds no strides where compiled code would."""
    seen = []
    for name in ("edt", "nearest_background"):
        plain = getattr(reference, name)
        spy = lambda mask, *rest, _plain=plain: (seen.append(mask), _plain(mask, *rest))[1]  # noqa: E731
        monkeypatch.setattr(reference, name, spy)
    return seen


@pytest.fixture
def poisoned_scratch() -> Iterator[None]:
    """PyTorch fills fresh memory (NaN, or the largest integer), so that an unwritten voxel is noticed."""
    assert torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
