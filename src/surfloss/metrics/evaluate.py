"""All metrics of one case, from one measurement of its surfaces and components."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from surfloss import _check
from surfloss._check import SpacingLike
from surfloss.metrics import _empty, _masks
from surfloss.metrics._components import components
from surfloss.metrics._empty import BothEmptyRule, EmptyRule
from surfloss.metrics._masks import BoolArray, FloatArray, Mask
from surfloss.metrics.lesions import LesionReport, match
from surfloss.metrics.overlap import dice
from surfloss.metrics.surface import between, check_percentile
from surfloss.metrics.volume import abc2_of, check_slice_axis, relative_volume_difference, volume_ml


@dataclass(frozen=True)
class CaseMetrics:
    """The metrics of one case; None where a value is undefined (`docs/metrics.md` has the table).

    Distances are in mm, volumes in ml (None in 2-D).
    """

    dice: float
    relative_volume_difference: float | None
    hausdorff_distance: float | None
    hausdorff_distance_95: float | None
    surface_dice: float | None
    average_symmetric_surface_distance: float | None
    volume_ml: float | None
    target_volume_ml: float | None
    abc2_volume_ml: float | None
    target_abc2_volume_ml: float | None
    lesions: int
    detected_lesions: int
    false_positive_lesions: int


@dataclass(frozen=True)
class Settings:
    """What may be chosen of a case's metrics.

    The first tolerance is that of `surface_dice`; every further one adds a value `surface_dice_<tolerance>`.
    Every percentile but 95, which is always there, adds `hausdorff_distance_<percentile>`. `empty` and
    `both_empty` are the rules of `_empty.with_empty_masks`.
    """

    tolerances: tuple[float, ...]
    percentiles: tuple[float, ...] = ()
    per_lesion: bool = False
    slice_axis: int = 0
    empty: EmptyRule = "null"
    both_empty: BothEmptyRule = "official"

    def __post_init__(self) -> None:
        _empty.check_rules(self.empty, self.both_empty)
        check_slice_axis(self.slice_axis)
        if not self.tolerances:
            _check.fail("tolerance", "none", "at least one")
        for tolerance in self.tolerances:
            _check.not_negative("tolerance", tolerance)
        for percentile in self.percentiles:
            check_percentile(percentile)

    @property
    def further_tolerances(self) -> dict[str, float]:
        """By the name of the metric."""
        return {f"surface_dice_{tolerance:g}": tolerance for tolerance in self.tolerances[1:]}

    @property
    def further_percentiles(self) -> dict[str, float]:
        """By the name of the metric."""
        return {f"hausdorff_distance_{percentile:g}": percentile for percentile in self.percentiles}

    @property
    def names(self) -> list[str]:
        """The names of all metrics, in the order of the values that `measure` gives."""
        further = (*self.further_tolerances, *self.further_percentiles)
        return list(dict.fromkeys((*(field.name for field in fields(CaseMetrics)), *further)))


def evaluate(
    prediction: Mask,
    target: Mask,
    *,
    spacing: SpacingLike,
    tolerance: float,
    slice_axis: int = 0,
    empty: EmptyRule = "null",
    both_empty: BothEmptyRule = "official",
) -> CaseMetrics:
    """Every metric of one case; the surfaces are measured once.

    Args:
        prediction, target: binary mask, 2-D or 3-D, array or tensor on any device, of one shape.
        spacing: mm along each axis in array order, or one number. Required, since all is in mm and ml.
        tolerance: of the surface Dice, in mm.
        slice_axis: the axis across the slices, for ABC/2.
        empty: values where one mask is empty. "null": None for what has no finite value. "diagonal":
            distances are the diagonal of the volume. "worst": every metric has its worst value.
            `docs/metrics.md` has the table.
        both_empty: values where both masks are empty. "official": as in the INSTANCE2022 evaluation, Dice 1
            and None for the others. "perfect": the best value of every metric. "null": None, for Dice too.

    Raises:
        TypeError, ValueError: on arguments of another form.
    """
    masks = _masks.pair(prediction, target)
    settings = Settings((tolerance,), slice_axis=slice_axis, empty=empty, both_empty=both_empty)
    values, _ = measure(*masks, _masks.steps_in_mm(spacing, masks[0].ndim), settings, target.shape)
    return CaseMetrics(**values)  # type: ignore[arg-type]


def measure(
    prediction: BoolArray, target: BoolArray, steps: FloatArray, settings: Settings, shape: Sequence[int]
) -> tuple[dict[str, float | None], LesionReport]:
    """The fields of `CaseMetrics`, with those that the settings add, and the lesions.

    Args:
        prediction, target, steps: in the form of `_masks`.
        settings: which metrics, and the rules for empty masks.
        shape: of the whole volume, from which the masks were cropped.
    """
    surfaces = between(prediction, target, steps)
    p_labels, t_labels = components(prediction, prediction.ndim), components(target, target.ndim)
    report = match(p_labels, t_labels, steps, settings.tolerances[0] if settings.per_lesion else None)
    volumes: Sequence[float | None] = (None,) * 4
    if prediction.ndim == 3:
        volumes = (
            volume_ml(prediction, spacing=steps),
            volume_ml(target, spacing=steps),
            abc2_of(p_labels, steps, settings.slice_axis),
            abc2_of(t_labels, steps, settings.slice_axis),
        )
    metrics = CaseMetrics(
        dice=dice(prediction, target),
        relative_volume_difference=_defined(relative_volume_difference(prediction, target)),
        hausdorff_distance=_defined(surfaces.hausdorff()),
        hausdorff_distance_95=_defined(surfaces.hausdorff(95)),
        surface_dice=_defined(surfaces.dice(settings.tolerances[0])),
        average_symmetric_surface_distance=_defined(surfaces.average_symmetric()),
        volume_ml=volumes[0],
        target_volume_ml=volumes[1],
        abc2_volume_ml=volumes[2],
        target_abc2_volume_ml=volumes[3],
        lesions=len(report.lesions),
        detected_lesions=report.detected,
        false_positive_lesions=len(report.false_positives),
    )
    values = dict(vars(metrics))
    for name, tolerance in settings.further_tolerances.items():
        values[name] = _defined(surfaces.dice(tolerance))
    for name, percentile in settings.further_percentiles.items():
        values[name] = _defined(surfaces.hausdorff(percentile))
    settled = _empty.with_empty_masks(
        values,
        prediction_empty=not prediction.any(),
        target_empty=not target.any(),
        diagonal=float(np.linalg.norm(steps * shape)),
        empty=settings.empty,
        both_empty=settings.both_empty,
    )
    return settled, report


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None
