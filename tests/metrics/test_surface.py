"""Surface distances against DeepMind's package, on real volumes and on masks that hypothesis draws."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import compute_surface_dice
from scipy import ndimage

from surfloss import metrics
from tests.metrics import official
from tests.support import volumes

STEPS = st.sampled_from([0.42, 0.78125, 1.0, 1.3, 2.4, 5.0])


@st.composite
def pairs(draw: st.DrawFn) -> Any:
    """Two masks of one shape, from noise and from the cases where surfaces go wrong, and a spacing."""
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7))

    def mask() -> np.ndarray:
        kind = draw(st.sampled_from(["noise", "noise", "noise", "empty", "full", "one voxel", "half"]))
        voxels = np.zeros(shape, bool)
        if kind == "noise":
            voxels = draw(hnp.arrays(bool, shape))
        elif kind == "full":
            voxels[:] = True
        elif kind == "one voxel":
            voxels[tuple(draw(st.integers(0, size - 1)) for size in shape)] = True
        elif kind == "half":
            voxels[: shape[0] // 2] = True
        return voxels

    return mask(), mask(), [draw(STEPS) for _ in shape]


def predicted(target: Any) -> np.ndarray:
    """A plausible prediction: the target moved, with a part lost and a far false positive."""
    prediction = np.roll(target, (1, 2, -3), (0, 1, 2))
    prediction &= np.arange(target.shape[2]) < 0.9 * target.shape[2]
    prediction[:2, :3, :4] = True
    return prediction


def assert_official(prediction: Any, target: Any, spacing: Any, tolerances: Any, rel: float) -> None:
    ours = metrics.surface_distances(prediction, target, spacing=spacing)
    theirs = official.Surfaces(prediction, target, spacing)

    def agree(got: float, wanted: Any) -> None:
        assert got == pytest.approx(wanted, rel=rel, nan_ok=True)

    agree(ours.hausdorff(), theirs.hausdorff(100))
    for percentile in (50, 95):
        # A percentile that falls between two equally large elements turns on the last bit of their sum.
        below, above = theirs.hausdorff(percentile - 1e-9), theirs.hausdorff(percentile + 1e-9)
        assert below * (1 - rel) <= ours.hausdorff(percentile) <= above * (1 + rel)
    for tolerance in tolerances:
        agree(ours.dice(tolerance), theirs.dice(tolerance))
    forth, back = theirs.averages()
    agree(ours.average(), forth)
    turned = metrics.surface_distances(target, prediction, spacing=spacing)
    agree(turned.average(), back)
    if np.isfinite([forth, back]).all():
        sizes = theirs.distances["surfel_areas_pred"].sum(), theirs.distances["surfel_areas_gt"].sum()
        agree(ours.average_symmetric(), np.average([forth, back], weights=sizes))


@pytest.mark.parametrize("name", volumes.LABELS)
def test_real_volumes_agree_with_the_official_evaluation(name: str) -> None:
    volume, spacing = volumes.load(name)
    target = volumes.crop(volume) > 0
    assert_official(predicted(target), target, spacing, (0.42, spacing[1], 2.0), rel=1e-12)


@given(pairs())
@settings(max_examples=150)
def test_drawn_masks_agree_with_the_official_evaluation(pair: Any) -> None:
    assert_official(*pair, tolerances=(0.31, 1.1, 2.93), rel=1e-12)


def test_percentiles_that_fall_between_two_elements_agree_too() -> None:
    """Small masks with equal steps have equal elements, and shares of exactly 50 or 95 %."""
    rng = np.random.default_rng(0)
    ties = 0
    for _ in range(300):
        prediction, target = rng.random((2, *rng.integers(2, 7, 2))) < 0.4
        ours = metrics.surface_distances(prediction, target, spacing=1.3)
        theirs = official.Surfaces(prediction, target, (1.3, 1.3))
        for percentile in (50, 95):
            wanted = theirs.hausdorff(percentile)
            assert ours.hausdorff(percentile) == pytest.approx(wanted, rel=1e-12)
            ties += theirs.hausdorff(percentile - 1e-7) != theirs.hausdorff(percentile + 1e-7)
    assert ties > 10


@pytest.mark.filterwarnings("ignore:.*get_mask_edges:FutureWarning")
@pytest.mark.parametrize("tolerance", [0.3, 0.8, 2.0])
def test_surface_dice_is_that_of_monai_with_subvoxels(tolerance: Any) -> None:
    volume, spacing = volumes.load("brain1_label")
    target = volumes.crop(volume, margin=4) > 0
    prediction = predicted(target)
    batch = (torch.from_numpy(mask)[None, None] for mask in (prediction, target))
    wanted = compute_surface_dice(
        *batch, [tolerance], include_background=True, spacing=spacing, use_subvoxels=True
    )
    got = metrics.surface_dice(prediction, target, spacing=spacing, tolerance=tolerance)
    assert got == pytest.approx(float(wanted), rel=1e-6)


def test_a_distance_equal_to_the_tolerance_is_within_it() -> None:
    """The challenge's case: tolerance 0.42 mm and pixels of 0.42 mm, which float32 distances would decide."""
    target = np.zeros((5, 9, 9), bool)
    target[1:4, 2:6, 2:6] = True
    prediction = np.roll(target, 1, axis=2)
    assert metrics.surface_dice(prediction, target, spacing=(5, 0.42, 0.42), tolerance=0.42) == 1
    assert metrics.surface_dice(prediction, target, spacing=(5, 0.42, 0.42), tolerance=0.4199) < 1
    assert_official(prediction, target, (5.0, 0.42, 0.42), (0.42,), rel=1e-12)


