"""What every loss does first: check logits and labels, and turn them into probabilities and channels."""

import math
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surfloss import _check
from surfloss._check import fail

# Probabilities may have been added or interpolated in bfloat16, whatever their dtype is now.
_ROUNDING = 2 * torch.finfo(torch.bfloat16).eps

_FLAGS = frozenset({"include_background", "to_onehot_y", "sigmoid", "softmax", "batch", "ddp", "validate"})

FLOATING = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
# PyTorch stores larger unsigned integers, but hardly computes with them.
LABELS = FLOATING | {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


def check_choice(argument: str, value: object, choices: Any) -> None:
    """Refuse what is none of the words of a `Literal` type."""
    words = choices.__args__  # `get_args` takes as long as ten such checks
    if not isinstance(value, (str, type(None))) or value not in words:  # an array compares element by element
        fail(argument, repr(value), f"one of {', '.join(map(str, words))}")


def check_flags(options: Mapping[str, object]) -> None:
    """Refuse flags that are none of True, False and None, as an argument that is one place off."""
    for name, value in options.items():
        if name in _FLAGS and not isinstance(value, (bool, np.bool_, type(None))):
            fail(name, repr(value), "True or False", TypeError)


def check_ignore_index(value: object) -> None:
    number = _check.plain(value)
    if number is not None and not (_check.is_real(number) and math.isfinite(number)):
        fail("ignore_index", repr(value), "None or a finite number")


def holds_labels(target: Tensor, channels: int, to_onehot_y: bool | None) -> bool:
    """Whether the target holds labels of several classes; with `to_onehot_y` None its shape tells."""
    labels, as_input = (1, "1 of labels"), (channels, f"{channels} as the input has")
    wanted = [labels, as_input] if to_onehot_y is None else [labels if to_onehot_y else as_input]
    if target.shape[1] not in [number for number, _ in wanted]:
        choice = " or ".join(text for _, text in wanted)
        fail("target", f"{target.shape[1]} channels", f"{choice} (to_onehot_y={to_onehot_y})")
    return target.shape[1] == 1 < channels


def activated(other_act: Callable[[Tensor], Tensor], input: Tensor) -> Tensor:
    result = other_act(input)
    check_image("the result of other_act", result)
    _check.same_device("the result of other_act", result, "input", input)
    if result.shape != input.shape:
        fail("the result of other_act", f"shape {tuple(result.shape)}", f"{tuple(input.shape)}")
    return full_precision(result)


def without_autocast(device_type: str) -> AbstractContextManager[Any]:
    # Meta tensors know no autocast. Asking PyTorch whether a device does breaks graphs in PyTorch 2.11.
    return nullcontext() if device_type == "meta" else torch.autocast(device_type, enabled=False)


def without_ignored(
    input: Tensor, target: Tensor, ignore_index: Any, labels: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Input and target with 0 at the ignored voxels, and where they are: `(batch, 1, *spatial)`.

    Of a target in channels (`labels` False) a voxel is ignored that has the value in any of them. The input
    is replaced before the activation, through which a NaN would come back as a gradient.
    """
    ignore = ignored(target, ignore_index, labels)
    if ignore is None:
        return input, target, None
    return input.masked_fill(ignore, 0), target.masked_fill(ignore, 0), ignore


def ignored(target: Tensor, ignore_index: Any, labels: bool) -> Tensor | None:
    """Where the ignored voxels are, `(batch, 1, *spatial)`; None without an `ignore_index`."""
    if ignore_index is None:
        return None
    ignore_index = _check.plain(ignore_index)
    if not labels and ignore_index in (0, 1):
        fail("ignore_index", ignore_index, "neither 0 nor 1, which are the values of a target in channels")
    return _equal(target, ignore_index).any(1, keepdim=True)


def _equal(target: Tensor, number: float) -> Tensor:
    """Where the target has this value; PyTorch takes -1 for 255 in uint8."""
    if target.dtype not in FLOATING | {torch.bool}:
        limits = torch.iinfo(target.dtype)
        if not limits.min <= number <= limits.max:
            return torch.zeros_like(target, dtype=torch.bool)
    return target == number


def onehot(labels: Tensor, channels: int, first: int = 0) -> Tensor:
    """Labels `(batch, 1, *spatial)` to bool channels for the labels from `first` below `channels`."""
    classes = torch.arange(first, channels, device=labels.device).view(1, -1, *(1,) * (labels.ndim - 2))
    return labels == classes


def full_precision(value: Tensor) -> Tensor:
    """float64 as it is, every other floating dtype as float32."""
    return value if value.dtype == torch.float64 else value.float()


def check_values(
    input: Tensor, target: Tensor, classes: int | None, validate: bool | None, *, probabilities: bool
) -> None:
    """The input is finite; labels are whole numbers below `classes`, or 0 and 1 in channels (`classes` None).

    With `probabilities` the input is from 0 to 1. Values are read only where they may be, and as briefly as
    possible: the extremes show NaN and infinity too.
    """
    if not _check.can_read(input, validate) or not input.numel():
        return
    low, high = _extremes(input)
    if not (math.isfinite(low) and math.isfinite(high)):
        _check.finite("input", input)
    least, greatest = allowed_range(input, probabilities=probabilities)
    if not least <= low <= high <= greatest:
        wanted = "probabilities from 0 to 1, or sigmoid=True or softmax=True for logits"
        fail("input", f"values from {low:g} to {high:g} without an activation", wanted)
    check_classes("target", target, classes)


def allowed_range(input: Tensor, *, probabilities: bool) -> tuple[float, float]:
    """The least and the greatest value that the input may have."""
    if probabilities:
        return -_ROUNDING, 1 + _ROUNDING
    largest = torch.finfo(input.dtype).max
    return -largest, largest


def check_classes(argument: str, target: Tensor, classes: int | None) -> None:
    """Values that may be read are whole numbers below `classes`, or 0 and 1 in channels (`classes` None)."""
    if target.dtype == torch.bool:
        return
    last = 1 if classes is None else classes - 1
    low, high = _extremes(target)
    if not (0 <= low <= high <= last and _are_whole(target)):
        unknown: Tensor = torch.unique(target.detach())
        known = torch.arange(last + 1, device=unknown.device).double()  # in int8, 255 would be -1
        unknown = unknown[~torch.isin(unknown.double(), known)][:5]
        wanted = "0 and 1 in every channel" if classes is None else f"whole labels from 0 to {last}"
        fail(argument, f"the values {unknown.tolist()}", wanted)


def check_image(argument: str, value: object, dtypes: frozenset[torch.dtype] = FLOATING) -> None:
    """A tensor `(batch, channel, *spatial)`, 2-D or 3-D, with channels and voxels."""
    _check.tensor(argument, value)
    assert isinstance(value, Tensor)
    _check.no_vmap(argument, value)
    if value.ndim not in (4, 5):
        fail(argument, f"shape {tuple(value.shape)}", "(batch, channel, y, x) or (batch, channel, z, y, x)")
    if 0 in value.shape[1:]:
        fail(argument, f"shape {tuple(value.shape)}", "channels and voxels")
    if value.layout != torch.strided:
        fail(argument, f"layout {value.layout}", "a dense tensor", TypeError)
    if value.dtype not in dtypes:
        names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        fail(argument, f"dtype {value.dtype}", f"one of {names}", TypeError)


def check_tensors(input: Tensor, target: Tensor) -> None:
    check_image("input", input)
    check_image("target", target, LABELS)
    _check.same_device("target", target, "input", input)
    if target.shape[0] != input.shape[0] or target.shape[2:] != input.shape[2:]:
        wanted = ", ".join(map(str, (len(input), "channels", *input.shape[2:])))
        fail("target", f"shape {tuple(target.shape)}", f"({wanted}) beside this input")


def warn_single_channel(option: str, ignored: bool) -> None:
    if ignored and not torch.compiler.is_compiling():
        warn_at_call(f"single-channel input: {option} is ignored")


def warn_at_call(message: str) -> None:
    """Warn at the line that called the loss, whether as a function or through modules."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("surfloss", "torch"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def _are_whole(value: Tensor) -> bool:
    if not value.is_floating_point():
        return True
    # In pieces, so that what `frac` makes stays in a cache.
    flat = value.detach().reshape(-1)
    pieces = torch.split(flat, 2**18 if value.is_cpu else len(flat))
    return all(_extremes(piece.frac()) == (0, 0) for piece in pieces)


def _extremes(value: Tensor) -> tuple[float, float]:
    """The least and the greatest value; NaN if there is one."""
    low, high = value.detach().aminmax()
    return float(low), float(high)
