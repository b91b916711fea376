"""Weights over a training: their values, what they refuse, and that a state goes on where it was saved."""

import copy
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from surfloss.schedules import Constant, CosineRamp, LinearWarmup, Rebalance, Schedule

WEIGHTS = st.floats(0, 1e6)


def test_linear_warmup() -> None:
    schedule = LinearWarmup(1.0, 4, start=0.2, delay=2)
    assert [schedule.at(t) for t in range(9)] == pytest.approx([0.2, 0.2, 0.2, 0.4, 0.6, 0.8, 1, 1, 1])
    seen = []
    for _ in range(9):
        seen.append(schedule.weight)
        schedule.step()
    assert seen == [schedule.at(t) for t in range(9)]


def test_cosine_ramp() -> None:
    schedule = CosineRamp(1.0, 4, start=0.2, delay=2)
    eased = [0, 0, 0, (1 - math.sqrt(0.5)) / 2, 0.5, (1 + math.sqrt(0.5)) / 2, 1, 1, 1]
    assert [schedule.at(t) for t in range(9)] == pytest.approx([0.2 + 0.8 * share for share in eased])


def test_rebalance() -> None:
    alpha = Rebalance(4, floor=0.2)
    surface = alpha.complement
    for t in range(7):
        assert alpha.weight == alpha.at(t) == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2][t])
        assert surface.weight == pytest.approx(1 - alpha.weight)
        assert alpha.complement.weight == surface.weight
        alpha.step()
        surface.step()
    assert Rebalance(99).at(99) == 0.01
    assert Rebalance(99).complement.at(99) == 0.99
    assert Rebalance(5, floor=1.0).at(9) == 1
    for bad in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match=rf"^floor: got {bad}, wanted a"):
            Rebalance(5, floor=bad)


def test_constant() -> None:
    schedule = Constant(1e-3)
    for _ in range(3):
        schedule.step()
    assert schedule.weight == schedule.at(0) == schedule.at(10**9) == 1e-3


