"""What the libraries on CuPy share: they have SciPy's function, for one mask and one side at a call."""

from collections.abc import Callable
from typing import Any, TypeAlias

import cupy
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from surfloss.bench.cases import Case
from surfloss.bench.peers import Call
from surfloss.bench.peers._losses import forward_and_backward

Transform: TypeAlias = Callable[..., Any]


def edt(case: Case, transform: Transform) -> Call:
    masks, spacing = case.batch()
    shape = masks.shape
    inside = cupy.asarray(masks.reshape(-1, *shape[-len(spacing) :]))
    outside = cupy.logical_not(inside)

    def call() -> object:
        return _two_sided(inside, outside, transform, spacing).reshape(shape)

    return call


def loss(case: Case, transform: Transform, device: str) -> Call:
    """Karimi & Salcudean 2020, eq. 8, as MONAI computes it, in voxels."""

    def distances(mask: Tensor) -> Tensor:
        inside = cupy.from_dlpack(mask.flatten(0, 1).view(torch.uint8))
        distance = _two_sided(inside, inside == 0, transform, (1.0, 1.0, 1.0))
        field: Tensor = from_dlpack(distance)
        return field.view(mask.shape)

    def hausdorff(logits: Tensor, target: Tensor) -> Tensor:
        prediction = logits.sigmoid()
        with torch.no_grad():
            weight = distances(prediction > 0.5) ** 2 + distances(target > 0.5) ** 2
        return ((prediction - target) ** 2 * weight).mean()

    return forward_and_backward(hausdorff, case, device)


def _two_sided(inside: Any, outside: Any, transform: Transform, spacing: tuple[float, ...]) -> Any:
    distance = cupy.empty(inside.shape, cupy.float32)
    for item, sides in enumerate(zip(inside, outside, strict=True)):
        halves = (transform(side, sampling=spacing, float64_distances=False) for side in sides)
        cupy.add(*halves, out=distance[item])
    return distance
