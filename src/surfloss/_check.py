"""Argument checks. Every error names the argument, what was got and what is wanted.

Checks that read values (NaN, sign) would make a GPU wait for the host and would break a compiled graph, so
`can_read` decides whether they run; checks of shapes and types always do.
"""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple, NoReturn, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch._subclasses import FakeTensor

NumbersLike: TypeAlias = Sequence[float] | npt.NDArray[Any] | Tensor
_OfOneItem: TypeAlias = float | NumbersLike
SpacingLike: TypeAlias = _OfOneItem | Sequence[_OfOneItem] | None

_MASK_DTYPES = frozenset(
    {torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64}
    | {torch.int8, torch.int16, torch.int32, torch.int64}
    | {torch.float16, torch.bfloat16, torch.float32, torch.float64}
)

# How many digits the shortest decimal of a value may need, down to as many as any decimal keeps.
_DIGITS = {torch.float32: (9, 8, 7, 6), torch.float16: (5, 4, 3), torch.bfloat16: (4, 3, 2)}

# How far above a tolerance, relative to it, a distance still counts as within. Both may come from float32,
# which errs by up to 6e-8, and the losses' squared distances are off by up to 2 units in its last place.
_ROUNDING = 5e-7

_POSITIVE = "positive finite numbers (mm)"


class Steps(NamedTuple):
    """The size of a voxel along each spatial axis, in mm or voxels: of all items, or of each its own."""

    shared: list[float]  # (dims,)
    per_item: Tensor | None  # float64 (items, dims); replaces `shared`


def fail(argument: str, got: object, wanted: str, error: type[Exception] = ValueError) -> NoReturn:
    """Raise the one form of error that this library has."""
    raise error(f"{argument}: got {got}, wanted {wanted}")


def can_read(tensor: Tensor, validate: bool | None = None) -> bool:
    """Whether values may be looked at: `validate` where given, else on eager CPU tensors only."""
    if torch.compiler.is_compiling() or isinstance(tensor, FakeTensor) or tensor.is_meta:
        return False
    if in_transform() and torch._C._functorch.is_batchedtensor(tensor):
        return False
    return tensor.device.type == "cpu" if validate is None else validate


def in_transform() -> bool:
    """Whether a transform of `torch.func` is at work; the compiler does not tell."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


class WrongValues(ValueError):
    """An operator met values that it was told to refuse. Its caller names the argument."""


def is_plain(*tensors: Tensor | None) -> bool:
    """Whether PyTorch just computes: no compiler, tracer, transform or mode; tensors are their memory.

    A default device is a mode too. A subclass, a meta tensor and a negative view are not their memory alone.
    """
    return not (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or in_transform()
        or torch._C._len_torch_function_stack()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._dispatch_tls_is_dispatch_key_included(torch._C.DispatchKey.PreDispatch)
        or not all(map(_is_memory, tensors))
    )


def _is_memory(tensor: Tensor | None) -> bool:
    plain_type = type(tensor) in (Tensor, torch.nn.Parameter)
    return tensor is None or (plain_type and not tensor.is_meta and not tensor.is_neg())


def no_vmap(argument: str, value: Tensor) -> None:
    """`torch.func.vmap` hides an axis of its tensors, for which no operator here has a rule."""
    if not in_transform():
        return
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(value):
        if functorch.is_batchedtensor(value):
            fail(argument, "a tensor in torch.func.vmap", "one whose first axis is the batch", RuntimeError)
        value = functorch.get_unwrapped(value)


def has_array(tensor: Tensor) -> bool:
    """Whether NumPy may compute with its values, and knows their dtype well.

    PyTorch's threads do not survive a fork: an operation that calls for them waits for ever. NumPy has none.
    """
    is_half = tensor.dtype in (torch.float16, torch.bfloat16)
    return can_read(tensor) and not is_half and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def is_real(value: object) -> TypeGuard[float]:
    """Whether it is a number of Python or NumPy, and no bool."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether it is an integer of Python or NumPy, and no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """Numbers of NumPy and PyTorch as Python's, alone or as a tuple; anything else as it is."""
    if isinstance(value, (np.generic, np.ndarray, Tensor)):
        value = value.tolist()
    return tuple(map(plain, value)) if isinstance(value, (list, tuple, range)) else value


def whole(argument: str, value: Any, least: int) -> int:
    value = plain(value)
    if not (is_whole(value) and value >= least):
        fail(argument, repr(value), f"a whole number of at least {least}")
    return int(value)


