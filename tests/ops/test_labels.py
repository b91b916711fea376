"""The operator of the distance transform of many labels: every backend on every difficult label map."""

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from surfloss.ops import _select
from surfloss.ops.edt import edt
from surfloss.ops.labels import label_edt
from tests.support import cases, oracles
from tests.support.cases import IDS, MASK_SAMPLES, MaskSample
from tests.support.compare import assert_equal, assert_within_ulp

pytestmark = pytest.mark.usefixtures("poisoned_scratch")

FORMS = ("one_sided", "two_sided", "signed")
BORDERS = ("open", "closed")
SLICES = (5.0, 0.42, 0.7)
ITEM_SPACING = torch.tensor([[1.0, 1.0, 1.0], SLICES], dtype=torch.float64)


# The label maps and dtypes that the interpreter runs, with every kind of tile and layout.
INTERPRETED = {"noise of many", "2-D", "a single voxel", "batch 0", "axis of size 0", "layers along z"}
INTERPRETED |= {"the same label on either side", torch.int8, torch.uint64}


@pytest.fixture(autouse=True)
def _has_labels(request: pytest.FixtureRequest) -> None:
    if "backend" in request.fixturenames:
        name = request.getfixturevalue("backend")
        parameters = request.node.callspec.params
        sample = parameters.get("name", parameters.get("dtype"))
        if "labels" not in _select._by_name("backend", name).also:
            pytest.skip(f"{name}: without label_edt")
        if name == "triton" and sample is not None and sample not in INTERPRETED:
            pytest.skip("triton: interpreted it would take too long")


def random_labels(*shape: int, count: int, seed: int = 0) -> Tensor:
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(seed))


def pieces(*shape: int, count: int, sizes: tuple[int, ...], seed: int = 0) -> Tensor:
    """Boxes of `sizes` voxels with random labels; neighbors may have the same label."""
    labels = random_labels(*shape, count=count, seed=seed)
    for axis, size in enumerate(sizes, 1):
        labels = labels.repeat_interleave(size, axis).narrow(axis, 0, shape[axis])
    return labels.contiguous()


def layers(*shape: int, axis: int, thickness: int) -> Tensor:
    """Labels 0, 1, 2, ... along an axis."""
    position = torch.arange(shape[axis]) // thickness
    return position.view([-1 if a == axis else 1 for a in range(len(shape))]).expand(shape).contiguous()


LABELS = {
    "noise of two": random_labels(2, 5, 6, 11, count=2),
    "noise of many": random_labels(2, 6, 5, 9, count=40),
    "all different": torch.arange(2 * 5 * 6 * 7).view(2, 5, 6, 7),
    "one label": torch.full((1, 4, 5, 6), 7),
    "background alone": torch.zeros(1, 4, 5, 6, dtype=torch.int64),
    "items of one label and of many": torch.stack(
        [torch.full((4, 5, 6), 3), torch.zeros(4, 5, 6).long(), random_labels(4, 5, 6, count=9)]
    ),
    "boxes": pieces(2, 8, 9, 10, count=4, sizes=(3, 4, 5)),
    "boxes of two": pieces(1, 9, 8, 12, count=2, sizes=(4, 3, 5)),
    "long boxes": pieces(1, 3, 4, 140, count=3, sizes=(2, 2, 67)),
    "layers along z": layers(1, 11, 4, 5, axis=1, thickness=3),
    "one label, then layers, then many": torch.cat(
        [layers(1, 11, 4, 5, axis=1, thickness=3).clamp(min=1), random_labels(1, 3, 4, 5, count=3)], 1
    ),
    "layers along y": layers(1, 4, 11, 5, axis=2, thickness=3),
    "layers along x": layers(1, 4, 5, 11, axis=3, thickness=3),
    "the same label on either side": torch.tensor([5, 5, 5, 2, 5, 5, 0, 0, 5, 5, 5, 5]).view(1, 1, 12),
    "a cell at the end": torch.nn.functional.pad(torch.full((1, 2, 3, 4), 9), (0, 1, 0, 2, 4, 0)),
    "a single voxel": torch.tensor([4, 0]).view(2, 1, 1, 1),
    "rows of one": random_labels(2, 40, 3, 1, count=3),
    "1-D": pieces(3, 300, count=5, sizes=(17,)),
    "2-D": pieces(2, 17, 35, count=5, sizes=(5, 7)),
    "2-D, one row": pieces(2, 1, 40, count=5, sizes=(1, 7)),
    "batch 0": torch.zeros(0, 3, 4, 5, dtype=torch.int64),
    "axis of size 0": torch.zeros(2, 3, 0, 5, dtype=torch.int64),
}


