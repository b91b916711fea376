"""SciPy for a tensor on a GPU: to the CPU, a transform for each mask and side there, and back."""

import numpy as np
import torch
from scipy import ndimage

from surfloss.bench.cases import Case
from surfloss.bench.peers import Call


def edt(case: Case, threads: int, device: str) -> Call:
    masks, spacing = case.batch()
    on_device = torch.from_numpy(masks).to(device)

    def call() -> object:
        voxels = on_device.cpu().numpy()
        distance = np.empty(voxels.shape, np.float32)
        items = voxels.reshape(-1, *voxels.shape[-len(spacing) :])
        for item, out in zip(items, distance.reshape(items.shape), strict=True):
            sides = (ndimage.distance_transform_edt(side, sampling=spacing) for side in (item, ~item))
            out[...] = sum(sides)
        return torch.from_numpy(distance).to(device)

    return call
