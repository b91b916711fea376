"""The presets give terms that a compound loss takes, with the weights that they promise."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from surfloss import CompoundLoss, DiceCELoss, presets


@pytest.mark.parametrize(
    ("preset", "weight"),
    [
        (presets.hausdorff, 1e-3),
        (presets.hausdorff_bounded, 10.0),
        (presets.hausdorff_paper, 1e-3),
        (presets.contour, 1e-3),
    ],
)
def test_presets_train(preset: Callable[..., Any], weight: float) -> None:
    torch.manual_seed(0)
    labels = torch.zeros(1, 1, 6, 8, 8, dtype=torch.long)
    labels[..., 2:5, 2:6, 3:7] = 1
    logits = torch.randn(1, 2, 6, 8, 8, requires_grad=True)
    surface = preset(10, softmax=True, to_onehot_y=True)
    compound = CompoundLoss({"dice_ce": (DiceCELoss(), 1.0), "surface": surface})
    for _ in range(5):
        compound.step()
    value = compound(logits, labels)
    value.backward()
    terms = compound.last_terms
    assert value.item() == pytest.approx((terms["dice_ce"] + weight * terms["surface"]).item(), rel=1e-6)
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0


def test_hausdorff_rises_over_half_of_the_training() -> None:
    _, schedule = presets.hausdorff(1000)
    assert [schedule.at(t) for t in (0, 250, 500, 1000)] == pytest.approx([0, 5e-4, 1e-3, 1e-3])
    assert presets.hausdorff(1)[1].at(1) == 1e-3
    with pytest.raises(ValueError, match="steps: got 0"):
        presets.hausdorff(0)


def test_the_bounded_one_is_as_strong_as_squared_error() -> None:
    labels = torch.zeros(1, 1, 6, 40, 40)
    labels[..., 2:5, 2:6, 3:7] = 1
    prediction = torch.rand(labels.shape, generator=torch.Generator().manual_seed(0))
    loss, _ = presets.hausdorff_bounded(10, include_background=True)
    assert loss(prediction, labels).item() == pytest.approx((prediction - labels).square().mean().item())


def test_the_papers_setting_has_its_empties_and_its_weight_from_the_start() -> None:
    loss, schedule = presets.hausdorff_paper(1000, include_background=True)
    assert schedule.at(0) == schedule.at(1000) == 1e-3
    prediction, empty = torch.full((1, 1, 4, 4), 0.9), torch.zeros(1, 1, 4, 4)
    quiet, _ = presets.hausdorff(1000, include_background=True)
    assert loss(prediction, empty) > quiet(prediction, empty) == 0
