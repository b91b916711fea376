"""Timing several calls side by side, so that a busy or hot machine slows all of them alike."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

_ROUNDS = 5
_MOST = 100
_SLOW_S = 1.0  # from here on warming up changes nothing, and repeats cost too much


@dataclass(frozen=True)
class Times:
    """Median, 20th and 80th percentile of the seconds that a call took, and how often it was timed."""

    median_s: float
    p20_s: float
    p80_s: float
    repeats: int

    @classmethod
    def of(cls, seconds: list[float]) -> "Times":
        p20, median, p80 = (float(value) for value in np.percentile(seconds, (20, 50, 80)))
        return cls(median, p20, p80, len(seconds))


def synchronized(call: Callable[[], Any], device: str) -> Callable[[], Any]:
    """The call as one that returns when its work on the device is done."""
    if torch.device(device).type != "cuda":
        return call

    def complete() -> Any:
        result = call()
        torch.cuda.synchronize(device)
        return result

    return complete


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def race(
    calls: Mapping[str, Callable[[], Any]], first_s: Mapping[str, float], seconds: float
) -> dict[str, list[float]]:
    """The seconds of each call, timed in rounds in each of which every one has its turn.

    A quick call is warmed up by one untimed call and repeated 5 to 100 times; of a slow one (1 s and more)
    the first call, which took `first_s`, counts, and there may be only one or two more. All calls share
    `seconds`; the fewest repeats may need more.
    """
    laps = {name: [first_s[name]] if first_s[name] >= _SLOW_S else [] for name in calls}
    wanted = {}
    for name, call in calls.items():
        quick = not laps[name]
        expected = timed(call)[0] if quick else first_s[name]
        fewest = 5 if quick else 2 if expected < 4 * _SLOW_S else 1
        wanted[name] = min(_MOST, max(fewest, int(seconds / len(calls) / max(expected, 1e-9))))
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(_ROUNDS):
            for name, call in calls.items():
                # A call repeated less often than there are rounds sits some of them out.
                repeats = wanted[name] * (turn + 1) // _ROUNDS - wanted[name] * turn // _ROUNDS
                laps[name] += [timed(call)[0] for _ in range(repeats)]
    finally:
        if collecting:
            gc.enable()
    return laps