def test_two_voxels_are_as_far_as_the_corners_that_face_away() -> None:
    prediction, target = np.zeros((2, 3, 9, 9), bool)
    prediction[1, 1, 1] = target[1, 4, 5] = True
    distance = np.hypot(3 * 0.5, 4 * 2.0)
    got = metrics.hausdorff_distance(prediction, target, spacing=(5, 0.5, 2))
    assert got == pytest.approx(distance, rel=1e-15)


def test_slabs_have_every_metric_in_the_head() -> None:
    """They share one side, and the other is 3 slices apart; the rims are 1 % of the surface."""
    prediction, target = np.zeros((2, 12, 200, 200), bool)
    prediction[2:5], target[2:8] = True, True
    surfaces = metrics.surface_distances(prediction, target, spacing=(2, 50, 50))
    assert surfaces.hausdorff() == surfaces.hausdorff(60) == 6
    assert surfaces.hausdorff(40) == 0
    assert surfaces.average() == pytest.approx(3, rel=0.02)
    assert surfaces.average_symmetric() == pytest.approx(3, rel=0.02)
    assert surfaces.dice(5.9) == pytest.approx(0.5, rel=0.02)
    assert surfaces.dice(6) == 1


@given(pairs())
def test_order_orientation_and_units_do_not_matter(pair: Any) -> None:
    prediction, target, spacing = pair
    base = metrics.surface_distances(prediction, target, spacing=spacing)
    variants = [
        (target, prediction, spacing, 1),
        (prediction.T, target.T, spacing[::-1], 1),
        (np.flip(prediction), np.flip(target), spacing, 1),
        (np.pad(prediction, 2), np.pad(target, 2), spacing, 1),
        (prediction, target, [4 * step for step in spacing], 4),
    ]
    for p, t, steps, scale in variants:
        other = metrics.surface_distances(p, t, spacing=steps)
        assert other.hausdorff() == pytest.approx(scale * base.hausdorff())
        assert other.dice(1.17 * scale) == pytest.approx(base.dice(1.17), nan_ok=True)
        wanted = scale * base.average_symmetric()
        assert other.average_symmetric() == pytest.approx(wanted, nan_ok=True)


