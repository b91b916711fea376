"""Items near 2^31 voxels: the first and last programs of every launch, on lazily mapped memory.

The output of skipped programs is 0, so values are meaningless. Only bounds and alignment are checked.
"""

import importlib
from unittest import mock

import pytest
import torch

from surfloss._check import Steps
from surfloss.backends import cuda
from surfloss.backends._interface import HausdorffArguments
from tests.ptx.targets import EVERY, TARGETS, Target
from tests.support.ptx import FaultyLaunch, Options
from tests.support.ptx.memory import fresh

ENDS = Options(ends=2, race_limit=0)
TALL = 2**22 - 1  # times 512: the voxel limit of the Triton backend
# Rows are short, since a program processes whole rows. For the CUDA backend columns are short, too, since it
# would copy an item with long ones.
SHAPES = [(1300, 1290, 1280)]
TRITON_SHAPES = [(512 * TALL, 1), (TALL, 2, 256), (2, TALL, 256), (TALL, 512), (2, 32767, 32767)]
if not EVERY:
    TRITON_SHAPES = TRITON_SHAPES[:2]


def unit(shape: tuple[int, ...]) -> Steps:
    return Steps([1.0] * len(shape), None)


@pytest.fixture
def module(target: Target, request: pytest.FixtureRequest) -> object:
    """The target's backend, with only the first and last blocks of each launch emulated."""
    shape = request.getfixturevalue("shape")
    if target.backend != "triton" and shape in TRITON_SHAPES:
        pytest.skip("it would copy the item")
    with target.emulated(ENDS):
        yield importlib.import_module(f"surfloss.backends.{target.backend}")


@pytest.mark.parametrize("shape", SHAPES + TRITON_SHAPES, ids=str)
def test_distance_and_indices(shape: tuple[int, ...], module: object) -> None:
    mask = fresh((1, *shape), torch.bool)
    module.edt(mask, unit(shape), "two_sided", False)
    module.nearest_background(mask, unit(shape))


@pytest.mark.parametrize("shape", SHAPES + TRITON_SHAPES, ids=str)
def test_hausdorff(shape: tuple[int, ...], module: object) -> None:
    input, target = fresh((1, *shape), torch.float32), fresh((1, *shape), torch.bool)
    options = (None, None, None, True, 2.0, unit(shape), "zero")
    module.hausdorff_error(HausdorffArguments(input, target, *options))


triton_only = pytest.mark.parametrize(
    "target", [t for t in TARGETS if t.backend == "triton"], indirect=True, ids=str
)


@triton_only
@pytest.mark.parametrize("shape", [*SHAPES, (2, 32767, 32767)], ids=str)
def test_labels(shape: tuple[int, ...], module: object) -> None:
    """Columns are short, since a program processes whole columns."""
    module.label_edt(fresh((1, *shape), torch.int16), unit(shape), "two_sided", True, "open")


@triton_only
@pytest.mark.parametrize(
    "shape", [(2, TALL, 256), (TALL, 2, 256), (1, 1, 512 * TALL), (1, 512 * TALL, 1)], ids=str
)
@pytest.mark.parametrize("depth", [1, 3])
def test_contour(depth: int, shape: tuple[int, ...], module: object) -> None:
    x = fresh((1, *shape), torch.float32)
    _, highest, lowest = module.contour_map(x, None, depth)
    module.contour_map_gradient(x, highest, lowest, depth)


@triton_only
@pytest.mark.parametrize("shape", [(512 * TALL,)], ids=str)
def test_a_single_row(shape: tuple[int, ...], module: object) -> None:
    """Without the scan, in which one program would process the whole row."""
    with mock.patch.object(module, "scan_rows", mock.MagicMock()):
        test_distance_and_indices(shape, module)
        test_hausdorff(shape, module)


@triton_only
@pytest.mark.parametrize("shape", [(2**31 - 1, 1)], ids=str)
def test_larger_items_are_refused(shape: tuple[int, ...], module: object) -> None:
    """If they were not, offsets past the end would become negative and pass for valid ones."""
    mask = fresh((1, *shape), torch.bool)
    with pytest.raises(
        ValueError, match=r"^mask: got items of shape .*, wanted at most 2147483136 voxels per item"
    ):
        module.nearest_background(mask, unit(shape))
    with (
        mock.patch.object(module, "MOST_VOXELS", 2**31 - 1),
        pytest.raises(FaultyLaunch, match="out of bounds"),
    ):
        module.nearest_background(mask, unit(shape))


def test_the_limit_of_the_cuda_backend() -> None:
    cuda._check_range("mask", [1600, 1342177], None)
    with pytest.raises(ValueError, match=r"^mask: got items of shape .*, wanted at most 2147483647 voxels"):
        cuda._check_range("mask", [1600, 1342178], None)