@given(
    ramp=st.sampled_from([LinearWarmup, CosineRamp]),
    weight=WEIGHTS,
    start=WEIGHTS,
    steps=st.integers(1, 10**7),
    delay=st.integers(0, 10**7),
)
def test_ends_are_exact_and_nothing_overshoots(
    ramp: type[LinearWarmup | CosineRamp], weight: float, start: float, steps: int, delay: int
) -> None:
    schedule = ramp(weight, steps, start=start, delay=delay)
    assert schedule.at(0) == schedule.at(delay) == start
    assert schedule.at(delay + steps) == schedule.at(delay + steps + 10**9) == weight
    middle = [schedule.at(delay + steps * i // 7) for i in range(8)]
    assert middle == pytest.approx(sorted(middle, reverse=start > weight), rel=1e-12)
    assert all(min(start, weight) * (1 - 1e-12) <= w <= max(start, weight) * (1 + 1e-12) for w in middle)


@pytest.mark.parametrize("bad", [-1e-3, math.nan, math.inf, "1", None, True])
@pytest.mark.parametrize(
    ("argument", "make"),
    [
        ("weight", Constant),
        ("weight", lambda w: LinearWarmup(w, 5)),
        ("start", lambda w: LinearWarmup(1.0, 5, start=w)),
        ("weight", lambda w: CosineRamp(w, 5)),
        ("start", lambda w: CosineRamp(1.0, 5, start=w)),
        ("floor", lambda w: Rebalance(5, floor=w)),
    ],
)
def test_refuses_a_weight(argument: str, make: Callable[[Any], Schedule], bad: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{argument}: got {bad!r}, wanted a finite number"):
        make(bad)


@pytest.mark.parametrize("bad", [-1, 2.5, math.nan, None, True])
@pytest.mark.parametrize("argument", ["steps", "delay"])
def test_refuses_a_length(argument: str, bad: Any) -> None:
    for ramp in (LinearWarmup, CosineRamp):
        with pytest.raises(ValueError, match=rf"^{argument}: got {bad}, wanted a whole number"):
            ramp(**({"weight": 1.0, "steps": 5} | {argument: bad}))
    for make in (lambda: LinearWarmup(1.0, 0), lambda: CosineRamp(1.0, 0), lambda: Rebalance(0)):
        with pytest.raises(ValueError, match=r"^steps: got 0"):
            make()


@pytest.mark.parametrize("form", [np.array, torch.tensor, lambda x: np.array(x)[()]])
def test_numbers_of_numpy_and_pytorch_are_numbers(form: Callable[[float], Any]) -> None:
    schedule = LinearWarmup(form(0.5), form(4), start=form(1), delay=form(2))
    assert repr(schedule) == repr(LinearWarmup(0.5, 4, start=1, delay=2))
    assert [type(schedule.at(t)) for t in (0, 3, 9)] == [float] * 3


@pytest.mark.parametrize("taken", [0, 3, 50])
@pytest.mark.parametrize("way", ["state", "pickle", "deepcopy"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: LinearWarmup(0.3, 7, start=0.1, delay=1),
        lambda: CosineRamp(0.3, 7, start=0.1, delay=1),
        lambda: Rebalance(7, floor=0.3),
        lambda: Rebalance(7, floor=0.3).complement,
    ],
    ids=["linear", "cosine", "rebalance", "complement"],
)
def test_goes_on_where_it_was_saved(make: Callable[[], Schedule], way: str, taken: int) -> None:
    schedule = make()
    for _ in range(taken):
        schedule.step()
    if way == "state":
        restored = make()
        restored.load_state_dict(schedule.state_dict())
    else:
        restored = pickle.loads(pickle.dumps(schedule)) if way == "pickle" else copy.deepcopy(schedule)
    for _ in range(10):
        assert restored.weight == schedule.weight
        restored.step()
        schedule.step()


@pytest.mark.parametrize(
    "other",
    [
        Constant(1.0),
        LinearWarmup(0.5, 5),
        LinearWarmup(1.0, 5, start=0.1),
        LinearWarmup(0.5, 6, delay=1),
        CosineRamp(1.0, 5),
        Rebalance(5, floor=1.0),
    ],
    ids=repr,
)
def test_refuses_the_state_of_another(other: Schedule) -> None:
    schedule = LinearWarmup(1.0, 5)
    schedule.step()
    with pytest.raises(ValueError, match=r"^state: got .*, wanted a state saved by LinearWarmup\(weight=1"):
        schedule.load_state_dict(other.state_dict())
    assert schedule.weight == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("longer", "before"),
    [
        (LinearWarmup(1.0, 10), LinearWarmup(1.0, 4)),
        (CosineRamp(0.5, 10, start=0.1, delay=2), CosineRamp(0.5, 4, start=0.1)),
        (Rebalance(10), Rebalance(4)),
        (LinearWarmup(1.0, 4), LinearWarmup(1.0, 10)),
    ],
    ids=repr,
)
def test_goes_on_in_a_training_of_another_length(longer: Schedule, before: Schedule) -> None:
    for _ in range(3):
        before.step()
    longer = copy.deepcopy(longer)
    with pytest.warns(UserWarning, match=r"goes on after 3 steps of a schedule with steps=") as warned:
        longer.load_state_dict(before.state_dict())
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert longer.weight == longer.at(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        longer.load_state_dict(longer.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps_taken": -1}, "steps_taken: got -1, wanted a whole number of at least 0$"),
        ({"steps_taken": None}, "steps_taken: got None, wanted a whole number of at least 0$"),
        ({"extra": 1}, r"state: got .*'extra': 1.*, wanted a state saved by LinearWarmup\("),
        ({"steps": "5"}, "steps: got '5', wanted a whole number of at least 0$"),
        ({"delay": None}, "delay: got None, wanted a whole number of at least 0$"),
    ],
)
def test_refuses_a_broken_state(change: dict[str, Any], message: str) -> None:
    schedule = LinearWarmup(1.0, 5)
    with pytest.raises(ValueError, match=f"^{message}"):
        schedule.load_state_dict(schedule.state_dict() | change)


@pytest.mark.parametrize("state", [{}, None, 3, ["steps_taken"], {"steps_taken": 3}])
def test_refuses_what_is_no_state(state: Any) -> None:
    with pytest.raises(ValueError, match=r"^state: got .*, wanted a state saved by Constant"):
        Constant(1.0).load_state_dict(state)
