"""The weighted sum, its schedules and state, and the gradient-ratio monitor."""

import copy
import io
import math
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surfloss import CompoundLoss, ContourLoss, DiceCELoss, GradientRatioMonitor, HausdorffDTLoss
from surfloss.schedules import Constant, LinearWarmup, Schedule
from tests.losses.fields import labels, logits, result

INPUT, TARGET = logits(3, 3), labels(3, 3)
OPTIONS = {"softmax": True, "to_onehot_y": True}


def compound(surface: float | Schedule | None = None, **hausdorff: Any) -> CompoundLoss:
    schedule = LinearWarmup(1e-2, 4, start=1e-3) if surface is None else surface
    return CompoundLoss(
        {"dice_ce": (DiceCELoss(), 1.0), "surface": (HausdorffDTLoss(**OPTIONS, **hausdorff), schedule)}
    )


class Linear(nn.Module):
    """A loss whose gradient on the logits has the norm `pull` everywhere."""

    def __init__(self, pull: float) -> None:
        super().__init__()
        self.pull = pull

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return input.sum() * self.pull / input.numel() ** 0.5


class TestCompound:
    def test_is_the_weighted_sum_at_every_step(self) -> None:
        loss, schedule = compound(), LinearWarmup(1e-2, 4, start=1e-3)
        alone = {"dice_ce": DiceCELoss()(INPUT, TARGET), "surface": HausdorffDTLoss(**OPTIONS)(INPUT, TARGET)}
        for _ in range(7):
            value = loss(INPUT, TARGET)
            torch.testing.assert_close(value, alone["dice_ce"] + schedule.weight * alone["surface"])
            assert loss.last_terms == alone
            assert loss.weights == {"dice_ce": 1.0, "surface": schedule.weight}
            loss.step()
            schedule.step()

    def test_gradient_is_the_weighted_sum(self) -> None:
        got = result(compound(Constant(0.25)), INPUT, TARGET).gradient
        right = [result(loss, INPUT, TARGET).gradient for loss in (DiceCELoss(), HausdorffDTLoss(**OPTIONS))]
        torch.testing.assert_close(got, right[0] + 0.25 * right[1])

    def test_last_terms_hold_no_graph_and_are_not_overwritten(self) -> None:
        loss = compound()
        input = INPUT.clone().requires_grad_()
        loss(input, TARGET)
        kept = loss.last_terms
        assert not any(term.requires_grad for term in kept.values())
        before = {name: term.clone() for name, term in kept.items()}
        loss(2 * input, TARGET)
        assert kept == before
        assert loss.last_terms != before

    def test_step_may_come_before_the_backward_pass(self) -> None:
        input, loss = INPUT.clone().requires_grad_(), compound()
        right = result(loss, INPUT, TARGET).gradient
        value = loss(input, TARGET)
        loss.step()
        value.backward()
        assert torch.equal(input.grad, right)

    def test_one_schedule_under_two_terms_goes_one_step_at_a_time(self) -> None:
        schedule = LinearWarmup(1.0, 4)
        loss = CompoundLoss({"a": (Linear(1.0), schedule), "b": (Linear(2.0), schedule)})
        loss.step()
        assert loss.weights == {"a": 0.25, "b": 0.25}
        assert schedule.weight == 0

    @pytest.mark.parametrize("way", ["given", "shown", "loaded"])
    def test_only_its_own_steps_move_a_weight(self, way: str) -> None:
        given = LinearWarmup(1.0, 4)
        loss = CompoundLoss({"a": (Linear(1.0), given)})
        loss.step()
        schedule = given if way == "given" else loss.schedules["a"]
        if way == "loaded":
            schedule.load_state_dict(schedule.state_dict() | {"steps_taken": 3})
        else:
            schedule.step()
        assert loss.weights == {"a": 0.25}
        assert loss(INPUT, TARGET) == 0.25 * Linear(1.0)(INPUT, TARGET)
        assert loss.schedules["a"].weight == 0.25

    def test_options_reach_the_named_term(self) -> None:
        spacing = torch.tensor([[5.0, 0.4, 0.4], [1.0, 1, 1]])
        loss = compound()
        loss(INPUT, TARGET, surface={"spacing": spacing})
        assert loss.last_terms["surface"] == HausdorffDTLoss(**OPTIONS)(INPUT, TARGET, spacing=spacing)
        with pytest.raises(ValueError, match=r"^options: got \['hausdorff'\], wanted names of terms"):
            loss(INPUT, TARGET, hausdorff={})

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_weights_stay_in_float32(self, dtype: torch.dtype) -> None:
        weight = 1000 / 3
        loss, right = compound(weight).to(dtype), compound(weight)(INPUT, TARGET)
        assert torch.equal(loss(INPUT, TARGET), right)
        loss.step()
        assert torch.equal(loss(INPUT, TARGET), right)

    @pytest.mark.parametrize("taken", [0, 2, 9])
    @pytest.mark.parametrize("way", ["state", "pickle", "deepcopy", "file"])
    def test_goes_on_where_it_was_saved(self, way: str, taken: int) -> None:
        loss = compound()
        for _ in range(taken):
            loss(INPUT.clone().requires_grad_(), TARGET)
            loss.step()
        if way in ("pickle", "deepcopy"):
            restored = pickle.loads(pickle.dumps(loss)) if way == "pickle" else copy.deepcopy(loss)
        else:
            state, restored = loss.state_dict(), compound()
            if way == "file":
                file = io.BytesIO()
                torch.save(state, file)
                file.seek(0)
                state = torch.load(file, weights_only=True)
            restored.load_state_dict(state)
        for _ in range(5):
            assert restored.weights == loss.weights
            assert torch.equal(restored(INPUT, TARGET), loss(INPUT, TARGET))
            restored.step()
            loss.step()
        assert loss.weights["surface"] == loss.schedules["surface"].at(taken + 5)

    def test_refuses_the_state_of_another(self) -> None:
        with pytest.raises(
            ValueError, match=r"^state: got .*Constant.*, wanted a state saved by LinearWarmup"
        ):
            compound().load_state_dict(compound(1.0).state_dict())
        other = CompoundLoss({"dice_ce": (DiceCELoss(), 1.0)})
        with pytest.raises(ValueError, match=r"^state: got the terms \['dice_ce'\], wanted the terms"):
            compound().load_state_dict(other.state_dict())

    @pytest.mark.parametrize(
        ("terms", "message", "error"),
        [
            ({}, "terms: got none", ValueError),
            ({"a": (DiceCELoss(), -1.0)}, "weight: got -1", ValueError),
            ({"a": (DiceCELoss(), math.nan)}, "weight: got nan", ValueError),
            ({"a": (torch.sum, 1.0)}, r"terms\['a'\]: got", TypeError),
            ({"a": DiceCELoss()}, r"terms\['a'\]: got DiceCELoss", TypeError),
            ({"a": (DiceCELoss(),)}, r"terms\['a'\]: got", TypeError),
            ({"a.b": (DiceCELoss(), 1.0)}, r"terms: got the names \['a.b'\], wanted names", ValueError),
            ({"items": (DiceCELoss(), 1.0)}, r"terms: got the names \['items'\], wanted names", ValueError),
            ({1: (DiceCELoss(), 1.0)}, r"terms: got the names \[1\], wanted names", ValueError),
        ],
    )
    def test_refuses_bad_terms(self, terms: Any, message: str, error: type[Exception]) -> None:
        with pytest.raises(error, match=rf"^{message}"):
            CompoundLoss(terms)

    def test_refuses_a_term_that_is_no_scalar(self) -> None:
        with pytest.raises(ValueError, match=r"^terms\['surface'\]: got a loss of shape \(2, 2, 1, 1, 1\)"):
            compound(reduction="none")(INPUT, TARGET)