def positive(argument: str, value: Any) -> float:
    value = plain(value)
    if not (is_real(value) and 0 < value < math.inf):
        fail(argument, repr(value), "a finite number above 0")
    return float(value)


def not_negative(argument: str, value: Any) -> float:
    value = plain(value)
    if not (is_real(value) and 0 <= value < math.inf):
        fail(argument, repr(value), "a finite number, at least 0")
    return float(value)


def numbers(argument: str, values: NumbersLike) -> tuple[float, ...]:
    """One or more finite numbers of at least 0."""
    found = plain(values)
    if not (isinstance(found, tuple) and found and all(is_real(v) and 0 <= v < math.inf for v in found)):
        fail(argument, repr(values), "a sequence of finite numbers of at least 0")
    return tuple(map(float, found))


def limit(argument: str, tolerance: Any) -> float:
    """The largest computed distance that counts as within a tolerance: a surface exactly on it does."""
    return not_negative(argument, tolerance) * (1 + _ROUNDING)


def tensor(argument: str, value: object) -> None:
    if not isinstance(value, Tensor):
        fail(argument, type(value).__name__, "a torch.Tensor", TypeError)


def same_device(argument: str, value: Tensor, other: str, reference: Tensor) -> None:
    if value.device != reference.device:
        fail(argument, f"a tensor on {value.device}", f"one on the device of {other}, {reference.device}")


def spatial_dims(argument: str, dims: int | None, value: Tensor) -> int:
    """How many of the last axes are space: `dims`, or None for all, of which there may then be three."""
    if dims is None:
        if value.ndim > 3:
            wanted = "2 for (B, C, H, W), 3 for (B, C, D, H, W): how many of the last axes are space"
            fail("spatial_dims", f"None with {argument} of shape {tuple(value.shape)}", wanted)
        dims = max(1, value.ndim)
    if not is_whole(dims) or dims not in (1, 2, 3):
        fail("spatial_dims", repr(dims), "1, 2 or 3")
    if value.ndim < dims:
        fail(argument, f"shape {tuple(value.shape)}", f"at least {dims} axes (spatial_dims={dims})")
    return dims


def finite(argument: str, value: Tensor) -> None:
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        bad = int((~torch.isfinite(value)).sum())
        fail(argument, f"{bad} NaN or infinite values of {value.numel()}", "finite values")


def mask(argument: str, value: object) -> None:
    """A tensor whose nonzero values are the foreground: bool, integer, or float without NaN."""
    tensor(argument, value)
    assert isinstance(value, Tensor)
    if value.dtype not in _MASK_DTYPES:
        fail(argument, f"dtype {value.dtype}", "a bool, integer or float mask", TypeError)
    if value.is_floating_point() and can_read(value):
        count = int(np.isnan(value.detach().numpy()).sum() if has_array(value) else value.isnan().sum())
        if count:
            fail(argument, f"{count} NaN of {value.numel()} values", "no NaN")


def labels(argument: str, value: object) -> None:
    """A tensor of labels: bool or integer."""
    tensor(argument, value)
    assert isinstance(value, Tensor)
    if value.dtype not in _MASK_DTYPES or value.is_floating_point():
        fail(argument, f"dtype {value.dtype}", "bool or integer labels", TypeError)


def spacing(
    value: SpacingLike,
    dims: int,
    batch_shape: Sequence[int],
    device: torch.device,
    argument: str = "spacing",
) -> Steps:
    """Bring a spacing into the operators' form.

    Args:
        value: see `surfloss.edt`; of shape `(1, dims)` also for a volume without batch axes. The values of a
            tensor are not read on a GPU or in a compiled graph.
        dims, batch_shape: the number of spatial axes, and the shape before them.
        device: where the operators will read a per-item spacing.
        argument: what the caller's caller calls it.

    Returns:
        The spacing as floats, or as a tensor with an item for each of `prod(batch_shape)`.

    Raises:
        ValueError: on a wrong length or shape, or a value that is not positive and finite.
    """
    value = plain_spacing(value, argument)
    if value is None:
        return Steps([1.0] * dims, None)
    wanted = f"{dims} numbers, one for each spatial axis, or shape (*lead, {dims}) with lead the first axes"
    wanted += f" of the batch shape {tuple(batch_shape)}"
    if isinstance(value, Tensor):
        value = value.to(device) if value.ndim else value.to(device).expand(dims)
        lead, batch = tuple(value.shape[:-1]), tuple(batch_shape)
        if lead == (1,) and not batch:
            batch = lead
        if tuple(value.shape) != (*batch[: len(lead)], dims):
            fail(argument, f"shape {tuple(value.shape)}", wanted)
        value = value.reshape(*lead, *(1,) * (len(batch) - len(lead)), dims)
        return Steps([1.0] * dims, value.expand(*batch, dims).reshape(-1, dims))
    numbers = list(value) if isinstance(value, tuple) else [value] * dims
    if len(numbers) != dims:
        fail(argument, f"{len(numbers)} values {numbers}", wanted)
    return Steps(numbers, None)


