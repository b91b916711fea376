"""How each library is called on a workload.

An adapter is a function `(workload, threads, device)` that brings the input into its library's own form and
returns the call to be timed, without arguments. On a GPU the call may return before its work is done.

- For "edt" it gives the two-sided distance, float32 or float64, `(z, y, x)` or as `Workload.batch` has it:
  anything that NumPy can read, or an array of a GPU library.
- For "labels" it gives the distance of every voxel to the nearest one of another label, `(z, y, x)`.
- For "ndimage" and "indices" it gives the distance or the index of `scipy.ndimage.distance_transform_edt`.
- For the losses it does one forward and backward pass, and gives the loss and its gradient on the logits.

Libraries are imported where they are called, for not all of them are installed.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from surfloss.bench.workloads import Spacing, Workload
from surfloss.edt import label_edt, two_sided_edt
from surfloss.losses.contour import ContourLoss
from surfloss.losses.hausdorff import HausdorffDTLoss
from surfloss.ndimage import distance_transform_edt
from surfloss.ops._select import use_backend

Call: TypeAlias = Callable[[], Any]
Adapter: TypeAlias = Callable[[Workload, int, str], Call]

_OPTIONS: dict[str, Any] = {"sigmoid": True, "include_background": True}


def own_edt(workload: Workload, threads: int, device: str, *, backend: str) -> Call:
    masks, spacing = workload.batch()
    mask = torch.from_numpy(masks).to(device)
    return lambda: two_sided_edt(mask, spatial_dims=len(spacing), spacing=spacing, backend=backend)


def own_labels(workload: Workload, threads: int, device: str, *, backend: str) -> Call:
    labels = torch.from_numpy(workload.voxels).to(device)
    return lambda: label_edt(labels, spacing=workload.spacing, backend=backend)


def own_loss(
    workload: Workload, threads: int, device: str, *, loss: type[ContourLoss | HausdorffDTLoss], backend: str
) -> Call:
    call = both_passes(loss(**_OPTIONS), workload, device)

    def by_backend() -> object:
        with use_backend(backend):
            return call()

    return by_backend


def edt_edt(workload: Workload, threads: int, device: str) -> Call:
    """It measures to the nearest voxel of another label, so labels 1 and 2 give both sides."""
    import edt

    labels = workload.voxels + np.uint8(1)
    return lambda: edt.edt(labels, anisotropy=workload.spacing, black_border=False, parallel=threads)


def edt_labels(workload: Workload, threads: int, device: str) -> Call:
    import edt

    return lambda: edt.edt(workload.voxels, anisotropy=workload.spacing, black_border=False, parallel=threads)


def simpleitk_edt(workload: Workload, threads: int, device: str) -> Call:
    """A map of the mask and one of its complement, each 0 or less inside: the larger of both."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    images = [sitk.GetImageFromArray(side.astype(np.uint8)) for side in (workload.voxels, ~workload.voxels)]
    for image in images:
        image.SetSpacing(workload.spacing[::-1])
    options = {"insideIsPositive": False, "squaredDistance": False, "useImageSpacing": True}

    def call() -> object:
        maps = [sitk.SignedMaurerDistanceMap(image, **options) for image in images]
        # Views, valid while `maps` lives.
        return np.maximum(*(sitk.GetArrayViewFromImage(image) for image in maps))

    return call


def scipy_edt(workload: Workload, threads: int, device: str) -> Call:
    """A transform for each side, without threads; a tensor on a GPU goes to the CPU and back."""
    from scipy.ndimage import distance_transform_edt

    masks, spacing = workload.batch()
    on_device = torch.from_numpy(masks).to(device)

    def two_sided(mask: Any) -> Any:
        distance = distance_transform_edt(mask, sampling=spacing)
        distance += distance_transform_edt(np.logical_not(mask), sampling=spacing)
        return distance

    def call() -> Tensor:
        voxels = on_device.cpu().numpy()
        single = voxels.ndim == len(spacing)
        distance = two_sided(voxels) if single else np.stack([two_sided(mask) for mask in voxels])
        return torch.from_numpy(distance).to(device)

    return call


def scipy_ndimage(workload: Workload, threads: int, device: str, *, indices: bool = False) -> Call:
    """SciPy's transform of one side, to distances or to indices."""
    from scipy.ndimage import distance_transform_edt

    return partial(distance_transform_edt, workload.voxels, workload.spacing, not indices, indices)


def own_ndimage(
    workload: Workload, threads: int, device: str, *, backend: str, indices: bool = False
) -> Call:
    def by_backend() -> object:
        with use_backend(backend):
            return distance_transform_edt(workload.voxels, workload.spacing, not indices, indices)

    return by_backend


def monai_loss(workload: Workload, threads: int, device: str) -> Call:
    """Distances are SciPy's on CPU tensors; on a GPU cuCIM's where that is installed."""
    from monai.losses import HausdorffDTLoss as MonaiLoss

    return both_passes(MonaiLoss(**_OPTIONS), workload, device)


def cupy_edt(workload: Workload, threads: int, device: str, *, module: str) -> Call:
    """CuPy's or cuCIM's, the same parallel banding algorithm (PBA+; Cao, Tang, Mohamed & Tan 2010)."""
    import cupy

    masks, spacing = workload.batch()
    shape = masks.shape
    inside = cupy.asarray(masks.reshape(-1, *shape[-len(spacing) :]))
    outside = cupy.logical_not(inside)
    return lambda: banding(module, inside, outside, spacing).reshape(shape)


def banding(module: str, inside: Any, outside: Any, spacing: Spacing) -> Any:
    """Two-sided distances of `(items, *spatial)`, a mask and side per call of that module."""
    import cupy

    transform = importlib.import_module(module).distance_transform_edt
    distance = cupy.empty(inside.shape, cupy.float32)
    for item, sides in enumerate(zip(inside, outside, strict=True)):
        halves = (transform(side, sampling=spacing, float64_distances=False) for side in sides)
        cupy.add(*halves, out=distance[item])
    return distance


def both_passes(loss: Callable[[Tensor, Tensor], Tensor], workload: Workload, device: str) -> Call:
    """Forward and backward of `loss(logits, target)`, as a call."""
    logits, target = (tensor.to(device) for tensor in network_output(workload))
    logits.requires_grad_()

    def call() -> tuple[Tensor, Tensor]:
        logits.grad = None
        value = loss(logits, target)
        value.backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        return value.detach(), logits.grad

    return call


def network_output(workload: Workload) -> tuple[Tensor, Tensor]:
    """Logits and target, float32 `(2, 1, z, y, x)`: the mask and its mirror image as target.

    The logits are those of a network that is nearly there: its mask is the target moved by two voxels.
    """
    target = np.stack([workload.voxels, workload.voxels[:, :, ::-1]])[:, None]
    moved = np.roll(target, (2, 2), axis=(-2, -1))
    certainty = np.random.default_rng(1).uniform(0.1, 4, target.shape).astype(np.float32)
    logits = np.where(moved, certainty, -certainty)
    return torch.from_numpy(logits), torch.from_numpy(target.astype(np.float32))
