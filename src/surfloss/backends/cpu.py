"""The C++ library for CPU tensors: allocates, passes pointers, reports errors; csrc/cpu does the rest."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from surfloss import _env
from surfloss._check import fail
from surfloss.backends import _load

_FUNCTIONS = {"squared_edt": 0, "nearest_background": 1, "hausdorff": 2}
_EMPTY = {"zero": 0, "diagonal": 1, "reference": 2}
_ISA = {"baseline": 1, "avx2": 2, "avx512": 3}
_OK, _TOO_LARGE, _SPACING, _NO_MEMORY = range(4)


def squared_edt(mask: Tensor, spacing: list[float], item_spacing: Tensor | None, two_sided: bool) -> Tensor:
    """Squared distance to the nearest zero voxel, or to the other label with `two_sided`."""
    squared = torch.empty(mask.shape, dtype=torch.float32)
    _call("squared_edt", mask.shape, spacing, item_spacing, (mask, squared), (two_sided,))
    return squared


def nearest_background(mask: Tensor, spacing: list[float], item_spacing: Tensor | None) -> Tensor:
    """Index of the nearest zero voxel along each axis; -1 in an item without one."""
    batch, *spatial = mask.shape
    nearest = torch.empty((batch, len(spatial), *spatial), dtype=torch.int32)
    _call("nearest_background", mask.shape, spacing, item_spacing, (mask, nearest), ())
    return nearest


def hausdorff_error(
    input: Tensor,
    target: Tensor,
    target_distance: Tensor | None,
    ignore: Tensor | None,
    alpha: float,
    spacing: list[float],
    item_spacing: Tensor | None,
    empty: str,
) -> tuple[Tensor, Tensor]:
    """Mean of `weight * (input - target)^2` an item, and `weight = d_input^alpha + d_target^alpha`."""
    # Ignored voxels have neither label, which one transform of two labels cannot say: each side goes alone.
    input_sq, target_sq = None, None if target_distance is None else target_distance.square()
    if ignore is not None:
        input_sq = _squared_without(ignore, input > 0.5, spacing, item_spacing)
        if target_sq is None:
            target_sq = _squared_without(ignore, target > 0.5, spacing, item_spacing)
    weight = torch.empty(input.shape, dtype=torch.float32)
    error = torch.zeros(len(input), dtype=torch.float64)
    is_double = input.dtype == torch.float64
    arrays = (input, target, is_double, input_sq, target_sq, ignore, weight, error)
    _call("hausdorff", input.shape, spacing, item_spacing, arrays, (alpha, _EMPTY[empty]))
    return (error / max(1, math.prod(input.shape[1:]))).to(input.dtype), weight


def _squared_without(
    ignore: Tensor, mask: Tensor, spacing: list[float], item_spacing: Tensor | None
) -> Tensor:
    """Two-sided squared distance in which ignored voxels are neither foreground nor background."""
    to_background = squared_edt(mask | ignore, spacing, item_spacing, two_sided=False)
    to_foreground = squared_edt(~mask | ignore, spacing, item_spacing, two_sided=False)
    return torch.where(mask, to_background, to_foreground)


def _call(
    function: str,
    shape: torch.Size,
    spacing: list[float],
    item_spacing: Tensor | None,
    arrays: Sequence[Tensor | int | None],
    options: Sequence[float],
) -> None:
    """Call `surfloss_<function>`; its arguments are the arrays, what every call has, and the options.

    Raises:
        RuntimeError: where the library or the wanted instruction set is missing, or an item is too large.
        ValueError: where squared distances leave float32's range.
        MemoryError: where memory is short.
    """
    library = _load.cpu_library()
    batch, *spatial = shape
    steps = torch.tensor(spacing, dtype=torch.float64) if item_spacing is None else item_spacing.contiguous()
    sizes = torch.tensor(spatial, dtype=torch.int64)
    per_item, threads = item_spacing is not None, torch.get_num_threads()
    items = (batch, len(spatial), sizes.data_ptr())
    size = library.surfloss_scratch_bytes(_FUNCTIONS[function], *items, per_item, threads)
    scratch = torch.empty(max(0, size), dtype=torch.uint8)
    # Named here, so that they live until the call returns.
    contiguous = [value.contiguous() if isinstance(value, Tensor) else value for value in arrays]
    status = getattr(library, f"surfloss_{function}")(
        *(value.data_ptr() if isinstance(value, Tensor) else value for value in contiguous),
        *items, steps.data_ptr(), per_item, *options, threads, _requested_isa(), scratch.data_ptr(),
    )  # fmt: skip
    if status == _TOO_LARGE:
        wanted = f"at most {2**31 - 1} voxels an item"
        fail("mask" if function != "hausdorff" else "input", f"items of shape {tuple(spatial)}", wanted)
    if status == _SPACING:
        wanted = "steps whose squares, and that of the whole extent, are within float32's range"
        fail("spacing", steps.tolist(), wanted)
    if status == _NO_MEMORY:
        raise MemoryError(f"no memory for threads on items of shape {tuple(spatial)}")
    if status != _OK:
        wanted = "an instruction set of this processor"
        fail("SURFLOSS_CPU_ISA", repr(_env.requested_isa()), wanted, RuntimeError)


def _requested_isa() -> int:
    name = _env.requested_isa()
    if name is None:
        return 0
    if name not in _ISA:
        fail("SURFLOSS_CPU_ISA", repr(name), f"one of {', '.join(_ISA)}")
    return _ISA[name]
