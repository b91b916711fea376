"""This library, through its public functions."""

import torch

from surfloss.bench.cases import Case
from surfloss.bench.peers import Call
from surfloss.bench.peers._losses import forward_and_backward
from surfloss.edt import two_sided_edt
from surfloss.losses.hausdorff import HausdorffDTLoss


def edt(case: Case, threads: int, backend: str) -> Call:
    mask = torch.from_numpy(case.voxels)
    return lambda: two_sided_edt(mask, spacing=case.spacing, backend=backend)


def loss(case: Case, threads: int, backend: str) -> Call:
    return forward_and_backward(HausdorffDTLoss(sigmoid=True, include_background=True, backend=backend), case)
