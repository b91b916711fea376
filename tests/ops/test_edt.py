"""The operators of the distance transform: every backend on every difficult mask, and PyTorch's opcheck."""

import itertools

import numpy as np
import pytest
import torch

from surfloss.ops.edt import background_distance, edt, nearest_background
from tests.support import cases, oracles
from tests.support.cases import IDS, MASK_SAMPLES, MaskSample
from tests.support.compare import assert_equal, assert_within_ulp
from tests.support.operators import squared_edt

pytestmark = pytest.mark.usefixtures("poisoned_scratch")

FORMS = ("one_sided", "two_sided", "signed")
ITEM_SPACING = torch.tensor([[1.0, 1.0, 1.0], [5.0, 0.42, 0.42]], dtype=torch.float64)


@pytest.mark.parametrize("two_sided", [False, True], ids=["one-sided", "two-sided"])
@pytest.mark.parametrize("sample", MASK_SAMPLES, ids=IDS)
def test_distance_is_exact(sample: MaskSample, two_sided: bool, backend: str) -> None:
    before = sample.mask.clone()
    squared = squared_edt(sample.mask, list(sample.spacing), None, two_sided, backend)
    right = sample.squared(two_sided)
    assert squared.dtype == torch.float32
    assert torch.equal(sample.mask, before)
    if sample.isotropic_units:
        integer = (right <= 2**24) | np.isinf(right)
        assert_equal(squared.numpy()[integer], right[integer], sample.name)
    assert_within_ulp(squared.double().sqrt(), np.sqrt(right), 2, sample.name)


@pytest.mark.parametrize("sample", MASK_SAMPLES, ids=IDS)
def test_index_leads_to_a_nearest_background_voxel(sample: MaskSample, backend: str) -> None:
    indices = nearest_background(sample.mask, list(sample.spacing), None, backend)
    batch, *spatial = sample.mask.shape
    assert indices.dtype == torch.int32
    assert indices.shape == (batch, len(spatial), *spatial)
    for mask, nearest, right in zip(sample.mask.numpy(), indices.numpy(), sample.squared(False), strict=True):
        if mask.all():
            assert_equal(nearest, np.full(nearest.shape, -1), sample.name)
            continue
        assert not mask[tuple(nearest)].any()
        steps = (nearest - np.indices(mask.shape)) * np.reshape(sample.spacing, (-1, *(1,) * mask.ndim))
        assert_within_ulp(np.sqrt((steps**2).sum(0)), np.sqrt(right), 2, sample.name)


@pytest.mark.parametrize("sample", MASK_SAMPLES, ids=IDS)
def test_distance_in_double_is_the_root_of_the_exact_square(sample: MaskSample, backend: str) -> None:
    arguments = (sample.mask, list(sample.spacing), None)
    alone, nothing = background_distance(*arguments, False, backend)
    assert (alone.dtype, nothing.shape) == (torch.float64, (0,))
    right = np.sqrt(sample.squared(False))
    assert_within_ulp(alone, right, 2, sample.name)
    if sample.isotropic_units:
        assert_equal(alone.numpy(), right, sample.name)
    beside, indices = background_distance(*arguments, True, backend)
    assert_within_ulp(beside, alone.numpy(), 2, sample.name)
    assert_equal(indices, nearest_background(*arguments, backend), sample.name)


def test_distance_in_double_with_item_spacing(backend: str) -> None:
    mask = cases.noise(2, 5, 7, 11, share=0.9)
    for indices in (False, True):
        got, _ = background_distance(mask, [9.0] * 3, ITEM_SPACING, indices, backend)
        for item, steps in enumerate(ITEM_SPACING.tolist()):
            alone, _ = background_distance(mask[item : item + 1], steps, None, indices, backend)
            assert_equal(got[item], alone[0])


@pytest.mark.parametrize("two_sided", [False, True], ids=["one-sided", "two-sided"])
def test_item_spacing_gives_each_item_its_own(two_sided: bool, backend: str) -> None:
    mask = cases.noise(2, 5, 7, 11, share=0.9)
    got = squared_edt(mask, [9.0] * 3, ITEM_SPACING, two_sided, backend)
    for item, steps in enumerate(ITEM_SPACING.tolist()):
        alone = squared_edt(mask[item : item + 1], steps, None, two_sided, backend)
        assert_equal(got[item], alone[0])


def test_item_spacing_of_indices(backend: str) -> None:
    # In the second item the adjacent zero along z is 5 mm away, the zero three steps along x only 1.26 mm.
    mask = cases.few(3, 1, 4, at=((1, 0, 0), (0, 0, 3)), value=False).expand(2, 3, 1, 4).contiguous()
    indices = nearest_background(mask, [9.0] * 3, ITEM_SPACING, backend)
    assert indices[0, :, 0, 0, 0].tolist() == [1, 0, 0]
    assert indices[1, :, 0, 0, 0].tolist() == [0, 0, 3]


