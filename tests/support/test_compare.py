"""The comparisons detect differences, and list the worst voxels first."""

import numpy as np
import pytest
import torch

from tests.support.compare import assert_close, assert_equal, assert_within_ulp

INF, NAN = float("inf"), float("nan")
NEXT = np.nextafter(np.float32(1), np.float32(2)).item()


def test_what_agrees_passes() -> None:
    assert_equal(torch.tensor([1.0, INF, -INF]), [1, INF, -INF])
    assert_within_ulp(torch.tensor([NEXT, INF]), [1.0, INF], 1)
    assert_close([1.0, INF], [1.5, INF], 0.5)
    assert_equal(torch.ones(0, 3), np.ones((0, 3)))


@pytest.mark.parametrize(
    "check", [assert_equal, lambda a, b: assert_within_ulp(a, b, 2), lambda a, b: assert_close(a, b, 1)]
)
@pytest.mark.parametrize(
    ("got", "wanted"), [(NAN, 1), (NAN, NAN), (1, NAN), (INF, 1), (1, INF), (INF, -INF), (9, 1), (0, 9)]
)
def test_what_differs_fails(check, got: float, wanted: float) -> None:
    with pytest.raises(AssertionError, match=r"1 of 2 voxels beyond .*\n  \(1,\): got"):
        check([5.0, got], [5.0, wanted])


def test_one_ulp_is_not_equal() -> None:
    with pytest.raises(AssertionError):
        assert_equal([NEXT], [1.0])
    with pytest.raises(AssertionError):
        assert_within_ulp([NEXT + 2e-7], [1.0], 1)


def test_shapes_must_agree() -> None:
    with pytest.raises(AssertionError, match=r"^shape: got \(2, 1\), wanted \(2,\)$"):
        assert_equal(torch.ones(2, 1), torch.ones(2))


def test_worst_comes_first() -> None:
    with pytest.raises(AssertionError, match=r"2 of 3 voxels.*\n  \(2,\): .*\n  \(0,\)"):
        assert_close([1.0, 0.0, 2.0], [0.0, 0.0, 0.0], 0.5)
