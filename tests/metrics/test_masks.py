"""Masks and spacings of every type that holds them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from surfloss import metrics
from surfloss.metrics import _masks

MASK = np.array([[[0, 1, 1], [0, 0, 1]]])
REAL = [torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int64]
REAL += [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn]


@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_a_mask_of_any_real_dtype(dtype: Any) -> None:
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
def test_no_numbers(mask: np.ndarray) -> None:
    with pytest.raises(TypeError, match=r"^mask: got dtype .*, wanted a mask of real numbers"):
        metrics.volume_ml(mask, spacing=1)


@pytest.mark.parametrize("make", [tuple, list, np.array, torch.tensor, lambda s: np.array(s, np.float32)])
def test_a_spacing_of_any_type(make: Callable[..., Any]) -> None:
    assert metrics.volume_ml(MASK, spacing=make([5, 2, 1])) == pytest.approx(0.03)
    assert metrics.volume_ml(MASK, spacing=make([[5, 2, 1]])) == pytest.approx(0.03)  # of a batch of one
    with pytest.raises(ValueError, match=r"^spacing: got shape \(2, 3\), wanted 3 numbers, one for each"):
        metrics.volume_ml(MASK, spacing=torch.ones(2, 3))


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
def test_only_the_box_around_both_masks_is_copied_to_the_host(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = []
    plain = _masks._on_host
    monkeypatch.setattr(_masks, "_on_host", lambda mask: (copied.append(tuple(mask.shape)), plain(mask))[1])
    prediction, target = np.zeros((2, 30, 40, 50), np.uint8)
    prediction[3:5, 10:20, 7] = target[4:9, 12:13, 7:11] = 1
    p, t = _masks.pair(make(prediction), make(target))
    np.testing.assert_array_equal(p, prediction[3:9, 10:20, 7:11])
    np.testing.assert_array_equal(t, target[3:9, 10:20, 7:11])
    assert {shape for shape in copied if len(shape) > 1} == {(6, 10, 4)}


def test_the_box_of_an_empty_mask_is_that_of_the_other_one() -> None:
    prediction, target = np.zeros((2, 5, 6), bool)
    target[1:3, 2:6] = True
    for pair in ((prediction, target), (target, prediction)):
        assert [mask.shape for mask in _masks.pair(*pair)] == [(2, 4)] * 2
    assert [mask.shape for mask in _masks.pair(prediction, prediction)] == [(0, 0)] * 2
