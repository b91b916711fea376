"""Every operator once on small, odd sizes, for compute-sanitizer, which is slow."""

import pytest
import torch

from surfloss.ops.edt import edt, nearest_background
from tests.support import cases
from tests.support.compare import assert_equal, assert_within_ulp
from tests.support.operators import hausdorff_error


@pytest.mark.parametrize("shape", [(2, 5, 33, 70), (1, 1, 1, 7), (3, 37, 65), (2, 129)], ids=str)
def test_few_distances(shape: tuple[int, ...], backend: str, device: str) -> None:
    mask = cases.noise(*shape, share=0.8)
    for spacing in ([1.0] * (len(shape) - 1), [5.0, 0.42, 0.42][: len(shape) - 1]):
        for form in ("one_sided", "two_sided", "signed"):
            got = edt(mask.to(device), spacing, None, form, False, backend)
            assert_within_ulp(got, edt(mask, spacing, None, form, False, "reference"), 2)
        indices = nearest_background(mask.to(device), spacing, None, backend).cpu()
        assert_equal((indices < 0).any(1), mask.flatten(1).all(1).view(-1, *(1,) * (mask.ndim - 1)) & mask)


def test_few_errors(backend: str, device: str) -> None:
    input, target = torch.randn(2, 5, 19, 35), cases.noise(2, 5, 19, 35, share=0.2)
    options = (None, None, True, 2.0, [5.0, 0.42, 0.42], None, "zero")
    error, *_ = hausdorff_error(input.to(device), target.to(device), *options, backend)
    wanted, *_ = hausdorff_error(input, target, *options, "reference")
    torch.testing.assert_close(error.cpu(), wanted, rtol=1e-5, atol=0)
