"""Compiled kernels without a GPU: the two GPU backends in the emulator of tests/support/ptx.

`make test` runs these tests, and `make test-ptx` many more random cases. They need a process in which Triton
does not interpret: `TRITON_INTERPRET=0 pytest -m ptx`. Every access of every launch is checked.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ptx.targets import TARGETS, Target


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.ptx)


@pytest.fixture(params=TARGETS, ids=str)
def target(request: pytest.FixtureRequest) -> Target:
    """Every backend with every compiler; skipped with a reason if it is not available."""
    if reason := request.param.missing():
        pytest.skip(reason)
    return request.param


@pytest.fixture
def backend(target: Target) -> Iterator[str]:
    """The name of the target's backend, set up to run on CPU tensors."""
    with target.emulated():
        yield target.backend
