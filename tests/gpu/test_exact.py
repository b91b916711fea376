"""Every GPU backend is exact, on masks that have broken transforms and on random ones."""

import itertools

import numpy as np
import pytest
import torch

from surfloss.ops.edt import edt, nearest_background
from tests.support import cases
from tests.support.cases import IDS, MASK_SAMPLES, MaskSample
from tests.support.compare import assert_equal, assert_within_ulp

pytestmark = pytest.mark.usefixtures("poisoned_scratch")

FORMS = ("one_sided", "two_sided", "signed")
ITEM_SPACING = torch.tensor([[1.0, 1.0, 1.0], [5.0, 0.42, 0.42]], dtype=torch.float64)


@pytest.mark.parametrize("sample", MASK_SAMPLES, ids=IDS)
def test_distance(sample: MaskSample, backend: str, device: str) -> None:
    mask = sample.mask.to(device)
    for two_sided, form in enumerate(("one_sided", "two_sided")):
        right = sample.squared(bool(two_sided))
        squared = edt(mask, list(sample.spacing), None, form, True, backend)
        assert (squared.dtype, squared.device) == (torch.float32, mask.device)
        if sample.isotropic_units:
            integer = (right <= 2**24) | np.isinf(right)
            assert_equal(squared.cpu().numpy()[integer], right[integer], f"{sample.name}, {form}")
        assert_within_ulp(squared.double().sqrt(), np.sqrt(right), 2, f"{sample.name}, {form}")
    assert torch.equal(mask.cpu(), sample.mask)


@pytest.mark.parametrize("sample", MASK_SAMPLES, ids=IDS)
def test_index_leads_to_a_nearest_background_voxel(sample: MaskSample, backend: str, device: str) -> None:
    indices = nearest_background(sample.mask.to(device), list(sample.spacing), None, backend)
    batch, *spatial = sample.mask.shape
    assert (indices.dtype, indices.shape) == (torch.int32, (batch, len(spatial), *spatial))
    for mask, nearest, right in zip(
        sample.mask.numpy(), indices.cpu().numpy(), sample.squared(False), strict=True
    ):
        if mask.all():
            assert_equal(nearest, np.full(nearest.shape, -1), sample.name)
            continue
        assert not mask[tuple(nearest)].any()
        steps = (nearest - np.indices(mask.shape)) * np.reshape(sample.spacing, (-1, *(1,) * mask.ndim))
        assert_within_ulp(np.sqrt((steps**2).sum(0)), np.sqrt(right), 2, sample.name)


@pytest.mark.parametrize("seed", range(24))
def test_random_volume(seed: int, backend: str, device: str) -> None:
    random = np.random.default_rng(seed)
    dims = int(random.integers(1, 4))
    shape = (int(random.integers(1, 5)), *random.integers(1, (3000, 300, 90)[dims - 1], dims).tolist())
    mask = torch.from_numpy(random.random(shape) < random.choice([0.001, 0.05, 0.5, 0.95, 0.999]))
    spacing = [1.0] * dims if seed % 2 else random.uniform(0.2, 6, dims).tolist()
    for form, squared in itertools.product(FORMS, (False, True)):
        got = edt(mask.to(device), spacing, None, form, squared, backend)
        wanted = edt(mask, spacing, None, form, squared, "reference")
        if squared and seed % 2:
            assert_equal(got, wanted, f"{shape} {form}")
        assert_within_ulp(got, wanted, 4 if squared else 2, f"{shape} {form}")


def test_few_voxels_in_a_large_volume(backend: str, device: str) -> None:
    """The longest distances in a volume of a scan's size, against a formula of the coordinates."""
    shape, spacing = (64, 512, 512), [5.0, 0.42, 0.42]
    mask = torch.zeros(1, *shape, dtype=torch.bool, device=device)
    mask[0, 0, 0, 0] = True
    got = edt(mask, spacing, None, "two_sided", False, backend)[0].cpu().numpy()
    z, y, x = (
        (np.arange(n) * step).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (n, step) in enumerate(zip(shape, spacing, strict=True))
    )
    wanted = np.sqrt(z**2 + y**2 + x**2)
    wanted[0, 0, 0] = 0.42
    assert_within_ulp(got, wanted, 2)


def test_item_spacing_gives_each_item_its_own(backend: str, device: str) -> None:
    mask = cases.noise(2, 5, 7, 11, share=0.9).to(device)
    for form in FORMS:
        got = edt(mask, [9.0] * 3, ITEM_SPACING.to(device), form, True, backend)
        for item, steps in enumerate(ITEM_SPACING.tolist()):
            alone = edt(mask[item : item + 1], steps, None, form, True, backend)
            assert_within_ulp(got[item].double().abs().sqrt(), alone[0].double().abs().sqrt(), 2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_number_but_zero_is_foreground(dtype: torch.dtype, backend: str, device: str) -> None:
    mask = cases.noise(2, 5, 6, 70).to(device)
    values = (mask * torch.randint(1, 200, mask.shape, device=device)).to(dtype)
    for form in FORMS:
        wanted = edt(mask, [1.0] * 3, None, form, True, backend)
        assert_equal(edt(values, [1.0] * 3, None, form, True, backend), wanted)


def test_the_same_bits_every_time(backend: str, device: str) -> None:
    mask = cases.noise(4, 16, 90, 75, share=0.7).to(device)
    first = edt(mask, [5.0, 0.42, 0.42], None, "two_sided", False, backend)
    for _ in range(5):
        assert torch.equal(edt(mask, [5.0, 0.42, 0.42], None, "two_sided", False, backend), first)
