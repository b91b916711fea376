"""Metrics gathered over the batches of a validation, in one process or in many."""

from dataclasses import asdict, fields
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor

from surfloss import _check
from surfloss._check import SpacingLike, fail
from surfloss.metrics.evaluate import CaseMetrics, evaluate
from surfloss.metrics.summary import Summary, summarize


class SurfaceMetrics:
    """Every metric of `evaluate`, case by case, with `update`, `compute` and `reset` as in torchmetrics.

    One object is for one foreground; for several classes keep one each and give it `labels == k`. Cases in
    which a metric is undefined are counted as null and enter no mean.

    Args:
        tolerance: of the surface Dice, in mm.
        spatial_dims: 2 or 3.
        group: the processes of `torch.distributed` whose cases `compute` joins; None for all. A sampler
            that repeats cases to fill up the last batch makes them count twice.

    Raises:
        ValueError: on a negative or infinite tolerance or another number of axes.
    """

    def __init__(
        self, *, tolerance: float = 0.42, spatial_dims: int = 3, group: dist.ProcessGroup | None = None
    ) -> None:
        if spatial_dims not in (2, 3):
            fail("spatial_dims", repr(spatial_dims), "2 or 3")
        self.tolerance = _check.not_negative("tolerance", tolerance)
        self.spatial_dims = spatial_dims
        self.group = group
        self.cases: list[CaseMetrics] = []
        """The cases of this process so far."""

    def update(self, prediction: Tensor, target: Tensor, spacing: SpacingLike = None) -> list[CaseMetrics]:
        """Measure a batch, or a single case.

        Args:
            prediction, target: binary masks of one shape `(*batch, *spatial)`, on any device.
            spacing: mm along each spatial axis in array order, or one number; a tensor or array
                `(*lead, spatial_dims)`, `lead` being the first axes of the batch, for one an item.

        Returns:
            The metrics of each item, in the order of the flattened batch.

        Raises:
            TypeError, ValueError: on arguments of another form; then no item counts.
        """
        _check.tensor("prediction", prediction)
        _check.tensor("target", target)
        _check.spatial_dims("prediction", self.spatial_dims, prediction)
        if prediction.shape != target.shape:
            wanted = f"the shape of target, {tuple(target.shape)}"
            fail("prediction", f"shape {tuple(prediction.shape)}", wanted)
        dims = self.spatial_dims
        batch, spatial = prediction.shape[:-dims], prediction.shape[-dims:]
        shared, per_item = _check.spacing(spacing, dims, batch, torch.device("cpu"))
        steps = [shared] * batch.numel() if per_item is None else per_item.tolist()
        items = zip(
            prediction.detach().reshape(-1, *spatial),
            target.detach().reshape(-1, *spatial),
            steps,
            strict=True,
        )
        new = [evaluate(*item, tolerance=self.tolerance) for item in items]
        self.cases += new
        return new

    def compute(self) -> dict[str, Summary]:
        """Mean, standard deviation, median, count and number of nulls of every metric, over all processes.

        Every process of the group must call it, and gets the same answer.
        """
        cases = self.cases
        if dist.is_available() and dist.is_initialized():
            gathered: list[Any] = [None] * dist.get_world_size(self.group)
            dist.all_gather_object(gathered, cases, group=self.group)
            cases = [case for part in gathered for case in part]
        names = [field.name for field in fields(CaseMetrics)]
        return summarize([[asdict(case)] for case in cases], names)

    def reset(self) -> None:
        """Forget all cases."""
        self.cases = []

    def merge(self, other: Self) -> None:
        """Add the cases of another object, as of another process that has sent it here.

        Raises:
            ValueError: if its tolerance is another.
        """
        if other.tolerance != self.tolerance:
            fail("other", f"a tolerance of {other.tolerance} mm", f"{self.tolerance} mm, as here")
        self.cases = self.cases + other.cases
