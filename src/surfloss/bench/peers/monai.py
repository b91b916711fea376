"""MONAI: the loss. Distances are SciPy's on CPU tensors; on a GPU cuCIM's where that is installed."""

from monai.losses import HausdorffDTLoss

from surfloss.bench.cases import Case
from surfloss.bench.peers import Call
from surfloss.bench.peers._losses import forward_and_backward


def loss(case: Case, threads: int, device: str = "cpu") -> Call:
    return forward_and_backward(HausdorffDTLoss(sigmoid=True, include_background=True), case, device)