def spacing_of_one(value: SpacingLike, dims: int, argument: str = "spacing") -> list[float]:
    """The spacing of a single volume as floats on the host, whichever form it has."""
    shared, own = spacing(value, dims, (), torch.device("cpu"), argument)
    numbers: list[float] = shared if own is None else own[0].tolist()
    return numbers


def decimals(value: Tensor) -> Tensor:
    """The numbers that positive floats of low precision stand for: the shortest decimals that round to them.

    A NIfTI header or a float32 tensor holds 0.30000001192092896 where 0.3 is meant. Nothing is read on the
    host, so that it may be asked of a GPU's tensor and in a compiled graph.

    Args:
        value: any shape and floating or integer dtype.

    Returns:
        float64, the same shape. Values that are not positive and finite stay as they are.
    """
    exact = value.double()
    if value.dtype not in _DIGITS:
        return exact
    decimal = exact
    magnitude = torch.floor(torch.log10(exact))
    for digits in _DIGITS[value.dtype]:
        power = digits - 1 - magnitude
        up, down = 10.0 ** power.clamp(min=0), 10.0 ** (-power).clamp(min=0)  # whole, so that both are exact
        rounded = torch.round(exact * up / down) * down / up
        decimal = torch.where(rounded.to(value.dtype) == value, rounded, decimal)
    return decimal


def plain_spacing(value: SpacingLike, argument: str = "spacing") -> float | tuple[float, ...] | Tensor | None:
    """The spacing as Python's numbers, or as a float64 tensor where it is nested or came in a tensor.

    Values of low precision become what they stand for (`decimals`); they are checked where they may be read.
    """
    if value is None:
        return None
    plain = _plain(value, argument)
    if isinstance(plain, Tensor):
        if can_read(plain) and not bool((torch.isfinite(plain) & (plain > 0)).all()):
            fail(argument, plain.tolist(), _POSITIVE)
        return plain
    numbers = list(plain) if isinstance(plain, tuple) else [plain]
    # A comparison, and no math.isfinite, which a compiled graph cannot take of a number that may change.
    if not all(0 < number < math.inf for number in numbers):
        fail(argument, numbers, _POSITIVE)
    return plain


def _plain(value: object, argument: str) -> float | tuple[float, ...] | Tensor:
    """`plain_spacing` before its values are checked."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = _without_numpy(value)
    if isinstance(value, Tensor):
        no_vmap(argument, value)
        if value.dtype not in _MASK_DTYPES or value.dtype == torch.bool:
            fail(argument, f"dtype {value.dtype}", _POSITIVE)
        return decimals(value.detach())
    if is_real(value):
        return float(value)
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        fail(argument, repr(value), "a number, one for each spatial axis, or such numbers for each item")
    parts = [_plain(part, argument) for part in value]
    numbers = [part for part in parts if isinstance(part, float)]
    if len(numbers) == len(parts):
        return tuple(numbers)
    devices = [part.device for part in parts if isinstance(part, Tensor)]
    device = devices[0] if devices else torch.device("cpu")
    rows = [torch.as_tensor(part, dtype=torch.float64, device=device) for part in parts]
    if len({row.shape for row in rows}) > 1:
        fail(argument, repr(value), "as many numbers for every item")
    return torch.stack(rows)


def _without_numpy(value: npt.NDArray[Any] | np.generic) -> Any:
    """Python's numbers where there is one for each axis at most, else a tensor; no numbers as they are."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        return array.tolist()
    size = min(8, array.dtype.itemsize) if array.dtype.kind == "f" else 8  # PyTorch has no longer floats
    exact = decimals(torch.from_numpy(array.astype(f"f{size}", order="C")))
    return exact if array.ndim > 1 else exact.tolist()
