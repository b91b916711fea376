"""Tests of the GPU backends. They need only PyTorch, SciPy and pytest; `make gpu` runs them on their own.

Environment variables: `GPU_TEST_DEVICE` replaces the device "cuda" (use "cpu" to try the tests themselves).
`GPU_TEST_BACKEND` selects a single backend. `PART_FINDINGS` is a file that gets a line of JSON at the start
and the end of every test, which tells in which test a process crashed.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from surfloss.ops._select import TABLE

DEVICE = os.environ.get("GPU_TEST_DEVICE", "cuda")
ONLY = os.environ.get("GPU_TEST_BACKEND")
FINDINGS = os.environ.get("PART_FINDINGS")

BACKENDS = [
    row.name
    for row in TABLE
    if row.name != "reference"
    and (row.named_on is None or DEVICE in row.named_on)
    and (ONLY is None or row.name == ONLY)
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here not in item.path.parents:
            continue
        item.add_marker(pytest.mark.gpu)
        if DEVICE == "cuda" and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="PyTorch sees no GPU"))


@pytest.fixture(autouse=True)
def _seeds() -> None:
    torch.manual_seed(0)


@pytest.fixture
def device() -> str:
    return DEVICE


@pytest.fixture
def cuda() -> str:
    """The device, for tests of features that only a GPU has."""
    if DEVICE != "cuda":
        pytest.skip("only a GPU has this")
    return DEVICE


@pytest.fixture(params=BACKENDS or ["none"])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of each backend of the device in turn; skipped with a reason if it cannot run here."""
    if not BACKENDS:
        pytest.skip(f"no backend {ONLY or ''} for {DEVICE} tensors")
    reason = next(row for row in TABLE if row.name == request.param).unavailable(DEVICE)
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    return request.param


@pytest.fixture
def poisoned_scratch() -> Iterator[None]:
    """Let PyTorch fill new memory with NaN or the largest integer, to detect unwritten voxels."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def _note(test: str, outcome: str, reason: str = "") -> None:
    if FINDINGS:
        with Path(FINDINGS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"test": test, "outcome": outcome, "reason": reason}) + "\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    _note(nodeid, "started")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        _note(report.nodeid, "failed", str(crash.message if crash else report.longrepr)[:500])
    elif report.skipped:
        _note(report.nodeid, "skipped", str(report.longrepr[-1]).removeprefix("Skipped: "))
    elif report.when == "call":
        _note(report.nodeid, "passed")
