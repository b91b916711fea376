"""Masks and spacings of every type that holds them."""

import numpy as np
import pytest
import torch

from surfloss import metrics

MASK = np.array([[[0, 1, 1], [0, 0, 1]]])
REAL = [torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int64]
REAL += [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn]


@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_a_mask_of_any_real_dtype(dtype):
    mask = torch.tensor(MASK).to(dtype)
    assert metrics.dice(mask, mask) == 1
    assert metrics.volume_ml(mask, spacing=(5, 2, 1)) == pytest.approx(0.03)
    if dtype != torch.bool:
        with pytest.raises(ValueError, match=r"^mask: got values \[2.*\], wanted a binary mask of 0 and 1"):
            metrics.volume_ml(torch.tensor(2 * MASK).to(dtype), spacing=1)


@pytest.mark.parametrize(
    "mask",
    [torch.tensor(MASK) + 0j, MASK + 0j, MASK.astype(str), MASK.astype(object), np.zeros((2, 2, 2), "u1,u1")],
    ids=["complex tensor", "complex array", "text", "objects", "records"],
)
def test_no_numbers(mask):
    with pytest.raises(TypeError, match=r"^mask: got dtype .*, wanted a mask of real numbers"):
        metrics.volume_ml(mask, spacing=1)


@pytest.mark.parametrize("make", [tuple, list, np.array, torch.tensor, lambda s: np.array(s, np.float32)])
def test_a_spacing_of_any_type(make):
    assert metrics.volume_ml(MASK, spacing=make([5, 2, 1])) == pytest.approx(0.03)
    with pytest.raises(ValueError, match=r"^spacing: got .*, wanted a number, one for each spatial axis"):
        metrics.volume_ml(MASK, spacing=torch.ones(1, 3))
