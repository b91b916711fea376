"""Weights that change over a training."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from surfloss._check import fail, not_negative, whole
from surfloss.losses._prepare import warn_at_call

_LENGTHS = {"steps": 1, "delay": 0}  # with the least of each; every other setting is a weight


class Schedule(ABC):
    """A weight as a function of the number of steps taken; step it once a training iteration."""

    def __init__(self, **settings: float) -> None:
        self._settings = {
            name: whole(name, value, _LENGTHS[name]) if name in _LENGTHS else not_negative(name, value)
            for name, value in settings.items()
        }
        self._steps_taken = 0

    @abstractmethod
    def at(self, t: int) -> float:
        """The weight after `t` steps."""

    @property
    def weight(self) -> float:
        """The weight now."""
        return self.at(self._steps_taken)

    def step(self) -> None:
        """Take one step; past the end the last weight holds."""
        self._steps_taken += 1

    def state_dict(self) -> dict[str, Any]:
        return {"schedule": type(self).__name__, **self._settings, "steps_taken": self._steps_taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was saved: the steps that were taken count.

        A state of another length, as of a training that is continued with more epochs, is taken with a
        warning: the lengths (`steps`, `delay`) stay those of this schedule, and so the weight is the one that
        a training of its length has after as many steps.

        Raises:
            ValueError: if it was saved by another kind of schedule or one with other weights.
        """
        own = self.state_dict()
        counts = [name for name in own if name in (*_LENGTHS, "steps_taken")]
        saved = {**state, **{name: own[name] for name in counts}} if isinstance(state, Mapping) else None
        if saved != own or state.keys() != own.keys():
            fail("state", state, f"a state saved by {self!r}")
        *lengths, self._steps_taken = (whole(name, state[name], 0) for name in counts)
        before = " and ".join(f"{name}={length}" for name, length in zip(counts, lengths, strict=False))
        if lengths != [own[name] for name in counts[:-1]]:
            warn_at_call(f"{self!r} goes on after {self._steps_taken} steps of a schedule with {before}")

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self._settings.items())
        return f"{type(self).__name__}({settings})"


class Constant(Schedule):
    """The same weight throughout.

    Raises:
        ValueError: if it is negative or not finite.
    """

    def __init__(self, weight: float) -> None:
        super().__init__(weight=weight)

    def at(self, t: int) -> float:
        return self._settings["weight"]


class _Ramp(Schedule):
    """From one weight to another, on a curve that the subclass draws from 0 to 1."""

    def __init__(self, weight: float, steps: int, *, start: float = 0.0, delay: int = 0) -> None:
        super().__init__(weight=weight, steps=steps, start=start, delay=delay)

    @abstractmethod
    def _share(self, progress: float) -> float:
        """How much of the way is done; 0 at 0 and 1 at 1."""

    def at(self, t: int) -> float:
        weight, steps, start, delay = self._settings.values()
        share = self._share(min(max((t - delay) / steps, 0.0), 1.0))
        return (1 - share) * start + share * weight  # exact at both ends


class LinearWarmup(_Ramp):
    """From `start` to `weight` in a straight line of `steps` steps, beginning after `delay` steps.

    Args:
        weight: the last weight, which holds from step `delay + steps` on.
        steps: the length of the line, at least 1.
        start: the first weight, which holds until step `delay`.
        delay: steps before the line begins.

    Raises:
        ValueError: if a weight is negative or not finite, `steps` below 1 or `delay` negative.
    """

    def _share(self, progress: float) -> float:
        return progress


class CosineRamp(_Ramp):
    """From `start` to `weight` on half a period of a cosine of `steps` steps, beginning after `delay` steps.

    Arguments and errors are those of `LinearWarmup`.
    """

    def _share(self, progress: float) -> float:
        return (1 - math.cos(math.pi * progress)) / 2


class Rebalance(Schedule):
    """The weight alpha of a region loss, from 1 to `floor` in a straight line of `steps` steps.

    Its `complement`, 1 - alpha, is the weight of the surface loss beside it (Kervadec et al. 2021, who take
    0.01 off an epoch until 0.01 is left).

    Args:
        steps: the length of the line, at least 1.
        floor: the last weight, from 0 to 1.

    Raises:
        ValueError: if `steps` is below 1 or `floor` not from 0 to 1.

    Example:
        >>> alpha = Rebalance(steps=10_000)
        >>> loss = CompoundLoss(
        ...     {"dice_ce": (DiceCELoss(), alpha), "surface": (BoundaryLoss(), alpha.complement)}
        ... )
    """

    def __init__(self, steps: int, *, floor: float = 0.01) -> None:
        super().__init__(steps=steps, floor=floor)
        if self._settings["floor"] > 1:
            fail("floor", repr(floor), "a number from 0 to 1")

    def at(self, t: int) -> float:
        steps, floor = self._settings.values()
        return LinearWarmup(floor, int(steps), start=1.0).at(t)

    @property
    def complement(self) -> LinearWarmup:
        """A schedule of 1 - alpha, as far on as this one."""
        steps, floor = self._settings.values()
        complement = LinearWarmup(1 - floor, int(steps))
        complement._steps_taken = self._steps_taken
        return complement
