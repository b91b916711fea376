"""What every loss does first and last: logits and labels to probabilities and channels, and the reduction.

The options have the names, order and meaning that MONAI's losses gave them.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from surfloss import _check
from surfloss._check import fail

Activation: TypeAlias = Callable[[Tensor], Tensor]

REDUCTIONS = ("mean", "sum", "none")


class Prepared(NamedTuple):
    """Prediction and target, channel by channel."""

    prediction: Tensor  # (batch, channels, *spatial), float32 or float64
    target: Tensor  # the same shape and dtype
    ignore: Tensor | None  # (batch, 1, *spatial), bool: voxels that count for nothing


def check_options(
    sigmoid: bool, softmax: bool, other_act: Activation | None, reduction: str = "mean"
) -> None:
    """Refuse more than one activation, one that cannot be called, and an unknown reduction."""
    if other_act is not None and not callable(other_act):
        fail("other_act", type(other_act).__name__, "None or a callable", TypeError)
    chosen = [n for n, on in (("sigmoid", sigmoid), ("softmax", softmax), ("other_act", other_act)) if on]
    if len(chosen) > 1:
        fail(" and ".join(chosen), "set together", "one activation at most")
    if reduction not in REDUCTIONS:
        fail("reduction", repr(reduction), f"one of {', '.join(REDUCTIONS)}")


def prepare(
    input: Tensor,
    target: Tensor,
    *,
    include_background: bool,
    to_onehot_y: bool,
    sigmoid: bool,
    softmax: bool,
    other_act: Activation | None,
    ignore_index: int | None,
    validate: bool | None,
) -> Prepared:
    """Apply the activation, turn labels into channels, drop the background.

    Half precision is computed in float32, also under autocast: squared distances overflow float16.

    Raises:
        TypeError, ValueError: on a shape, dtype or device that does not fit, and where values may be read
            (`validate`) on NaN or infinity and on labels outside the classes.
    """
    _check_tensors(input, target)
    channels = input.shape[1]
    input = input if input.dtype == torch.float64 else input.float()
    target, ignore = without_ignored(target, ignore_index)
    if channels == 1:
        for name, on in (("softmax", softmax), ("to_onehot_y", to_onehot_y)):
            _warn_single_channel(f"{name}=True", on)
        _warn_single_channel("include_background=False", not include_background)
        softmax, to_onehot_y, include_background = False, False, True
    if _check.can_read(input, validate):
        _check.finite("input", input)
        check_labels(target, channels if to_onehot_y else None)

    prediction = input
    if sigmoid:
        prediction = torch.sigmoid(input)
    elif softmax:
        prediction = torch.softmax(input, 1)
    elif other_act is not None:
        prediction = other_act(input)
    if to_onehot_y:
        target = onehot(target, channels)
    target = target.to(prediction.dtype)
    if not include_background:
        prediction, target = prediction[:, 1:], target[:, 1:]
    if prediction.shape != target.shape:
        fail("target", f"shape {tuple(target.shape)}", f"the input's, {tuple(prediction.shape)}")
    return Prepared(prediction, target, ignore)


def without_ignored(target: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor | None]:
    """The target with background at the ignored voxels, and where they are: `(batch, 1, *spatial)`."""
    if ignore_index is None:
        return target, None
    ignore = (target == ignore_index).any(1, keepdim=True)
    return target.masked_fill(ignore, 0), ignore


def onehot(labels: Tensor, channels: int) -> Tensor:
    """Label map `(batch, 1, *spatial)` to bool `(batch, channels, *spatial)`."""
    if labels.shape[1] != 1:
        fail("target", f"{labels.shape[1]} channels", "one channel of labels (to_onehot_y=True)")
    classes = torch.arange(channels, device=labels.device).view(1, -1, *(1,) * (labels.ndim - 2))
    return labels == classes


def check_labels(target: Tensor, classes: int | None) -> None:
    """Labels are 0 or 1 in channels (`classes` None), whole numbers below `classes` in a label map."""
    if target.dtype == torch.bool:
        return
    _check.finite("target", target)
    known = torch.arange(2 if classes is None else classes, device=target.device, dtype=target.dtype)
    if not bool(torch.isin(target, known).all()):
        unknown = torch.unique(target[~torch.isin(target, known)])[:5].tolist()
        wanted = "0 and 1 in every channel" if classes is None else f"whole labels from 0 to {classes - 1}"
        fail("target", f"the values {unknown}", wanted)


def reduced(values: Tensor, reduction: str, batch: bool, spatial_dims: int) -> Tensor:
    """Reduce the `(batch, channels)` values of equally large items.

    Args:
        batch: average over the batch first.

    Returns:
        A scalar, or with "none" `(batch or 1, channels, 1, ...)`.
    """
    if batch:
        values = values.mean(0, keepdim=True)
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    return values.view(*values.shape, *(1,) * spatial_dims)


def _check_tensors(input: Tensor, target: Tensor) -> None:
    for name, value in (("input", input), ("target", target)):
        _check.tensor(name, value)
        if value.ndim not in (4, 5):
            fail(name, f"shape {tuple(value.shape)}", "(batch, channel, y, x) or (batch, channel, z, y, x)")
    if not input.is_floating_point():
        fail("input", f"dtype {input.dtype}", "a floating dtype", TypeError)
    if target.is_complex():
        fail("target", f"dtype {target.dtype}", "bool, integer or floating labels", TypeError)
    _check.same_device("target", target, "input", input)
    if target.shape[0] != input.shape[0] or target.shape[2:] != input.shape[2:]:
        fail("target", f"shape {tuple(target.shape)}", f"the batch and spatial axes of {tuple(input.shape)}")


def _warn_single_channel(option: str, ignored: bool) -> None:
    if ignored and not torch.compiler.is_compiling():
        warnings.warn(f"single-channel input: {option} is ignored", stacklevel=5)
