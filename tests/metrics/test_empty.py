"""The one table of answers for empty and full masks; docs/metrics.md shows the same."""

import math

import numpy as np
import pytest

from surfloss import metrics
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
def test_table(metric, prediction, target, wanted, dims):
    more = {"tolerance": 0.5} if metric == "surface_dice" else {}
    masks = (np.full(SHAPE[dims], label) for label in (prediction, target))
    got = getattr(metrics, metric)(*masks, spacing=SPACING[dims], **more)
    assert type(got) is float
    assert got == pytest.approx(wanted, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("scene", SCENES)
def test_the_official_evaluation_gives_the_same(scene, dims):
    prediction, target = (np.full(SHAPE[dims], label) for label in SCENES[scene])
    theirs = official.Surfaces(prediction, target, SPACING[dims])
    answers = {metric: row[list(SCENES).index(scene)] for metric, row in TABLE.items()}
    assert theirs.hausdorff(100) == answers["hausdorff_distance"]
    assert theirs.dice(0.5) == pytest.approx(answers["surface_dice"], nan_ok=True)
    assert theirs.averages()[0] == pytest.approx(answers["average_surface_distance"], nan_ok=True)
    assert official.dice(prediction, target) == pytest.approx(answers["dice"], abs=1e-6)


def test_an_empty_mask_has_no_volume_and_no_lesions():
    empty = np.zeros((3, 4, 5))
    assert metrics.volume_ml(empty) == metrics.abc2_volume_ml(empty) == 0
    assert metrics.per_lesion(empty, empty) == metrics.LesionReport((), ())


@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 0), (1, 1, 1), (1, 1)])
def test_arrays_without_voxels_or_with_one_are_empty_masks_too(shape):
    got = metrics.evaluate(np.zeros(shape), np.zeros(shape), 1.0)
    assert (got.dice, got.hausdorff_distance, got.surface_dice, got.lesions) == (1, None, None, 0)
