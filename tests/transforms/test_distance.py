"""The target's distances ahead of the loss: those that the loss computes itself."""

import math
import multiprocessing
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from surfloss import BoundaryLoss, GeneralizedSurfaceLoss, HausdorffDTLoss, LogHausdorffDTLoss
from surfloss.transforms import TargetDistance
from tests.losses.fields import assert_agrees, in_channels, labels, logits, result
from tests.support.oracles import scipy_two_sided

LOSSES: dict[str, tuple[type[nn.Module], Any]] = {
    "hausdorff": (HausdorffDTLoss, "two_sided"),
    "log hausdorff": (LogHausdorffDTLoss, "two_sided"),
    "generalized surface": (GeneralizedSurfaceLoss, "two_sided"),
    "boundary": (BoundaryLoss, "signed"),
}
SPACING = (5.0, 0.42, 0.7)
ROUNDING = 2e-6


@pytest.mark.parametrize("spacing", [None, SPACING, torch.tensor([SPACING, (1, 2, 3)])])
@pytest.mark.parametrize("ignore_index", [None, 255])
@pytest.mark.parametrize("include_background", [False, True])
@pytest.mark.parametrize("of_labels", [True, False], ids=["labels", "channels"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_with_the_map_is_the_loss(
    name: str, of_labels: bool, include_background: bool, ignore_index: int | None, spacing: Any
) -> None:
    make, form = LOSSES[name]
    input, target = logits(3, 3), labels(3, 3)
    target[0] = 2  # channels of one label
    if not of_labels:
        target = in_channels(target, 3).long()
    if ignore_index:
        target[..., 3:5] = ignore_index
    shared = {"include_background": include_background, "ignore_index": ignore_index, "spacing": spacing}
    loss = make(softmax=True, to_onehot_y=of_labels, empty="diagonal", reduction="none", **shared)
    distance = TargetDistance(form=form, num_classes=3 if of_labels else None, **shared)(target)
    assert distance.shape == (2, 2 + include_background, *target.shape[2:])
    assert distance.dtype == torch.float32
    assert ignore_index or distance[0].isinf().all()
    given = result(loss, input, target, target_distance=distance)
    assert_agrees(given, result(loss, input, target), ROUNDING)


@pytest.mark.filterwarnings("ignore:single.channel:UserWarning")
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.float16, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_a_single_channel_in_the_plane(name: str, dtype: torch.dtype) -> None:
    make, form = LOSSES[name]
    input, target = logits(2, 1), labels(2, 1).to(dtype)
    distance = TargetDistance(form=form)(target)
    right = np.stack([scipy_two_sided(item[0].double().numpy() > 0.5, (1.0, 1.0)) for item in target])
    if form == "signed":
        right = np.where(target[:, 0].double().numpy() > 0.5, 1 - right, right)
    np.testing.assert_allclose(distance[:, 0], right, rtol=1e-6)
    loss = make(sigmoid=True)
    torch.testing.assert_close(loss(input, target, target_distance=distance), loss(input, target))


def test_spacing_of_a_call_comes_first() -> None:
    target = labels(3, 3)
    own = TargetDistance(num_classes=3, spacing=SPACING)
    assert torch.equal(own(target, spacing=2), TargetDistance(num_classes=3, spacing=2.0)(target))
    assert torch.equal(own(target), TargetDistance(num_classes=3)(target, spacing=SPACING))


def test_map_of_the_whole_volume_knows_boundaries_outside_of_a_crop() -> None:
    """So its distances are at most those of the crop, and the same where a boundary in the crop is nearer."""
    target = torch.zeros(1, 1, 12, 40)
    target[..., 4:8, 6:9] = 1
    target[..., 4:8, 30:36] = 1
    crop = (..., slice(0, 22))
    distance = TargetDistance()
    whole, own = distance(target)[crop], distance(target[crop].clone())
    assert (whole <= own).all()
    assert (whole < own).any()
    assert torch.equal(whole[..., :18], own[..., :18])
    without = (..., slice(12, 26))  # no boundary in it
    assert distance(target[without].clone()).isinf().all()
    assert distance(target)[without].isfinite().all()


def test_flips_and_right_angles_commute_with_the_map() -> None:
    target, distance = labels(2, 3), TargetDistance(form="signed", num_classes=3, spacing=(0.5, 2.0))
    assert torch.equal(distance(target.flip(-1, -2)), distance(target).flip(-1, -2))
    turned = TargetDistance(form="signed", num_classes=3, spacing=(2.0, 0.5))
    assert torch.equal(turned(target.rot90(1, (-2, -1))), distance(target).rot90(1, (-2, -1)))


def test_loss_refuses_a_signed_map_that_was_left_behind() -> None:
    input, target = logits(3, 3), labels(3, 3)
    distance = TargetDistance(form="signed", num_classes=3, ignore_index=9)
    loss = BoundaryLoss(softmax=True, to_onehot_y=True, ignore_index=9)
    for moved in (target.flip(-1), target.roll(1, -2)):
        message = (
            r"^target_distance: got the wrong sign at \d+ of 840 voxels, wanted distances of this target"
        )
        with pytest.raises(ValueError, match=message):
            loss(input, moved, target_distance=distance(target))
    with pytest.raises(ValueError, match="wrong sign"):
        loss(input, target, target_distance=TargetDistance(num_classes=3)(target))
    assert torch.isfinite(loss(input, target.clone().fill_(9), target_distance=distance(target)))
    with pytest.raises(
        ValueError, match=r"^target_distance: got shape \(2, 2, 5, 6, 6\), wanted the target's"
    ):
        loss(input, target, target_distance=distance(target)[..., :-1])
    with pytest.raises(ValueError, match=r"^target_distance: got NaN or negative values, wanted distances$"):
        HausdorffDTLoss(softmax=True, to_onehot_y=True)(input, target, target_distance=distance(target))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"form": "inside"}, ValueError, "form: got 'inside', wanted one of two_sided, signed"),
        ({"num_classes": 1}, ValueError, "num_classes: got 1, wanted a whole number of at least 2"),
        ({"num_classes": 2.5}, ValueError, "num_classes: got 2.5, wanted a whole number"),
        ({"include_background": 3}, TypeError, "include_background: got 3, wanted True or False"),
        ({"ignore_index": math.nan}, ValueError, "ignore_index: got nan, wanted None or a finite number"),
        ({"spacing": (1, -1)}, ValueError, "spacing: got "),
        ({"backend": "gpu"}, ValueError, "backend: got 'gpu'"),
    ],
)
def test_refuses_options_when_it_is_made(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        TargetDistance(**options)


LABELS = {"num_classes": 3}


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (torch.zeros(3, 3), {}, r"target: got shape \(3, 3\), wanted \(batch, channel, y, x\)"),
        (torch.zeros(1, 1, 3, 0), {}, "target: got shape .*, wanted channels and voxels"),
        (torch.zeros(1, 3, 3, 3), LABELS, "target: got 3 channels, wanted 1 of labels"),
        (torch.full((1, 1, 3, 3), 1.5), LABELS, r"target: got the values \[1.5\], wanted whole labels"),
        (torch.full((1, 1, 3, 3), 3), LABELS, r"target: got the values \[3\], wanted whole labels"),
        (torch.full((1, 1, 3, 3), -1), LABELS, r"target: got the values \[-1\], wanted whole labels"),
        (torch.full((1, 1, 1, 1), math.nan), LABELS, r"target: got the values \[nan\], wanted whole labels"),
        (torch.full((1, 2, 3, 3), 2), {}, r"target: got the values \[2\], wanted 0 and 1 in every channel"),
        (torch.zeros(1, 2, 3, 3), {"ignore_index": 1}, "ignore_index: got 1, wanted neither 0 nor 1"),
        (torch.zeros(1, 1, 3, 3), {"spacing": SPACING}, "spacing: got 3 values"),
    ],
)
def test_refuses_targets(target: Tensor, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        TargetDistance(**options)(target)


@pytest.mark.parametrize(
    "target", [np.zeros((1, 1, 3, 3)), torch.zeros(1, 1, 3, 3) * 1j], ids=["array", "complex"]
)
def test_refuses_other_types(target: Any) -> None:
    with pytest.raises(TypeError, match=r"^target: got (ndarray|dtype torch.complex64), wanted "):
        TargetDistance()(target)


def test_pickle() -> None:
    target = labels(3, 3)
    distance = TargetDistance(form="signed", num_classes=3, spacing=SPACING)
    assert torch.equal(pickle.loads(pickle.dumps(distance))(target), distance(target))


def _in_a_fork(target: Tensor, answers: Any) -> None:
    distance = TargetDistance(form="signed", num_classes=3, ignore_index=9)(target)
    answers.put((distance.numpy(), torch.get_num_threads()))


def test_in_a_forked_process_without_set_num_threads() -> None:
    """PyTorch's own threads, which the parent used, are not there."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        target = labels(3, 3).repeat(1, 1, 16, 16, 16)
        right = TargetDistance(form="signed", num_classes=3, ignore_index=9)(target)
        context = multiprocessing.get_context("fork")
        answers = context.Queue()
        process = context.Process(target=_in_a_fork, args=(target, answers))
        process.start()
        distance, used = answers.get(timeout=60)
        process.join(60)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(distance, right)
    assert used == 2  # as before
