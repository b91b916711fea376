import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from surfloss import metrics
from tests.support import volumes


def test_a_case_holds_what_the_functions_give() -> None:
    volume, spacing = volumes.load("brain1_label")
    target = volume > 0
    prediction = np.roll(target, (1, 2), (0, 2))
    prediction[0, :3, :4] = True
    both = {"prediction": prediction, "target": target, "spacing": spacing}
    got = metrics.evaluate(**both, tolerance=0.8)
    report = metrics.per_lesion(**both)
    assert got == metrics.CaseMetrics(
        dice=metrics.dice(**both),
        relative_volume_difference=metrics.relative_volume_difference(**both),
        hausdorff_distance=metrics.hausdorff_distance(**both),
        hausdorff_distance_95=metrics.hausdorff_distance(**both, percentile=95),
        surface_dice=metrics.surface_dice(**both, tolerance=0.8),
        average_symmetric_surface_distance=metrics.average_symmetric_surface_distance(**both),
        volume_ml=metrics.volume_ml(prediction, spacing=spacing),
        target_volume_ml=metrics.volume_ml(target, spacing=spacing),
        abc2_volume_ml=metrics.abc2_volume_ml(prediction, spacing=spacing),
        target_abc2_volume_ml=metrics.abc2_volume_ml(target, spacing=spacing),
        lesions=len(report.lesions),
        detected_lesions=report.detected,
        false_positive_lesions=len(report.false_positives),
    )
    assert all(type(value) in (float, int) for value in dataclasses.astuple(got))
    with pytest.raises(dataclasses.FrozenInstanceError):
        got.dice = 1.0


MASK = np.ones((2, 3, 4))
IN_MM = {
    "volume_ml": functools.partial(metrics.volume_ml, MASK),
    "abc2_volume_ml": functools.partial(metrics.abc2_volume_ml, MASK),
    "per_lesion": functools.partial(metrics.per_lesion, MASK, MASK),
    "evaluate": functools.partial(metrics.evaluate, MASK, MASK, tolerance=1.0),
}


@pytest.mark.parametrize("function", IN_MM.values(), ids=IN_MM)
def test_what_is_in_mm_needs_a_spacing(function: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="spacing: got None, wanted the voxel size in mm"):
        function(spacing=None)
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'spacing'"):
        function()


def test_the_tolerance_has_no_default(tmp_path: Path) -> None:
    for function in (
        functools.partial(metrics.evaluate, MASK, MASK, spacing=1),
        functools.partial(metrics.evaluate_folders, tmp_path, tmp_path),
        functools.partial(metrics.SurfaceMetrics, classes=2),
    ):
        with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'tolerance'"):
            function()


def test_a_distance_without_spacing_is_in_voxels() -> None:
    moved = np.zeros((4, 9))
    mask = moved.copy()
    mask[1:3, 2:5], moved[1:3, 4:7] = 1, 1
    assert metrics.hausdorff_distance(moved, mask) == 2
    assert metrics.hausdorff_distance(moved, mask, spacing=0.5) == 1


def test_the_slice_axis_is_checked_and_used() -> None:
    mask = np.zeros((9, 12, 4))
    mask[2:7, 3:9, 1:3] = mask[3:5, 4:6, 0] = 1
    spacing = (0.5, 0.6, 5.0)
    got = metrics.evaluate(mask, mask, spacing=spacing, tolerance=1, slice_axis=2)
    assert got.abc2_volume_ml == metrics.abc2_volume_ml(mask, spacing=spacing, slice_axis=2)
    assert got.abc2_volume_ml != metrics.abc2_volume_ml(mask, spacing=spacing)
    with pytest.raises(ValueError, match="slice_axis: got 3, wanted an axis of the mask, 0 to 2"):
        metrics.evaluate(mask, mask, spacing=spacing, tolerance=1, slice_axis=3)


def test_rules_for_empty_masks_are_those_of_evaluate() -> None:
    empty, options = np.zeros(MASK.shape), {"spacing": 1, "tolerance": 1}
    got = metrics.evaluate(empty, MASK, **options, empty="worst")
    assert (got.dice, got.surface_dice, got.relative_volume_difference) == (0, 0, 1)
    assert got.hausdorff_distance == got.hausdorff_distance_95 == pytest.approx(math.sqrt(4 + 9 + 16))
    got = metrics.evaluate(empty, empty, **options, both_empty="perfect")
    assert (got.dice, got.surface_dice, got.hausdorff_distance, got.volume_ml) == (1, 1, 0, 0)


def test_a_2d_case_has_no_volumes() -> None:
    got = metrics.evaluate(np.ones((4, 5)), np.ones((4, 5)), spacing=0.5, tolerance=1)
    assert (got.dice, got.hausdorff_distance) == (1, 0)
    assert got.volume_ml is got.target_volume_ml is got.abc2_volume_ml is got.target_abc2_volume_ml is None
