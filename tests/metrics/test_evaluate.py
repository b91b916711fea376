import dataclasses

import numpy as np
import pytest

from surfloss import metrics
from tests.support import volumes


def test_a_case_holds_what_the_functions_give():
    volume, spacing = volumes.load("brain1_label")
    target = volume > 0
    prediction = np.roll(target, (1, 2), (0, 2))
    prediction[0, :3, :4] = True
    both = {"prediction": prediction, "target": target, "spacing": spacing}
    got = metrics.evaluate(prediction, target, spacing, tolerance=0.8)
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


def test_a_2d_case_has_no_volumes():
    got = metrics.evaluate(np.ones((4, 5)), np.ones((4, 5)), (0.5, 0.5))
    assert (got.dice, got.hausdorff_distance) == (1, 0)
    assert got.volume_ml is got.target_volume_ml is got.abc2_volume_ml is got.target_abc2_volume_ml is None
