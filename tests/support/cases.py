"""Masks that have broken distance transforms. Every backend must be correct on all of them."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from tests.support import oracles


@dataclass(frozen=True, eq=False)
class MaskSample:
    """A bool mask `(batch, *spatial)` and the spacing that its items share."""

    name: str
    mask: Tensor
    spacing: tuple[float, ...]

    @property
    def isotropic_units(self) -> bool:
        return set(self.spacing) == {1.0}

    @cache  # noqa: B019 - the samples live as long as the tests
    def squared(self, two_sided: bool) -> np.ndarray:
        """The correct squared distances, float64, by brute force over all pairs of voxels."""
        oracle = oracles.squared_two_sided if two_sided else oracles.squared_edt
        items = [oracle(item, self.spacing) for item in self.mask.numpy()]
        return np.stack(items) if items else np.empty(self.mask.shape)


def noise(*shape: int, share: float = 0.5, seed: int = 0) -> Tensor:
    """Every voxel is foreground with probability `share`."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


def blob(*shape: int) -> Tensor:
    """One ellipsoid per item, off center and not touching the border; `shape` is `(batch, *spatial)`."""
    grids = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape[1:]), indexing="ij")
    radius = sum(((grid - 0.1) / 0.6) ** 2 for grid in grids)
    return (radius < 1).expand(shape).contiguous()


def few(*shape: int, at: tuple[tuple[int, ...], ...], value: bool = True) -> Tensor:
    """One item: `value` at the voxels `at` (negative counts from the end), its opposite elsewhere."""
    mask = torch.full((1, *shape), not value)
    for index in at:
        mask[(0, *index)] = value
    return mask


def _masks() -> dict[str, Tensor]:
    position = torch.arange
    masks = {
        "all foreground": torch.ones(2, 4, 5, 6, dtype=torch.bool),
        "all background": torch.zeros(2, 4, 5, 6, dtype=torch.bool),
        "full, empty and mixed items": torch.stack(
            [torch.ones(3, 4, 5), torch.zeros(3, 4, 5), noise(3, 4, 5).float()]
        ).bool(),
        "one foreground voxel": few(5, 6, 7, at=((4, 0, 3),)),
        "one background voxel": few(5, 6, 7, at=((0, 5, 6),), value=False),
        "two voxels in opposite corners": few(7, 8, 9, at=((0, 0, 0), (-1, -1, -1))),
        "a single voxel": torch.tensor([True, False]).view(2, 1, 1, 1),
        "batch 0": torch.zeros(0, 3, 4, 5, dtype=torch.bool),
        "axis of size 0": torch.zeros(2, 3, 0, 5, dtype=torch.bool),
        "half and half along z": (position(6) < 2).view(1, 6, 1, 1).expand(1, 6, 5, 4).contiguous(),
        "half and half along x": (position(6) < 2).view(1, 1, 1, 6).expand(1, 4, 5, 6).contiguous(),
        "diagonal plane": sum(torch.meshgrid(*(position(9),) * 3, indexing="ij"))[None] < 12,
        "checkerboard": sum(torch.meshgrid(*(position(n) for n in (5, 6, 7)), indexing="ij"))[None] % 2 == 1,
        "every other slice": (position(7) % 2 == 0).view(1, 7, 1, 1).expand(1, 7, 4, 5).contiguous(),
        "half noise": noise(2, 5, 7, 11),
        "dense noise": noise(2, 11, 5, 7, share=0.97),
        "sparse noise": noise(2, 7, 11, 13, share=0.01),
        "blob": blob(2, 7, 13, 11),
        "1-D": noise(3, 37, share=0.8),
        "2-D": noise(3, 13, 17, share=0.9),
        "2-D blob": blob(1, 29, 23),
    }
    for shape in (
        (1, 7, 9),
        (7, 1, 9),
        (7, 9, 1),
        (1, 1, 11),
        (11, 1, 1),
        (2, 3, 97),
        (97, 3, 2),
        (3, 97, 2),
    ):
        masks[f"noise {shape}"] = noise(2, *shape, share=0.8)
    # Sizes beyond 1,024 threads, beyond 16-bit indices, and with squares that overflow int32.
    for size in (1031, 32771, 46349):
        for axis in range(3):
            shape = [2, 1, 1]
            shape.insert(axis, size)
            shape = shape[:3]
            corner, middle = [0, 0, 0], [0, 0, 0]
            middle[axis] = size // 3
            at = (tuple(corner),) if size > 40000 else (tuple(corner), tuple(middle))
            masks[f"axis {axis} of {size}, few foreground"] = few(*shape, at=at)
            masks[f"axis {axis} of {size}, few background"] = few(*shape, at=at, value=False)
    return masks


_SPACINGS = (
    (0.5, 0.5, 0.5),
    (5.0, 0.42, 0.42),
    (0.7, 1.3, 2.9),
    (1e-7, 1e-7, 1e-7),
    (1e8, 1e8, 1e8),
    (1e-7, 1.0, 1e8),
    (1e8, 1e-7, 3.0),
)
_SPACED = ("half noise", "dense noise", "sparse noise", "blob", "2-D", "1-D", "full, empty and mixed items")


def _samples() -> list[MaskSample]:
    masks = _masks()
    samples = [MaskSample(name, mask, (1.0,) * (mask.ndim - 1)) for name, mask in masks.items()]
    for name in _SPACED:
        dims = masks[name].ndim - 1
        samples += [
            MaskSample(f"{name} at {spacing[-dims:]}", masks[name], spacing[-dims:])
            for spacing in dict.fromkeys(spacing[-dims:] for spacing in _SPACINGS)
        ]
    return samples


MASK_SAMPLES = _samples()
IDS = [sample.name for sample in MASK_SAMPLES]
