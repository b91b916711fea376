"""Metrics by class, gathered over the batches of a validation, in one process or in many."""

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surfloss import _check
from surfloss._check import NumbersLike, SpacingLike, fail
from surfloss.metrics import _masks
from surfloss.metrics._classes import Classes
from surfloss.metrics._empty import BothEmptyRule, EmptyRule
from surfloss.metrics._masks import FloatArray
from surfloss.metrics._metric import Metric
from surfloss.metrics.evaluate import CaseMetrics, Settings, measure
from surfloss.metrics.summary import Summaries, summarize

NAMES = [field.name for field in fields(CaseMetrics)]


class SurfaceMetrics(Metric):
    """Every metric of `evaluate` by class and over all classes, for batches of labels or one-hot masks.

    It is a `torchmetrics.Metric` where torchmetrics can be imported. Elsewhere it has `update`, `compute`,
    `summary` and `reset` alone. The values equal those of `evaluate_folders` for the same volumes.

    Args:
        classes: names of all classes, background first, or their number, which stands for the names "0", "1"
            and so on. A binary mask has two. For overlapping regions without a background channel name the
            regions and set `include_background`.
        tolerance: of the surface Dice in mm: a number, or one per measured class, in order or by name.
        include_background: whether the first class is measured too.
        ignore_index: value of the target's labels in voxels that belong to no mask, neither the prediction's
            nor the target's. None for no such value.
        spatial_dims: 2 or 3. None for as many as the spacing has numbers.
        slice_axis: the spatial axis across the slices, for ABC/2.
        empty, both_empty: the rules of `evaluate` for empty masks.
        options: of `torchmetrics.Metric`; without torchmetrics only `process_group`, whose processes
            `compute` joins, None for all. A sampler that repeats cases to fill up the last batch makes them
            count twice.

    Raises:
        ValueError: on options of another form.
    """

    is_differentiable = False
    full_state_update = False
    rows: list[Tensor]  # each (cases, classes, metrics and whether the target has the class), see `_stored`
    _in_forward = False

    def __init__(
        self,
        *,
        classes: int | Sequence[str],
        tolerance: float | NumbersLike | Mapping[str, float],
        include_background: bool = False,
        ignore_index: int | None = None,
        spatial_dims: int | None = None,
        slice_axis: int = 0,
        empty: EmptyRule = "null",
        both_empty: BothEmptyRule = "official",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if spatial_dims is not None and not (_check.is_whole(spatial_dims) and spatial_dims in (2, 3)):
            fail("spatial_dims", repr(spatial_dims), "2 or 3")
        self.spatial_dims = spatial_dims
        self.classes = Classes(classes, include_background, ignore_index)
        self.settings = [
            Settings((value,), slice_axis=slice_axis, empty=empty, both_empty=both_empty)
            for value in self.classes.tolerances(tolerance)
        ]
        self.add_state("rows", [], dist_reduce_fx="cat")
        # A `MetricCollection` joins metrics whose states are equal after the first batch. This one tells
        # metrics with other settings apart.
        made_by = repr(
            (self.classes.measured, self.classes.ignore_index, spatial_dims, self.settings)
        ).encode()
        digest = torch.tensor(list(hashlib.sha256(made_by).digest()))
        self.add_state("made_by", digest, dist_reduce_fx="max")
        self.reset()

    def update(
        self,
        prediction: Tensor | Sequence[Tensor],
        target: Tensor | Sequence[Tensor],
        *,
        spacing: SpacingLike | Sequence[SpacingLike],
    ) -> None:
        """Measure the cases of a batch; there may be none.

        Args:
            prediction, target: each a batch or a list of cases, real numbers, on any device. A case is labels
                of shape `(*spatial)` or `(1, *spatial)`, or one mask of 0 and 1 per class, `(classes,
                *spatial)`. The two may differ in form. Soft values are refused.
            spacing: in mm along each spatial axis in array order, or one number; or one such spacing per
                case, as a sequence, or as an array or tensor of shape `(batch, spatial_dims)`.

        Raises:
            TypeError, ValueError: on arguments of another form; then no case counts.
        """
        if len(prediction) != len(target):
            fail("prediction", f"{len(prediction)} cases", f"the number of target, {len(target)}")
        if not len(target):  # no case has the axes that would tell whether the spacing is right
            return
        dims, steps = self._steps(spacing, len(target))
        cases = [
            [
                self._values(masks, step, settings)
                for masks, settings in zip(self.classes.pairs(one, other, dims), self.settings, strict=True)
            ]
            for one, other, step in zip(prediction, target, steps, strict=True)
        ]
        self.rows.append(self._stored(cases))

    def compute(self) -> dict[str, Tensor]:
        """The mean of every metric, over all classes and by class, and how many values were undefined.

        Every process of the group must call it, and gets the same answer.

        Returns:
            Scalars of float32 under the names of the fields of `CaseMetrics`: "dice" for all classes,
            "dice/liver" for the class "liver", "null/dice" and "null/dice/liver" for the numbers of
            undefined values. These enter no mean; a mean of nothing is NaN. All values of a class that occurs
            in no target are undefined, and a warning names such classes.
        """
        found = self._evaluation()
        by_class = {f"/{name}": summaries for name, summaries in found.summary_by_label.items()}
        values: dict[str, float] = {}
        for suffix, summaries in {"": found.summary, **by_class}.items():
            for metric, summary in summaries.items():
                values[metric + suffix] = math.nan if summary.mean is None else summary.mean
                values[f"null/{metric}{suffix}"] = summary.null
        return {name: torch.tensor(float(value), device=self.device) for name, value in values.items()}

    def forward(self, *batch: Any, **options: Any) -> Any:
        """`update`, and the values of this batch alone; only with torchmetrics.

        A class may be absent from the targets of a batch, so there is no warning.
        """
        self._in_forward = True
        try:
            return super().forward(*batch, **options)  # type: ignore[misc]
        finally:
            self._in_forward = False

    def summary(self) -> Summaries:
        """Mean, standard deviation, median, count and number of nulls of every metric, over all processes.

        Every process of the group must call it, and gets the same answer.

        Returns:
            As of `evaluate_folders` without a bootstrap, with the names of the classes as labels.
        """
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute):
            return self._evaluation()

    def reset(self) -> None:
        """Forget all cases."""
        super().reset()
        # Never without a tensor: torchmetrics cannot join a process that has none with the others.
        self.rows.append(self._stored([]))

    def _steps(
        self, spacing: SpacingLike | Sequence[SpacingLike], cases: int
    ) -> tuple[int, list[FloatArray]]:
        """The number of spatial axes and the spacing of each case."""
        if isinstance(spacing, (Tensor, np.ndarray)):
            shared = spacing.ndim < 2
        else:
            shared = not isinstance(spacing, Sequence) or all(map(_check.is_real, spacing))
        by_case: list[Any] = [spacing] * cases if shared else list(spacing)  # type: ignore[arg-type]
        if len(by_case) != cases:
            fail("spacing", f"{len(by_case)} spacings", f"one, or one for each of {cases} cases")
        dims = self.spatial_dims or next((len(one) for one in by_case if np.ndim(one)), None)
        if dims not in (2, 3):
            fail("spacing", spacing, "2 or 3 numbers in mm in array order, or one and spatial_dims=2 or 3")
        return dims, [_masks.steps_in_mm(one, dims) for one in by_case]

    def _values(
        self, masks: tuple[Tensor, Tensor], steps: FloatArray, settings: Settings
    ) -> list[float | None]:
        prediction, target = _masks.pair(*masks)
        values, _ = measure(prediction, target, steps, settings, masks[1].shape)
        return [*(values[name] for name in NAMES), float(target.any())]

    def _stored(self, cases: list[list[list[float | None]]]) -> Tensor:
        """Values by case, class and metric as a state.

        The bits of float64 are held as int64: a cast of the module that holds the metric must not round them,
        and Apple's GPUs have no float64.
        """
        values = np.array(cases, np.float64).reshape(-1, len(self.settings), len(NAMES) + 1)  # None is NaN
        return torch.from_numpy(values).view(torch.int64).to(self.device)

    def _evaluation(self) -> Summaries:
        rows = self.rows if isinstance(self.rows, Tensor) else torch.cat(self.rows)  # one after a sync
        table = rows.cpu().view(torch.float64)
        found = table[..., -1].any(0)
        # Every empty prediction of a class that no target has would be perfect.
        table = table[..., :-1].masked_fill(~found[:, None], math.nan)
        absent = [name for name, there in zip(self.classes.measured, found, strict=True) if not there]
        if absent and len(table) and not self._in_forward:
            message = f"no target has the class {', '.join(absent)}: all of its values are undefined"
            warnings.warn(message, stacklevel=2)
        cases = [
            [
                {
                    name: None if math.isnan(value) else value
                    for name, value in zip(NAMES, values, strict=True)
                }
                for values in case
            ]
            for case in table.tolist()
        ]
        return summarize(cases, NAMES, labels=list(self.classes.measured))
