"""MONAI: the loss; on CPU tensors it asks SciPy for the distances, whatever else is installed."""

from monai.losses import HausdorffDTLoss

from surfloss.bench.cases import Case
from surfloss.bench.peers import Call
from surfloss.bench.peers._losses import forward_and_backward


def loss(case: Case, threads: int) -> Call:
    return forward_and_backward(HausdorffDTLoss(sigmoid=True, include_background=True), case)
