from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra import numpy as hnp

from surfloss import metrics


def drawn(*rows: str) -> np.ndarray:
    """A 2-D mask from strings: a letter or # is foreground."""
    return np.array([[character != "." for character in row] for row in rows])


TARGET = drawn(
    "aa....bb..",
    "aa....bb..",
    "..........",
    "cc........",
    "cc.......d",
)
PREDICTION = drawn(
    ".#....#...",
    ".#....#...",
    "......##..",
    "....##....",
    ".........#",
)


def test_lesions_are_matched_by_overlap() -> None:
    report = metrics.per_lesion(PREDICTION, TARGET, spacing=1)
    assert [lesion.voxels for lesion in report.lesions] == [4, 4, 4, 1]
    assert [lesion.detected for lesion in report.lesions] == [True, True, False, True]
    assert [lesion.dice for lesion in report.lesions] == [2 * 2 / 6, 2 * 2 / 10, 0, 1]
    assert report.detected == 3
    # The two pixels in the fourth row touch those under lesion b at a corner.
    assert [len(lesion.matched) for lesion in report.lesions] == [1, 1, 0, 1]
    assert report.false_positives == ()


def test_connectivity_decides_what_is_one_component() -> None:
    report = metrics.per_lesion(PREDICTION, TARGET, spacing=1, connectivity=4)
    assert [lesion.dice for lesion in report.lesions] == [2 * 2 / 6, 2 * 2 / 8, 0, 1]
    (false,) = report.false_positives
    assert (false.voxels, false.volume_ml) == (2, None)
    corners = np.zeros((2, 2, 2), bool)
    corners[0, 0, 0] = corners[1, 1, 1] = True
    edges = np.zeros((2, 2, 2), bool)
    edges[0, 0, 0] = edges[0, 1, 1] = True
    for mask, counts in ((corners, {6: 2, 18: 2, 26: 1}), (edges, {6: 2, 18: 1, 26: 1})):
        for connectivity, count in counts.items():
            assert len(metrics.per_lesion(mask, mask, spacing=1, connectivity=connectivity).lesions) == count
    for bad in ([6], "26", 6.5, True):
        with pytest.raises(ValueError, match=r"^connectivity: got .*, wanted one of 6, 18, 26 in 3-D"):
            metrics.per_lesion(corners, corners, spacing=1, connectivity=bad)
    with pytest.raises(ValueError, match="connectivity: got 8, wanted one of 6, 18, 26 in 3-D"):
        metrics.per_lesion(corners, corners, spacing=1, connectivity=8)


def test_one_prediction_may_match_several_lesions_and_the_other_way_round() -> None:
    two, one = drawn("##.##"), drawn("#####")
    first, second = metrics.per_lesion(one, two, spacing=1).lesions
    assert first.matched == second.matched == (1,)
    assert first.dice == 2 * 2 / 7
    (lesion,) = metrics.per_lesion(two, one, spacing=1).lesions
    assert lesion.matched == (1, 2)
    assert lesion.dice == 2 * 4 / 9


def test_volumes_are_in_ml() -> None:
    mask = torch.zeros(4, 5, 6)
    mask[1, 1, 1:4] = 1
    report = metrics.per_lesion(torch.zeros(4, 5, 6), mask, spacing=(5, 0.5, 0.4))
    (lesion,) = report.lesions
    assert lesion.volume_ml == pytest.approx(3 * 1.0 / 1000)
    assert lesion == metrics.Lesion(label=1, voxels=3, volume_ml=lesion.volume_ml, matched=(), dice=0.0)


@given(hnp.arrays(bool, (2, 3, 4, 5)))
def test_every_voxel_is_accounted_for(masks: Any) -> None:
    prediction, target = masks
    report = metrics.per_lesion(prediction, target, spacing=1)
    assert sum(lesion.voxels for lesion in report.lesions) == target.sum()
    matched = {label for lesion in report.lesions for label in lesion.matched}
    false = {component.label for component in report.false_positives}
    assert not matched & false
    turned = metrics.per_lesion(target, prediction, spacing=1)
    assert matched | false == {lesion.label for lesion in turned.lesions}
    assert matched == {lesion.label for lesion in turned.lesions if lesion.detected}
    for lesion in report.lesions:
        assert lesion.detected == (lesion.dice > 0)
        assert all(lesion.label in turned.lesions[label - 1].matched for label in lesion.matched)


def test_surfaces_of_a_lesion_are_those_of_its_own_masks() -> None:
    report = metrics.per_lesion(PREDICTION, TARGET, spacing=(0.5, 0.7), tolerance=0.5)
    plain = metrics.per_lesion(PREDICTION, TARGET, spacing=(0.5, 0.7))
    assert [lesion.dice for lesion in report.lesions] == [lesion.dice for lesion in plain.lesions]
    assert {lesion.surface_dice for lesion in plain.lesions} == {None}
    a, b, c, d = (np.zeros_like(TARGET) for _ in range(4))
    a[:2, :2], b[:2, 6:8], c[3:, :2], d[4, 9] = True, True, True, True
    found = [PREDICTION & (np.arange(10) < 3), PREDICTION & (np.arange(10) > 3), np.zeros_like(TARGET), d]
    found[1] = found[1] & ~d
    for lesion, target, prediction in zip(report.lesions, (a, b, c, d), found, strict=True):
        both = {"prediction": prediction, "target": target, "spacing": (0.5, 0.7)}
        assert lesion.surface_dice == metrics.surface_dice(**both, tolerance=0.5)
        distance = metrics.hausdorff_distance(**both, percentile=95)
        assert lesion.hausdorff_distance_95 == (distance if lesion.detected else None)
    with pytest.raises(ValueError, match="tolerance: got -1"):
        metrics.per_lesion(PREDICTION, TARGET, spacing=1, tolerance=-1)
    assert not report.lesions[2].detected
    assert report.lesions[2].surface_dice == 0


@pytest.mark.timeout(30)
def test_forty_thousand_lesions_take_seconds() -> None:
    """Every other voxel along each axis is a lesion of its own; every third one of them is found."""
    target = np.zeros((20, 200, 160), bool)
    target[::2, ::2, ::2] = True
    labels = np.cumsum(target).reshape(target.shape) * target
    report = metrics.per_lesion(target & (labels % 3 == 0), target, spacing=1)
    assert len(report.lesions) == 10 * 100 * 80
    assert [lesion.detected for lesion in report.lesions[:6]] == [False, False, True] * 2
    assert report.detected == 80_000 // 3
