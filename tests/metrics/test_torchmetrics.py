"""`SurfaceMetrics` where torchmetrics is installed: called, in collections and in modules."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from surfloss import metrics
from tests.metrics.test_running import (
    CLASSES,
    PREDICTION,
    SPACING,
    TARGET,
    TOLERANCES,
    case_by_case,
    wanted,
)
from tests.support import torchmetrics

pytestmark = pytest.mark.skipif(not torchmetrics.INSTALLED, reason="torchmetrics is not installed")
FIRST, REST = slice(0, 2), slice(2, 5)


@pytest.fixture(scope="module")
def surface_metrics() -> Iterator[type[metrics.SurfaceMetrics]]:
    with torchmetrics.surface_metrics(True) as made:
        yield made


@pytest.fixture
def running(surface_metrics: type[metrics.SurfaceMetrics]) -> metrics.SurfaceMetrics:
    return surface_metrics(classes=CLASSES, tolerance=TOLERANCES)


def test_it_is_a_metric_of_torchmetrics(running: metrics.SurfaceMetrics) -> None:
    from torchmetrics import Metric

    assert isinstance(running, Metric)
    running.update(PREDICTION[FIRST], TARGET[FIRST], spacing=SPACING[FIRST])
    clone = running.clone()
    running.update(PREDICTION[REST], TARGET[REST], spacing=SPACING[REST])
    assert running.summary() == wanted(case_by_case())
    assert clone.summary() == wanted(case_by_case()[FIRST])


def test_a_call_gives_the_values_of_the_batch_and_keeps_its_cases(running: metrics.SurfaceMetrics) -> None:
    for part in (FIRST, REST):
        batch = running(PREDICTION[part], TARGET[part], spacing=SPACING[part])
        dice = wanted(case_by_case()[part]).summary["dice"].mean
        assert batch["dice"].item() == pytest.approx(dice)
    assert running.summary().summary["dice"].count == 10
    assert running.compute()["dice"].item() == pytest.approx(wanted(case_by_case()).summary["dice"].mean)


def test_a_class_that_a_batch_lacks_is_undefined_there_without_a_warning(
    running: metrics.SurfaceMetrics, recwarn: pytest.WarningsRecorder
) -> None:
    for case in (2, 0):  # only the second one has a tumor
        batch = running(PREDICTION[[case]], TARGET[[case]], spacing=SPACING[[case]])
        assert batch["dice/tumor"].isnan() == (case == 2)
        assert not batch["dice"].isnan()
    assert not recwarn.list
    assert running.summary().summary_by_label["tumor"]["dice"].count == 2


def test_metrics_with_other_settings_stay_apart_in_a_collection(
    surface_metrics: type[metrics.SurfaceMetrics],
) -> None:
    """A collection shares one state among metrics whose states are equal after the first batch."""
    from torchmetrics import MetricCollection
    from torchmetrics.classification import MulticlassAccuracy

    collection = MetricCollection(
        {
            "strict": surface_metrics(classes=CLASSES, tolerance=0.0),
            "loose": surface_metrics(classes=CLASSES, tolerance=100.0),
            "again": surface_metrics(classes=CLASSES, tolerance=100.0),
            "accuracy": MulticlassAccuracy(3),
        },
        prefix="val/",
    )
    collection.update(TARGET, TARGET, spacing=SPACING)  # equal values whatever the tolerance
    collection.update(PREDICTION, TARGET, spacing=SPACING)
    got = collection.compute()
    assert got["val/accuracy"] > 0
    assert got["val/strict_surface_dice/liver"] < got["val/loose_surface_dice/liver"] == 1
    assert got["val/again_surface_dice"] == got["val/loose_surface_dice"] > got["val/strict_surface_dice"]
    assert got["val/loose_null/hausdorff_distance/tumor"] == 3


def test_one_metric_in_a_collection_keeps_its_names(running: metrics.SurfaceMetrics) -> None:
    from torchmetrics import MetricCollection

    collection = MetricCollection([running])
    collection.update(PREDICTION, TARGET, spacing=SPACING)
    assert collection.compute().keys() == running.compute().keys()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_cast_of_the_module_changes_no_value(running: metrics.SurfaceMetrics, dtype: Any) -> None:
    module = torch.nn.ModuleDict({"metric": running})
    running.update(PREDICTION[FIRST], TARGET[FIRST], spacing=SPACING[FIRST])
    module.to(dtype)
    module.half()
    running.update(PREDICTION[REST], TARGET[REST], spacing=SPACING[REST])
    assert running.summary() == wanted(case_by_case())


def test_states_are_on_the_device_of_the_metric(running: metrics.SurfaceMetrics) -> None:
    running.update(PREDICTION[FIRST], TARGET[FIRST], spacing=SPACING[FIRST])
    running.to("meta")
    assert all(rows.device.type == "meta" for rows in running.rows)
    running.reset()
    assert [rows.device.type for rows in running.rows] == ["meta"]


def test_states_of_two_objects_can_be_merged(
    surface_metrics: type[metrics.SurfaceMetrics], running: metrics.SurfaceMetrics
) -> None:
    other = surface_metrics(classes=CLASSES, tolerance=TOLERANCES)
    running.update(PREDICTION[REST], TARGET[REST], spacing=SPACING[REST])
    other.update(PREDICTION[FIRST], TARGET[FIRST], spacing=SPACING[FIRST])
    running.merge_state(other)
    assert running.summary() == wanted(case_by_case())


def test_options_of_torchmetrics_are_passed_on(surface_metrics: type[metrics.SurfaceMetrics]) -> None:
    running = surface_metrics(classes=2, tolerance=1.0, sync_on_compute=False)
    assert not running.sync_on_compute
    with pytest.raises(ValueError, match="tolerances"):
        surface_metrics(classes=2, tolerance=1.0, tolerances=[2.0])