class TestMonitor:
    def test_ratio_of_gradient_norms(self) -> None:
        loss = compound(0.5)
        norms = [result(term, INPUT, TARGET).gradient.norm() for term in loss.losses.values()]
        ratio = GradientRatioMonitor(loss)(INPUT, TARGET)
        assert ratio == pytest.approx(float(0.5 * norms[1] / norms[0]))

    def test_against_the_sum_of_the_others(self) -> None:
        terms = {"a": (Linear(3.0), 2.0), "surface": (Linear(5.0), 0.5), "b": (Linear(-1.0), 4.0)}
        assert GradientRatioMonitor(CompoundLoss(terms), limit=9)(INPUT, TARGET) == pytest.approx(2.5 / 2)

    def test_asks_nothing_of_the_network_and_leaves_the_loss_alone(self) -> None:
        loss = compound()
        network = nn.Conv3d(3, 3, 1)
        output = network(INPUT)
        value = loss(output, TARGET)
        before = loss.last_terms
        with torch.no_grad():
            assert GradientRatioMonitor(loss)(output, TARGET) is not None
        assert loss.last_terms is before
        assert all(parameter.grad is None for parameter in network.parameters())
        value.backward()

    def test_every_so_many_calls(self) -> None:
        monitor = GradientRatioMonitor(compound(), every=3)
        assert monitor.last is None
        ratios = [monitor(INPUT, TARGET) for _ in range(7)]
        assert [ratio is None for ratio in ratios] == [False, True, True, False, True, True, False]
        assert monitor.last == ratios[-1]

    @pytest.mark.parametrize(
        ("pulls", "ratio"), [((0.0, 1.0), math.inf), ((0.0, 0.0), 0.0), ((1.0, 0.0), 0.0)]
    )
    @pytest.mark.filterwarnings("ignore:the gradient")
    def test_without_a_gradient(self, pulls: tuple[float, float], ratio: float) -> None:
        loss = CompoundLoss({"dice_ce": (Linear(pulls[0]), 1.0), "surface": (Linear(pulls[1]), 1.0)})
        assert GradientRatioMonitor(loss)(INPUT, TARGET) == ratio

    def test_warns_above_the_limit_once_until_below_again(self) -> None:
        surface = Linear(0.5)
        monitor = GradientRatioMonitor(CompoundLoss({"rest": (Linear(1.0), 1.0), "surface": (surface, 1.0)}))
        warned = []
        for pull in (0.5, 1.5, 2.0, 0.9, 3.0):
            surface.pull = pull
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                monitor(INPUT, TARGET)
            warned.append([str(w.message) for w in caught])
        assert [len(messages) for messages in warned] == [0, 1, 0, 0, 1]
        assert "'surface' is 1.5 times" in warned[1][0]
        for advice in ("lower its weight", "warm it up", "normalize"):
            assert advice in warned[1][0]

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_gradients_do_not_underflow(self, dtype: torch.dtype) -> None:
        loss = compound(1e-6)
        right = GradientRatioMonitor(loss)(INPUT.to(dtype).float(), TARGET)
        assert right > 0
        with torch.autocast("cpu", dtype):
            assert GradientRatioMonitor(loss)(INPUT.to(dtype), TARGET) == right

    def test_options_reach_the_named_term(self) -> None:
        one, two = (
            GradientRatioMonitor(compound())(INPUT, TARGET, surface={"spacing": s}) for s in (1.0, 2.0)
        )
        assert two == pytest.approx(4 * one)

    def test_warm_up_cures_an_excess(self) -> None:
        loss = compound(LinearWarmup(100.0, 10))
        monitor = GradientRatioMonitor(loss)
        assert monitor(INPUT, TARGET) == 0
        for _ in range(10):
            loss.step()
        with pytest.warns(UserWarning, match="warm it up"):
            assert monitor(INPUT, TARGET) > 1

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"term": "contour"}, "term: got 'contour', wanted one of several terms"),
            ({"every": 0}, "every: got 0"),
            ({"limit": 0.0}, "limit: got 0"),
            ({"limit": math.nan}, "limit: got nan"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=rf"^{message}"):
            GradientRatioMonitor(compound(), **options)
        with pytest.raises(ValueError, match=r"^term: got 'surface'"):
            GradientRatioMonitor(CompoundLoss({"surface": (ContourLoss(), 1.0)}))