def test_functions_are_the_methods() -> None:
    rng = np.random.default_rng(5)
    prediction, target = rng.random((2, 5, 6, 7)) < 0.3
    spacing = (2.0, 0.5, 1.0)
    surfaces = metrics.surface_distances(prediction, target, spacing=spacing)
    both = {"prediction": prediction, "target": target, "spacing": spacing}
    assert metrics.hausdorff_distance(**both) == surfaces.hausdorff(100)
    assert metrics.hausdorff_distance(**both, percentile=80) == surfaces.hausdorff(80)
    assert metrics.average_surface_distance(**both) == surfaces.average()
    assert metrics.average_symmetric_surface_distance(**both) == surfaces.average_symmetric()
    assert metrics.surface_dice(**both, tolerance=0.5) == surfaces.dice(0.5)


FORMS = {
    "bool tensor": torch.from_numpy,
    "float tensor": lambda mask: torch.from_numpy(mask).float().requires_grad_(),
    "bfloat16 tensor": lambda mask: torch.from_numpy(mask).to(torch.bfloat16),
    "uint8": lambda mask: mask.astype(np.uint8),
    "float64": lambda mask: mask.astype(np.float64),
    "Fortran order": np.asfortranarray,
    "strided": lambda mask: np.repeat(mask, 2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("convert", FORMS.values(), ids=FORMS)
def test_any_array_or_tensor_is_taken_and_left_as_it_was(convert: Callable[..., Any]) -> None:
    rng = np.random.default_rng(6)
    prediction, target = ndimage.gaussian_filter(rng.normal(size=(2, 9, 9, 9)), 1) > 0
    before = target.copy()
    got = metrics.hausdorff_distance(convert(prediction), convert(target), spacing=torch.tensor([2.0, 1, 1]))
    assert type(got) is float
    assert got == metrics.hausdorff_distance(prediction, target, spacing=[2, 1, 1])
    np.testing.assert_array_equal(target, before)


BOX = np.ones((4, 4, 5))
WRONG = [
    ({"prediction": BOX[1:]}, ValueError, r"prediction: got shape \(3, 4, 5\), wanted .* \(4, 4, 5\)"),
    ({"prediction": BOX[None]}, ValueError, "prediction: .* without batch or channel axes"),
    ({"target": 2 * BOX}, ValueError, r"target: got values \[2.0\], wanted a binary mask"),
    ({"target": torch.full((4, 4, 5), 0.5)}, ValueError, r"target: got values \[0.5\]"),
    ({"target": np.nan * BOX}, ValueError, r"target: got values \[nan"),
    ({"target": [[1, 0]]}, TypeError, "target: got list, wanted a NumPy array or a torch.Tensor"),
    ({"spacing": (1, 1)}, ValueError, "spacing: got 2 values"),
    ({"spacing": (1, 0, 1)}, ValueError, "spacing: got .*, wanted positive finite"),
    ({"spacing": torch.ones(2, 3)}, ValueError, r"spacing: got shape \(2, 3\), wanted 3 numbers"),
    ({"percentile": 101}, ValueError, "percentile: got 101, wanted a number from 0 to 100"),
    ({"percentile": "95"}, ValueError, "percentile: got '95', wanted a number from 0 to 100"),
    ({"percentile": (95, 100)}, ValueError, r"percentile: got \(95, 100\), wanted a number from 0 to 100"),
    ({"percentile": float("nan")}, ValueError, "percentile: got nan, wanted a number from 0 to 100"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG)
def test_wrong_arguments_are_named(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        metrics.hausdorff_distance(**{"prediction": BOX, "target": BOX, **arguments})


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf")])
def test_a_wrong_tolerance_is_named(tolerance: Any) -> None:
    with pytest.raises(ValueError, match="tolerance: got"):
        metrics.surface_dice(np.ones((2, 2)), np.ones((2, 2)), tolerance=tolerance)
