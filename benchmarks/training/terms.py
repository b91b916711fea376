"""The terms added to Dice + CE: the library's losses, controls without distances, and experimental forms.

All take logits and labels, like the library's losses with `softmax=True, to_onehot_y=True`.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import surfloss
from surfloss import DiceCELoss


class ScaledDiceCE(DiceCELoss):
    """Control: Dice + CE a second time. Its gradient ratio is its weight, and it adds only strength."""

    def __init__(self, **options: Any) -> None:
        super().__init__(batch=True, **options)


class Weighted(nn.Module):
    """mean(w * error), with a weight w per voxel and foreground channel from distances, treated as constant.

    With d_g and d_p the distances of a voxel to the opposite label of the target and of the mask p > 0.5,

        w = f(d_g) + f(d_p),     f(d) = floor + min(d, cap)^alpha, or 0 if the mask has no boundary.

    With `mean`, w is divided by its mean per item and channel, over the voxels ("volume") or over the errors
    ("errors"), sum(w e) / sum(e). With "errors", the value is that of the plain mean of the errors, and the
    weight only moves the gradient from error to error.

    Args:
        error: "squared", (p - g)^2; "absolute", |p - g|; or "cross-entropy", the binary one of p and g.
        alpha, cap, floor: as above. The cap is in mm if a spacing is given.
        mean: "volume", "errors" or None.
        spacing: None for distances in voxels.
    """

    def __init__(
        self,
        error: str = "squared",
        *,
        alpha: float = 1.0,
        cap: float = math.inf,
        floor: float = 0.0,
        mean: str | None = "errors",
        spacing: Any = None,
    ) -> None:
        super().__init__()
        self.error, self.alpha, self.cap, self.floor = error, alpha, cap, floor
        self.mean, self.spacing = mean, spacing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        errors, p, g = _errors(self.error, logits, labels)
        with torch.no_grad():
            w = self._from_distance(g > 0.5) + self._from_distance(p > 0.5)
            axes = tuple(range(2, w.ndim))
            if self.mean == "volume":
                w /= w.mean(axes, keepdim=True).clamp_min(1e-6)
            elif self.mean == "errors":
                found = (w * errors).sum(axes, keepdim=True)
                # If no mask has a boundary, all weights are 0 and remain so.
                w *= errors.sum(axes, keepdim=True) / found.clamp_min(1e-12)
        return (w * errors).mean()

    def _from_distance(self, mask: Tensor) -> Tensor:
        d = surfloss.two_sided_edt(mask, spatial_dims=mask.ndim - 2, spacing=self.spacing)
        bounded = d.isfinite()
        return (d.clamp_max(self.cap) ** self.alpha + self.floor).masked_fill(~bounded, 0)


class Unweighted(nn.Module):
    """Control: the plain mean of the errors, as if all distances were equal."""

    def __init__(self, error: str = "squared") -> None:
        super().__init__()
        self.error = error

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return _errors(self.error, logits, labels)[0].mean()


def _errors(kind: str, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Errors, probabilities and targets of the foreground channels, `(batch, classes - 1, *spatial)`."""
    logits = logits.float()
    p = logits.softmax(1)[:, 1:]
    g = F.one_hot(labels[:, 0].long(), logits.shape[1]).movedim(-1, 1)[:, 1:].to(p.dtype)
    if kind == "squared":
        return (p - g).square(), p, g
    if kind == "absolute":
        return (p - g).abs(), p, g
    # Compute log(1 - p) from the logits of the other classes, since 1 - p would lose small values.
    total = logits.logsumexp(1, keepdim=True)
    others = [logits[:, [k for k in range(logits.shape[1]) if k != c]] for c in range(1, logits.shape[1])]
    log_q = torch.stack([other.logsumexp(1) for other in others], 1) - total
    return -(g * (logits[:, 1:] - total) + (1 - g) * log_q), p, g


LIBRARY = {
    "hausdorff": surfloss.HausdorffDTLoss,
    "log": surfloss.LogHausdorffDTLoss,
    "erosion": surfloss.HausdorffERLoss,
    "convolution": surfloss.HausdorffConvLoss,
    "contour": surfloss.ContourLoss,
    "boundary": surfloss.BoundaryLoss,
    "generalized surface": surfloss.GeneralizedSurfaceLoss,
    "surface Dice": surfloss.SurfaceDiceLoss,
}
STUDY = {"Dice + CE": ScaledDiceCE, "unweighted": Unweighted, "weighted": Weighted}


def make(name: str, steps: tuple[float, ...], **options: Any) -> nn.Module:
    """Build a term by name. The option `spacing="mm"` means `steps`, the spacing of the data."""
    if options.get("spacing") == "mm":
        options["spacing"] = steps
    if name in STUDY:
        term: nn.Module = STUDY[name](**options)
        return term
    return LIBRARY[name](softmax=True, to_onehot_y=True, **options)
