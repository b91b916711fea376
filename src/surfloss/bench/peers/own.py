"""This library, through its public functions."""

import torch

from surfloss.bench.cases import Case
from surfloss.bench.peers import Call
from surfloss.bench.peers._losses import forward_and_backward
from surfloss.edt import two_sided_edt
from surfloss.losses.contour import ContourLoss
from surfloss.losses.hausdorff import HausdorffDTLoss
from surfloss.ops._select import use_backend


def edt(case: Case, threads: int, backend: str, device: str = "cpu") -> Call:
    masks, spacing = case.batch()
    mask, dims = torch.from_numpy(masks).to(device), len(spacing)
    return lambda: two_sided_edt(mask, spatial_dims=dims, spacing=spacing, backend=backend)


def loss(case: Case, threads: int, backend: str, device: str = "cpu") -> Call:
    hausdorff = HausdorffDTLoss(sigmoid=True, include_background=True, backend=backend)
    return forward_and_backward(hausdorff, case, device)


def contour(case: Case, threads: int, backend: str, device: str = "cpu") -> Call:
    call = forward_and_backward(ContourLoss(sigmoid=True, include_background=True), case, device)

    def by_backend() -> object:
        with use_backend(backend):
            return call()

    return by_backend
