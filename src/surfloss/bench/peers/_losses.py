"""What the adapters of losses share: the tensors of a case, and the pass over them."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from surfloss.bench.cases import Case
from surfloss.bench.peers import Call


def forward_and_backward(loss: Callable[[Tensor, Tensor], Tensor], case: Case, device: str = "cpu") -> Call:
    """One pass of `loss(logits, target)` as a call that gives the loss and the gradient on the logits."""
    logits, target = (tensor.to(device) for tensor in tensors(case))
    logits.requires_grad_()

    def call() -> tuple[Tensor, Tensor]:
        logits.grad = None
        value = loss(logits, target)
        value.backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        return value.detach(), logits.grad

    return call


def tensors(case: Case) -> tuple[Tensor, Tensor]:
    """A batch of two, float32 `(2, 1, z, y, x)`: the mask and its mirror image as target, logits for both.

    The logits are those of a network that is nearly there: its mask is the target moved by two voxels.
    """
    target = np.stack([case.voxels, case.voxels[:, :, ::-1]])[:, None]
    moved = np.roll(target, (2, 2), axis=(-2, -1))
    certainty = np.random.default_rng(1).uniform(0.1, 4, target.shape).astype(np.float32)
    logits = np.where(moved, certainty, -certainty)
    return torch.from_numpy(logits), torch.from_numpy(target.astype(np.float32))
