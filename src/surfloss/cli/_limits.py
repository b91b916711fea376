"""The limits of `--fail-under` and `--fail-over`: checked before the work, held against its result."""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from surfloss._check import fail
from surfloss.metrics import FolderEvaluation


@dataclass(frozen=True)
class Limit:
    """A bound of a metric's mean, over all labels or for one."""

    metric: str
    label: str | None
    bound: float
    least: bool  # whether it is the least that is allowed, and not the most

    @property
    def name(self) -> str:
        return self.metric if self.label is None else f"{self.metric}[{self.label}]"

    def broken_by(self, result: FolderEvaluation) -> str | None:
        """What to say if the limit is not kept; a mean that is null keeps none."""
        summary = result.summary if self.label is None else result.summary_by_label[self.label]
        mean = summary[self.metric].mean
        if mean is not None and (mean >= self.bound if self.least else mean <= self.bound):
            return None
        return f"Mean {self.name} {mean}, wanted at {'least' if self.least else 'most'} {self.bound}"


def read_limits(option: str, texts: Sequence[str], *, least: bool) -> list[Limit]:
    """Limits from `METRIC=X` or `METRIC[LABEL]=X`.

    Raises:
        ValueError: if the form is another.
    """
    limits = []
    for text in texts:
        form = re.fullmatch(r"([^\[=]+)(?:\[(.+)\])?=([^=]+)", text, re.DOTALL)
        try:
            bound = float(form[3]) if form else math.nan
        except ValueError:
            bound = math.nan
        if form is None or not math.isfinite(bound):
            fail(option, repr(text), "METRIC=NUMBER or METRIC[LABEL]=NUMBER")
        limits.append(Limit(form[1], form[2], bound, least))
    return limits


def check_limits(limits: Sequence[Limit], metrics: Collection[str], labels: Collection[str]) -> None:
    """Require the names of metrics and labels that will be there.

    Raises:
        ValueError: naming those that there are.
    """
    for limit in limits:
        if limit.metric not in metrics:
            fail("limit", repr(limit.metric), f"one of {', '.join(metrics)}")
        if limit.label is not None and limit.label not in labels:
            fail("limit", repr(limit.name), f"one of the labels {', '.join(labels) or '(none were given)'}")