@cache
def right_squares(name: str, spacing: tuple[float, ...], closed: bool) -> np.ndarray:
    """The correct squared distances, by brute force over all pairs of voxels."""
    labels = LABELS[name].numpy()
    items = [oracles.squared_to_other_labels(item, spacing, closed) for item in labels]
    return np.stack(items) if items and labels.size else np.empty(labels.shape)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("name", LABELS)
def test_distance_is_exact(name: str, border: str, backend: str) -> None:
    labels = LABELS[name]
    before = labels.clone()
    for spacing in ((1.0,) * 3, SLICES):
        steps = spacing[-labels.ndim + 1 :]
        right = right_squares(name, steps, border == "closed")
        got = label_edt(labels, list(steps), None, "two_sided", True, border, backend)
        assert got.dtype == torch.float32
        assert torch.equal(labels, before)
        if spacing is SLICES:
            assert_within_ulp(got.double().sqrt(), np.sqrt(right), 2, name)
        else:
            assert_equal(got, right, name)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("name", ["boxes", "items of one label and of many", "2-D", "1-D", "a single voxel"])
def test_root_sign_and_background(name: str, border: str, backend: str) -> None:
    labels = LABELS[name]
    steps = list(SLICES[-labels.ndim + 1 :])
    squared = label_edt(labels, steps, None, "two_sided", True, border, backend)
    for form, square in itertools.product(FORMS, (False, True)):
        wanted = squared if square else torch.from_numpy(np.sqrt(squared.numpy()))
        if form == "one_sided":
            wanted = torch.where(labels != 0, wanted, 0)
        elif form == "signed":
            wanted = torch.where(labels != 0, -wanted, wanted)
        got = label_edt(labels, steps, None, form, square, border, backend)
        # The reference rounds after the root.
        assert_within_ulp(got, wanted, 1 if backend == "reference" else 0, f"{name}, {form}")


@pytest.mark.parametrize("sample", MASK_SAMPLES, ids=IDS)
def test_of_a_mask_it_is_the_transform_of_masks(sample: MaskSample, backend: str) -> None:
    for form in FORMS:
        options = (list(sample.spacing), None, form, False)
        assert_equal(label_edt(sample.mask, *options, "open", backend), edt(sample.mask, *options, backend))


@pytest.mark.parametrize("border", BORDERS)
def test_item_spacing_gives_each_item_its_own(border: str, backend: str) -> None:
    labels = pieces(2, 5, 7, 11, count=3, sizes=(2, 3, 4))
    got = label_edt(labels, [9.0] * 3, ITEM_SPACING, "two_sided", True, border, backend)
    for item, steps in enumerate(ITEM_SPACING.tolist()):
        alone = label_edt(labels[item : item + 1], steps, None, "two_sided", True, border, backend)
        assert_equal(got[item], alone[0])


DTYPES = [torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16]
DTYPES += [torch.int32, torch.int64]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_bit_of_a_label_counts(dtype: torch.dtype, backend: str) -> None:
    """Labels that differ only in the first or last byte, and the smallest and largest label."""
    limits = torch.iinfo(dtype)
    values = [0, 1, limits.max, limits.min or limits.max - 1, limits.max // 2 + 1, 2, 3]
    places = pieces(1, 4, 20, count=7, sizes=(2, 3))
    labels = torch.from_numpy(np.array(values, str(dtype).removeprefix("torch."))[places.numpy()])
    for form in FORMS:
        got = label_edt(labels, [1.0] * 2, None, form, True, "open", backend)
        assert_equal(got, label_edt(places, [1.0] * 2, None, form, True, "open", "reference"))


SAMPLES = {
    "3-D": (random_labels(2, 3, 4, 5, count=3), [5.0, 0.42, 0.42], None),
    "2-D": (random_labels(2, 4, 5, count=3).int(), [1.0, 2.0], None),
    "1-D": (random_labels(2, 5, count=3).byte(), [1.0], None),
    "bool": (cases.noise(2, 3, 4, 5), [1.0] * 3, None),
    "item spacing": (random_labels(2, 3, 4, 5, count=3).short(), [1.0] * 3, ITEM_SPACING),
    "batch 0": (random_labels(0, 3, 4, 5, count=3), [1.0] * 3, None),
    "axis of size 0": (random_labels(2, 3, 0, 5, count=3), [1.0] * 3, None),
}


@pytest.mark.large
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
def test_opcheck(sample: tuple, form: str, border: str, backend: str) -> None:
    torch.library.opcheck(label_edt, (*sample, form, True, border, backend))
