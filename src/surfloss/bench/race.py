"""Timing several calls side by side, so that a busy or hot machine slows all of them alike."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_ROUNDS = 5
_MOST = 100
_SLOW_S = 1.0  # from here on warming up changes nothing, and repeats cost too much


@dataclass
class Lap:
    """Seconds that one contestant took, call by call."""

    seconds: list[float] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        p20, median, p80 = np.percentile(self.seconds, (20, 50, 80))
        return {
            "median_s": float(median),
            "p20_s": float(p20),
            "p80_s": float(p80),
            "repeats": len(self.seconds),
        }


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def race(
    calls: Mapping[str, Callable[[], Any]], first_s: Mapping[str, float], seconds: float
) -> dict[str, Lap]:
    """Time the calls in rounds, in each of which every one has its turn.

    A quick call is warmed up by one untimed call and repeated 5 to 100 times; of a slow one (1 s and more)
    the first call counts, and there may be only one or two more.

    Args:
        calls: what to time, by name.
        first_s: how long the first call of each took.
        seconds: to be spent, shared equally; the fewest repeats may need more.
    """
    laps = {name: Lap([first_s[name]] if first_s[name] >= _SLOW_S else []) for name in calls}
    wanted = {}
    for name, call in calls.items():
        quick = not laps[name].seconds
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
                laps[name].seconds += [timed(call)[0] for _ in range(repeats)]
    finally:
        if collecting:
            gc.enable()
    return laps
