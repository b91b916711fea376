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
from surfloss.losses.compound import UNSTEPPED
from surfloss.schedules import Constant, CosineRamp, LinearWarmup, Rebalance, Schedule
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

    def test_warns_once_where_steps_are_missing(self) -> None:
        loss = CompoundLoss({"region": (Linear(1.0), 1.0), "surface": (Linear(2.0), LinearWarmup(1.0, 9))})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3 * UNSTEPPED):
                loss(INPUT, TARGET)
        (warning,) = caught
        assert warning.category is UserWarning
        assert warning.filename == __file__
        assert str(warning.message).startswith(f"{UNSTEPPED} calls in training without `step()`")
        assert "of surface stay" in str(warning.message)

    @pytest.mark.parametrize("why", ["constant", "evaluation", "no gradient", "stepped", "stepped late"])
    def test_does_not_warn_where_steps_are_no_matter(self, why: str) -> None:
        weight = 1.0 if why == "constant" else LinearWarmup(1.0, 9)
        loss = CompoundLoss({"surface": (Linear(2.0), weight)}).train(why != "evaluation")
        with warnings.catch_warnings(), torch.set_grad_enabled(why != "no gradient"):
            warnings.simplefilter("error")
            if why == "stepped":
                loss.step()
            for call in range(3 * UNSTEPPED):
                if why == "stepped late" and call == UNSTEPPED - 1:
                    loss.step()
                loss(INPUT, TARGET)

    def test_rebalanced(self) -> None:
        alpha = Rebalance(4, floor=0.2)
        loss = CompoundLoss({"region": (Linear(1.0), alpha), "surface": (Linear(2.0), alpha.complement)})
        for t in range(6):
            assert list(loss.weights.values()) == pytest.approx([alpha.at(t), 1 - alpha.at(t)])
            loss.step()

    def test_factors_scale_a_schedule_and_travel_with_it(self) -> None:
        loss = compound()
        loss.scale("surface", 0.25)
        loss.step()
        scheduled = LinearWarmup(1e-2, 4, start=1e-3).at(1)
        restored = compound()
        restored.load_state_dict(loss.state_dict())
        for one in (loss, restored, pickle.loads(pickle.dumps(loss))):
            assert one.factors == {"dice_ce": 1.0, "surface": 0.25}
            assert one.weights == {"dice_ce": 1.0, "surface": 0.25 * scheduled}
        surface = HausdorffDTLoss(**OPTIONS)(INPUT, TARGET)
        right = DiceCELoss()(INPUT, TARGET) + 0.25 * scheduled * surface
        torch.testing.assert_close(restored(INPUT, TARGET), right)
        with pytest.raises(ValueError, match=r"^term: got 'contour', wanted one of dice_ce, surface"):
            loss.scale("contour", 1.0)
        for bad in (-1.0, math.nan, math.inf):
            with pytest.raises(ValueError, match=rf"^factor: got {bad}"):
                loss.scale("surface", bad)
        assert loss.factors["surface"] == 0.25

    def test_made_where_tensors_have_no_storage(self) -> None:
        with torch.device("meta"):
            loss = compound(0.25)
        assert torch.equal(loss(INPUT, TARGET), compound(0.25)(INPUT, TARGET))

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
        ("state", "message"),
        [
            (None, r"state: got None, wanted the terms \['dice_ce', 'surface'\]"),
            (3, r"state: got 3, wanted the terms \['dice_ce', 'surface'\]"),
            ({"dice_ce": 1, "surface": None}, r"state\['dice_ce'\]: got 1, wanted a state saved by Constant"),
        ],
    )
    def test_refuses_what_is_no_state(self, state: Any, message: str) -> None:
        with pytest.raises(ValueError, match=f"^{message}"):
            compound().set_extra_state(state)

    def test_goes_on_in_a_longer_training(self) -> None:
        before, longer = (
            CompoundLoss({"surface": (Linear(1.0), LinearWarmup(1.0, steps))}) for steps in (4, 10)
        )
        before.step()
        with pytest.warns(UserWarning, match=r"LinearWarmup\(.*steps=10.* goes on after 1 steps"):
            longer.load_state_dict(before.state_dict())
        assert longer.weights == {"surface": 0.1}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"weight": 5}, r"state: got .*'weight': 5.*, wanted a state saved by LinearWarmup\(weight=2.0"),
            ({"steps_taken": -1}, "steps_taken: got -1"),
            ({"steps_taken": 2.5}, "steps_taken: got 2.5"),
            ({"factor": -1.0}, "factor: got -1"),
            ({"factor": math.nan}, "factor: got nan"),
        ],
    )
    def test_a_refused_state_changes_nothing(self, change: dict[str, Any], message: str) -> None:
        def two_ramps() -> CompoundLoss:
            ramps = [(Linear(1.0), LinearWarmup(weight, 4)) for weight in (1.0, 2.0)]
            return CompoundLoss({"a": ramps[0], "surface": ramps[1]})

        loss, other = two_ramps(), two_ramps()
        loss.step()
        for _ in range(3):
            other.step()
        state = other.state_dict()
        state["_extra_state"]["surface"].update(change)
        before, value = loss.state_dict(), loss(INPUT, TARGET)
        with pytest.raises(ValueError, match=f"^{message}"):
            loss.load_state_dict(state)
        assert loss.state_dict() == before
        assert torch.equal(loss(INPUT, TARGET), value)
        loss.load_state_dict(other.state_dict())
        assert loss.weights == other.weights

    @pytest.mark.parametrize("ramp", [LinearWarmup, CosineRamp])
    def test_holds_the_last_weight_past_the_end(self, ramp: type[LinearWarmup | CosineRamp]) -> None:
        loss = CompoundLoss({"a": (Linear(1.0), ramp(0.5, 3))})
        for _ in range(10):
            loss.step()
        restored = CompoundLoss({"a": (Linear(1.0), ramp(0.5, 3))})
        restored.load_state_dict(loss.state_dict())
        for one in (loss, restored):
            one.step()
            assert one.weights == {"a": 0.5}
            assert one(INPUT, TARGET) == 0.5 * Linear(1.0)(INPUT, TARGET)

    @pytest.mark.parametrize(
        ("terms", "message", "error"),
        [
            ({}, "terms: got {}, wanted a mapping", ValueError),
            ([("a", (DiceCELoss(), 1.0))], r"terms: got \[\('a'", ValueError),
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


class TestNonfinite:
    @staticmethod
    def poisoned(bad: float, **options: Any) -> CompoundLoss:
        terms = {"a": (Linear(1.0), 1.0), "surface": (Linear(bad), 0.5), "b": (Linear(2.0), 1.0)}
        return CompoundLoss(terms, **options)

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_keep_shows_it(self, bad: float) -> None:
        loss = self.poisoned(bad)
        assert not loss(INPUT, TARGET).isfinite()
        assert not loss.last_terms["surface"].isfinite()

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_raise_names_the_term(self, bad: float) -> None:
        with pytest.raises(ValueError, match=rf"^terms\['surface'\]: got {bad}, wanted a finite loss"):
            self.poisoned(bad, nonfinite="raise")(INPUT, TARGET)
        assert self.poisoned(1.0, nonfinite="raise")(INPUT, TARGET).isfinite()

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_skip_leaves_out_value_and_gradient(self, bad: float) -> None:
        loss = self.poisoned(bad, nonfinite="skip")
        with pytest.warns(UserWarning, match="the term 'surface' is not finite and is left out") as caught:
            loss(INPUT, TARGET)
        assert [warning.filename for warning in caught] == [__file__]
        with pytest.warns(UserWarning, match="the term 'surface' is not finite and is left out"):
            got = result(loss, INPUT, TARGET)
        right = result(CompoundLoss({"a": (Linear(1.0), 1.0), "b": (Linear(2.0), 1.0)}), INPUT, TARGET)
        assert torch.equal(got.value, right.value)
        assert torch.equal(got.gradient, right.gradient)
        loss.losses["surface"].pull = 3.0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            torch.testing.assert_close(loss(INPUT, TARGET), 4.5 * Linear(1.0)(INPUT, TARGET))

    def test_skip_of_everything_has_no_gradient(self) -> None:
        loss = CompoundLoss({"surface": (Linear(math.nan), 1.0)}, nonfinite="skip")
        input = INPUT.clone().requires_grad_()
        with pytest.warns(UserWarning, match="'surface'"):
            value = loss(input, TARGET)
        value.backward()
        assert value == 0
        assert input.grad is None

    def test_a_weight_of_0_does_not_hide_it(self) -> None:
        loss = CompoundLoss({"a": (Linear(1.0), 1.0), "surface": (Linear(math.inf), 0.0)}, nonfinite="skip")
        with pytest.warns(UserWarning, match="'surface'"):
            assert loss(INPUT, TARGET) == Linear(1.0)(INPUT, TARGET)

    def test_refuses_another_policy(self) -> None:
        with pytest.raises(ValueError, match=r"^nonfinite: got 'zero', wanted one of keep, raise, skip"):
            self.poisoned(1.0, nonfinite="zero")

    @pytest.mark.parametrize(
        ("pulls", "named"),
        [
            ((1.0, math.nan, 2.0), "'surface'"),
            ((math.inf, 1.0, 2.0), "'a'"),
            ((1.0, math.nan, math.nan), "'surface' or 'b'"),
        ],
    )
    @pytest.mark.parametrize("cap", [False, True])
    def test_the_monitor_names_the_term(
        self, cap: bool, pulls: tuple[float, float, float], named: str
    ) -> None:
        names = ("a", "surface", "b")
        loss = CompoundLoss({name: (Linear(pull), 1.0) for name, pull in zip(names, pulls, strict=True)})
        loss.scale("surface", 0.5)
        with pytest.warns(UserWarning, match=f"the gradient of {named} is not finite") as caught:
            ratio = GradientRatioMonitor(loss, cap=cap)(INPUT, TARGET)
        assert ratio is not None
        assert math.isnan(ratio)
        assert [warning.filename for warning in caught] == [__file__]
        assert loss.factors["surface"] == 0.5  # nothing was learned about it


class TestCap:
    @staticmethod
    def watched(pull: float, **options: Any) -> tuple[CompoundLoss, GradientRatioMonitor]:
        loss = CompoundLoss({"rest": (Linear(2.0), 1.0), "surface": (Linear(pull), 0.5)})
        return loss, GradientRatioMonitor(loss, cap=True, **options)

    def measured(self, loss: CompoundLoss) -> float | None:
        return GradientRatioMonitor(loss, limit=math.inf)(INPUT, TARGET)

    def test_holds_the_ratio_at_the_limit(self) -> None:
        loss, monitor = self.watched(40.0, limit=0.8)
        with pytest.warns(
            UserWarning, match=r"'surface' is 10 times .*limit 0.8, held there by a factor of 0.08"
        ):
            assert monitor(INPUT, TARGET) == pytest.approx(10)
        assert self.measured(loss) == pytest.approx(0.8)
        assert loss.weights["surface"] == pytest.approx(0.5 * 0.08)
        assert loss.weights["rest"] == 1

    def test_only_scales_down(self) -> None:
        loss, monitor = self.watched(0.1)
        assert monitor(INPUT, TARGET) == pytest.approx(0.025)
        assert loss.factors["surface"] == 1

    def test_lets_go_when_the_excess_is_over(self) -> None:
        loss, monitor = self.watched(40.0)
        with pytest.warns(UserWarning, match=r"the gradient of 'surface' is .* held there by a factor of"):
            monitor(INPUT, TARGET)
        # The look is at what would be without the factor, so a second one changes nothing.
        assert monitor(INPUT, TARGET) == pytest.approx(10)
        assert loss.factors["surface"] == pytest.approx(0.1)
        loss.losses["surface"].pull = 1.0
        assert monitor(INPUT, TARGET) == pytest.approx(0.25)
        assert loss.factors["surface"] == 1

    def test_stays_until_the_next_look(self) -> None:
        loss, monitor = self.watched(40.0, every=3)
        with pytest.warns(UserWarning, match=r"the gradient of 'surface' is .* held there by a factor of"):
            monitor(INPUT, TARGET)
        loss.losses["surface"].pull = 1.0
        for factor in (0.1, 0.1, 1.0):
            monitor(INPUT, TARGET)
            loss.step()
            assert loss.factors["surface"] == pytest.approx(factor)

    def test_without_a_gradient_of_the_others(self) -> None:
        loss, monitor = self.watched(1.0)
        loss.losses["rest"].pull = 0.0
        with pytest.warns(UserWarning, match="inf times"):
            assert monitor(INPUT, TARGET) == math.inf
        assert loss.factors["surface"] == 0
        loss.losses["rest"].pull = 2.0
        monitor(INPUT, TARGET)
        assert loss.factors["surface"] == 1

    def test_of_a_real_loss(self) -> None:
        loss = compound(100.0)
        with pytest.warns(UserWarning, match=r"the gradient of 'surface' is .* held there by a factor of"):
            assert GradientRatioMonitor(loss, limit=0.5, cap=True)(INPUT, TARGET) > 0.5
        assert self.measured(loss) == pytest.approx(0.5, rel=1e-5)

    def test_needs_a_finite_limit(self) -> None:
        with pytest.raises(ValueError, match=r"^limit: got inf, wanted a finite number above 0"):
            self.watched(1.0, limit=math.inf)


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

    def test_inference_mode_is_refused_by_name(self) -> None:
        monitor = GradientRatioMonitor(compound())
        with torch.no_grad():
            assert monitor(INPUT, TARGET) is not None
        with torch.inference_mode():
            made_there = INPUT.clone()
            with pytest.raises(RuntimeError, match=r"^logits: got inference mode, wanted"):
                monitor(INPUT, TARGET)
        with pytest.raises(RuntimeError, match=r"^logits: got inference mode, wanted"):
            monitor(made_there, TARGET)

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
