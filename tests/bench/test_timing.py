"""Turns are interleaved, quick calls are warmed up and repeated, slow ones are spared."""

import gc

import numpy as np
import pytest

from surfloss.bench import timing as module
from surfloss.bench.timing import Times, race, synchronized


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time passes only when a call adds to it."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_rounds(clock: list[float]) -> None:
    order: list[str] = []

    def call(name: str, seconds: float):
        def run() -> None:
            assert not gc.isenabled() or len(order) < 2  # warm-ups come first
            order.append(name)
            clock[0] += seconds

        return run

    calls = {
        "quick": call("quick", 0.01),
        "middle": call("middle", 0.5),
        "slow": call("slow", 2),
        "slowest": call("slowest", 9),
    }
    laps = race(calls, {"quick": 1.5e-2, "middle": 0.9, "slow": 3, "slowest": 10}, seconds=0.42)
    assert gc.isenabled()
    assert order[:2] == ["quick", "middle"]
    assert laps["quick"] == pytest.approx([0.01] * 10)
    assert laps["middle"] == pytest.approx([0.5] * 5)
    assert laps["slow"] == pytest.approx([3, 2, 2])
    assert laps["slowest"] == pytest.approx([10, 9])
    turn = ["quick", "quick", "middle"]
    assert order[2:] == [*turn * 3, "slow", *turn * 2, "slow", "slowest"]


def test_no_end_of_repeats(clock: list[float]) -> None:
    laps = race({"none": lambda: None}, {"none": 0.0}, seconds=1)
    assert len(laps["none"]) == 100


def test_turning_collection_back_on_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        race({"bad": lambda: 1 / 0}, {"bad": 2.0}, seconds=1)
    assert gc.isenabled()


def test_percentiles() -> None:
    assert Times.of(list(np.arange(11.0))) == Times(median_s=5, p20_s=2, p80_s=8, repeats=11)


def test_waiting_is_for_gpus() -> None:
    assert synchronized(len, "cpu") is len
