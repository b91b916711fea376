"""The one table of answers for empty and full masks; docs/metrics.md shows the same."""

import math
from typing import Any

import numpy as np
import pytest

from surfloss import metrics
from surfloss.metrics import _masks
from surfloss.metrics._empty import with_empty_masks
from surfloss.metrics.evaluate import Settings, measure
from tests.metrics import official

INF, NAN = math.inf, math.nan
SPACING = {2: (0.7, 1.3), 3: (2.0, 0.7, 1.3)}
SHAPE = {2: (4, 5), 3: (3, 4, 5)}

# metric: (prediction empty, target empty, both empty, both full)
TABLE = {
    "dice": (0, 0, 1, 1),
    "relative_volume_difference": (1, NAN, NAN, 0),
    "hausdorff_distance": (INF, INF, INF, 0),
    "average_surface_distance": (NAN, INF, NAN, 0),
    "average_symmetric_surface_distance": (INF, INF, NAN, 0),
    "surface_dice": (0, 0, NAN, 1),
    "boundary_iou": (0, 0, NAN, 1),
}
SCENES = {
    "prediction empty": (False, True),
    "target empty": (True, False),
    "both empty": (False, False),
    "both full": (True, True),
}
ROWS = [
    pytest.param(metric, *SCENES[scene], wanted, id=f"{metric}, {scene}")
    for metric, answers in TABLE.items()
    for scene, wanted in zip(SCENES, answers, strict=True)
]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("metric", "prediction", "target", "wanted"), ROWS)
def test_table(metric: str, prediction: Any, target: Any, wanted: Any, dims: int) -> None:
    more = {"tolerance": 0.5} if metric == "surface_dice" else {}
    masks = (np.full(SHAPE[dims], label) for label in (prediction, target))
    got = getattr(metrics, metric)(*masks, spacing=SPACING[dims], **more)
    assert type(got) is float
    assert got == pytest.approx(wanted, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("scene", SCENES)
def test_the_official_evaluation_gives_the_same(scene: Any, dims: int) -> None:
    prediction, target = (np.full(SHAPE[dims], label) for label in SCENES[scene])
    theirs = official.Surfaces(prediction, target, SPACING[dims])
    answers = {metric: row[list(SCENES).index(scene)] for metric, row in TABLE.items()}
    assert theirs.hausdorff(100) == answers["hausdorff_distance"]
    assert theirs.dice(0.5) == pytest.approx(answers["surface_dice"], nan_ok=True)
    assert theirs.averages()[0] == pytest.approx(answers["average_surface_distance"], nan_ok=True)
    assert official.dice(prediction, target) == pytest.approx(answers["dice"], abs=1e-6)


def test_an_empty_mask_has_no_volume_and_no_lesions() -> None:
    empty = np.zeros((3, 4, 5))
    assert metrics.volume_ml(empty, spacing=1) == metrics.abc2_volume_ml(empty, spacing=1) == 0
    assert metrics.per_lesion(empty, empty, spacing=1) == metrics.LesionReport((), ())


@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 0), (1, 1, 1), (1, 1)])
def test_arrays_without_voxels_or_with_one_are_empty_masks_too(shape: tuple[int, ...]) -> None:
    got = metrics.evaluate(np.zeros(shape), np.zeros(shape), spacing=1, tolerance=1)
    assert (got.dice, got.hausdorff_distance, got.surface_dice, got.lesions) == (1, None, None, 0)


NAMES = (
    "dice",
    "surface_dice",
    "surface_dice_2",
    "relative_volume_difference",
    "hausdorff_distance",
    "hausdorff_distance_95",
    "hausdorff_distance_99",
    "average_symmetric_surface_distance",
)
# The answers of the case: about 0 as the smoothing gives it, and None where there is no finite value.
COMPUTED = {
    "prediction empty": (1e-7, 0, 0, 1, None, None, None, None),
    "target empty": (1e-7, 0, 0, None, None, None, None, None),
    "both empty": (1, None, None, None, None, None, None, None),
}
D = 70.0
ONE_EMPTY = {"null": None, "diagonal": (1e-7, 0, 0, None, D, D, D, D), "worst": (0, 0, 0, 1, D, D, D, D)}
BOTH_EMPTY = {"official": None, "perfect": (1, 1, 1, 0, 0, 0, 0, 0), "null": (None,) * 8}


@pytest.mark.parametrize("both_empty", BOTH_EMPTY)
@pytest.mark.parametrize("empty", ONE_EMPTY)
@pytest.mark.parametrize("scene", COMPUTED)
def test_rules_for_empty_masks(scene: Any, empty: Any, both_empty: Any) -> None:
    computed = {**dict(zip(NAMES, COMPUTED[scene], strict=True)), "volume_ml": 3.0, "lesions": 2}
    wanted = BOTH_EMPTY[both_empty] if scene == "both empty" else ONE_EMPTY[empty]
    answers = dict(zip(NAMES, wanted or COMPUTED[scene], strict=True))
    if (scene, empty) == ("prediction empty", "diagonal"):
        answers["relative_volume_difference"] = 1  # its own value: 1 is no distance
    got = with_empty_masks(
        computed,
        prediction_empty=scene != "target empty",
        target_empty=scene != "prediction empty",
        diagonal=D,
        empty=empty,
        both_empty=both_empty,
    )
    assert got == {**computed, **answers}
    assert list(got) == list(computed)


def test_the_rules_leave_a_case_without_empty_masks_alone() -> None:
    values = {"dice": 0.5, "relative_volume_difference": 2.0, "hausdorff_distance": 3.0}
    neither = {"prediction_empty": False, "target_empty": False, "diagonal": D}
    assert with_empty_masks(values, **neither, empty="worst", both_empty="perfect") == values


@pytest.mark.parametrize("dims", [2, 3])
def test_the_diagonal_is_that_of_the_whole_volume(dims: int) -> None:
    spacing, shape = SPACING[dims], SHAPE[dims]
    target = np.zeros(shape, bool)
    target[(1,) * dims] = True
    settings = Settings((0.5,), empty="diagonal")
    masks = _masks.pair(np.zeros(shape), target)
    values, _ = measure(*masks, np.array(spacing), settings, shape)
    assert values["hausdorff_distance"] == pytest.approx(
        math.sqrt(sum((size * step) ** 2 for size, step in zip(shape, spacing, strict=True)))
    )


@pytest.mark.parametrize("rule", ["empty", "both_empty"])
def test_an_unknown_rule_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match=f"{rule}: got 'zero', wanted one of "):
        Settings((1.0,), **{rule: "zero"})