def test_scipy_agrees_with_every_pair_of_voxels() -> None:
    """The two oracles validate each other."""
    mask = cases.noise(9, 10, 11, share=0.9).numpy()
    for spacing in ((1.0, 1.0, 1.0), (5.0, 0.42, 0.42)):
        pairs = np.sqrt(oracles.squared_two_sided(mask, spacing))
        np.testing.assert_allclose(oracles.scipy_two_sided(mask, spacing), pairs, rtol=1e-15)


@pytest.mark.large
@pytest.mark.parametrize("sample", MASK_SAMPLES, ids=IDS)
def test_root_and_sign(sample: MaskSample, backend: str) -> None:
    arguments = (sample.mask, list(sample.spacing), None)
    squared = edt(*arguments, "two_sided", True, backend)
    for form, square in itertools.product(FORMS, (False, True)):
        # PyTorch's square root is not always the nearest float.
        wanted = squared if square else torch.from_numpy(np.sqrt(squared.numpy()))
        if form == "one_sided":
            wanted = torch.where(sample.mask, wanted, 0)
        elif form == "signed":
            wanted = torch.where(sample.mask, -wanted, wanted)
        got = edt(*arguments, form, square, backend)
        # The reference rounds after the root.
        assert_within_ulp(got, wanted, 1 if backend == "reference" else 0, f"{sample.name}, {form}")


@pytest.mark.large
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_number_but_zero_is_foreground(dtype: torch.dtype, backend: str) -> None:
    mask = cases.noise(2, 5, 6, 70)
    values = torch.where(mask, torch.randn(mask.shape).sign() * 1e-3, torch.tensor([0.0, -0.0]).repeat(35))
    values[0, 0, 0, 0] = torch.inf
    mask[0, 0, 0, 0] = True
    for form in FORMS:
        wanted = edt(mask, [1.0] * 3, None, form, True, backend)
        assert_equal(edt(values.to(dtype), [1.0] * 3, None, form, True, backend), wanted)
    wanted = nearest_background(mask, [1.0] * 3, None, backend)
    assert_equal(nearest_background(values.to(dtype), [1.0] * 3, None, backend), wanted)


SAMPLES = {
    "3-D": (cases.noise(2, 3, 4, 5), [5.0, 0.42, 0.42], None),
    "2-D": (cases.noise(2, 4, 5), [1.0, 2.0], None),
    "floats": (cases.noise(2, 3, 4, 5).float(), [1.0] * 3, None),
    "bytes": (cases.noise(2, 3, 4, 5).byte() * 255, [1.0] * 3, None),
    "1-D": (cases.noise(2, 5), [1.0], None),
    "item spacing": (cases.noise(2, 3, 4, 5), [1.0] * 3, ITEM_SPACING),
    "batch 0": (cases.noise(0, 3, 4, 5), [1.0] * 3, None),
    "batch 0, item spacing": (cases.noise(0, 3, 4, 5), [1.0] * 3, torch.ones(0, 3, dtype=torch.float64)),
    "axis of size 0": (cases.noise(2, 3, 0, 5), [1.0] * 3, None),
    "full": (cases.few(3, 4, 5, at=()).logical_not(), [1.0] * 3, None),
}


@pytest.fixture(params=SAMPLES.values(), ids=SAMPLES.keys())
def sample(request: pytest.FixtureRequest) -> tuple:
    return request.param


@pytest.mark.large
@pytest.mark.parametrize("value", [1, 2, 128, 255])
def test_every_nonzero_byte_is_foreground(value: int, backend: str) -> None:
    mask = cases.noise(2, 5, 6, 70)
    for two_sided in (False, True):
        wanted = squared_edt(mask, [1.0] * 3, None, two_sided, backend)
        assert_equal(squared_edt(mask.byte() * value, [1.0] * 3, None, two_sided, backend), wanted)
    wanted = nearest_background(mask, [1.0] * 3, None, backend)
    assert_equal(nearest_background(mask.byte() * value, [1.0] * 3, None, backend), wanted)


@pytest.mark.large
@pytest.mark.parametrize("squared", [True, False], ids=["squared", "root"])
@pytest.mark.parametrize("form", FORMS)
def test_opcheck_edt(sample: tuple, form: str, squared: bool, backend: str) -> None:
    torch.library.opcheck(edt, (*sample, form, squared, backend))


@pytest.mark.large
def test_opcheck_nearest_background(sample: tuple, backend: str) -> None:
    torch.library.opcheck(nearest_background, (*sample, backend))


@pytest.mark.large
@pytest.mark.parametrize("indices", [False, True])
def test_opcheck_background_distance(sample: tuple, indices: bool, backend: str) -> None:
    torch.library.opcheck(background_distance, (*sample, indices, backend))
