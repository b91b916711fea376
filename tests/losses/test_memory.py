"""What autograd keeps of each loss between the two passes, as the documents state it."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from surfloss import (
    BoundaryLoss,
    ContourLoss,
    GeneralizedSurfaceLoss,
    HausdorffConvLoss,
    HausdorffDTLoss,
    HausdorffERLoss,
    LogHausdorffDTLoss,
    SurfaceDiceLoss,
)
from tests.losses.fields import in_channels, labels, logits

pytestmark = pytest.mark.filterwarnings("ignore:.*single.channel:UserWarning")


def kept(loss: nn.Module, input: Tensor, target: Tensor) -> float:
    """Bytes that the graph holds besides input and target, in tensors of the input's size and dtype."""
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss(input, target)
    for given in (input, target):
        saved.pop(given.untyped_storage().data_ptr(), None)
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values()) / input.nbytes


@pytest.mark.parametrize(
    ("loss", "tensors"),
    [
        (HausdorffDTLoss(), 1),
        (HausdorffDTLoss(kept_dtype=torch.bfloat16), 0.5),
        (HausdorffDTLoss(sigmoid=True), 1),
        (LogHausdorffDTLoss(), 1),
        (HausdorffERLoss(iterations=8), 1.25),
        (HausdorffERLoss(iterations=24), 1.75),
        (HausdorffERLoss(iterations=8, rescale="minmax"), 9),
        (HausdorffConvLoss(radii=(1, 2)), 1),
        (HausdorffConvLoss(radii=(1, 2, 3, 4, 5)), 1),
        (BoundaryLoss(), 1),
        (GeneralizedSurfaceLoss(), 3.25),
        (ContourLoss(), 1.5),
        (SurfaceDiceLoss(1.0), 0.75),
    ],
    ids=repr,
)
def test_kept_for_the_gradient(loss: nn.Module, tensors: float) -> None:
    input = logits(3, 1).sigmoid().requires_grad_()
    # Beside the volumes there are a few numbers an item.
    assert kept(loss, input, in_channels(labels(3, 1), 1)) == pytest.approx(tensors, abs=0.05)


@pytest.mark.parametrize("loss", [HausdorffERLoss(), HausdorffConvLoss(radii=(1,))], ids=repr)
def test_nothing_is_kept_without_a_gradient(loss: nn.Module) -> None:
    input, target = logits(3, 1).sigmoid(), in_channels(labels(3, 1), 1)
    value = loss(input, target)
    assert kept(loss, input, target) == 0
    for no_grad, needs in product((False, True), repeat=2):
        with torch.set_grad_enabled(not no_grad):
            assert torch.equal(loss(input.clone().requires_grad_(needs), target), value)
