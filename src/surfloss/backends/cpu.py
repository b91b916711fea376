"""The C++ library for CPU tensors. This module allocates, passes pointers and reports errors.

The algorithms are in csrc/cpu.
"""

import math
from collections.abc import Sequence
from ctypes import CDLL
from typing import NoReturn

import torch
from torch import Tensor

from surfloss import _env
from surfloss._check import Steps, WrongValues, fail, has_array
from surfloss.backends import _load
from surfloss.backends._interface import EMPTY, FORMS, HausdorffArguments

checks_values = True

# Numbers of `surfloss_function`, which determine the size of the scratch memory.
_FUNCTIONS = {
    "edt": 0,
    "label_edt": 0,
    "nearest_background": 1,
    "hausdorff": 2,
    "background_distance": 3,
}
_ISA = {"baseline": 1, "avx2": 2, "avx512": 3}
_OK, _TOO_LARGE, _SPACING, _NO_MEMORY = range(4)


def instruction_sets() -> tuple[str, ...]:
    """The compiled instruction sets that this processor supports, the best last."""
    best = _library().surfloss_best_isa()
    return tuple(name for name, number in _ISA.items() if number <= best)


def edt(mask: Tensor, steps: Steps, form: str, squared: bool) -> Tensor:
    """Distance to the nearest zero voxel ("one_sided"), or to the other label ("two_sided", "signed")."""
    is_float = mask.dtype == torch.float32
    labels = mask if is_float else _as_bytes(mask)
    distance = torch.empty(mask.shape, dtype=torch.float32)
    arrays = (labels, is_float, distance)
    _call("edt", mask.shape, steps, arrays, (FORMS[form], squared))
    return distance


def label_edt(labels: Tensor, steps: Steps, form: str, squared: bool, border: str) -> Tensor:
    """Distance to the nearest voxel of another label."""
    if labels.dtype == torch.bool:  # a bool may be stored as any nonzero byte; make all of them equal
        bytes_ = labels.view(torch.uint8)
        labels = torch.from_numpy(bytes_.numpy() != 0) if has_array(bytes_) else bytes_ != 0
    distance = torch.empty(labels.shape, dtype=torch.float32)
    arrays = (labels, labels.element_size(), distance)
    _call("label_edt", labels.shape, steps, arrays, (FORMS[form], squared, border == "closed"))
    return distance


def nearest_background(mask: Tensor, steps: Steps) -> Tensor:
    """Index of the nearest zero voxel along each axis; -1 in an item without one."""
    return _nearest_background(mask, steps, None)


def background_distance(mask: Tensor, steps: Steps, indices: bool) -> tuple[Tensor, Tensor | None]:
    """Distance to the nearest zero voxel in float64, with `indices` also its index."""
    distance = torch.empty(mask.shape, dtype=torch.float64)
    if indices or max(mask.shape[1:]) > 2**24:  # the distance pass counts steps in float32
        return distance, _nearest_background(mask, steps, distance)
    _call("background_distance", mask.shape, steps, (_as_bytes(mask), distance), ())
    return distance, None


def _nearest_background(mask: Tensor, steps: Steps, distance: Tensor | None) -> Tensor:
    batch, *spatial = mask.shape
    nearest = torch.empty((batch, len(spatial), *spatial), dtype=torch.int32)
    _call("nearest_background", mask.shape, steps, (_as_bytes(mask), nearest, distance), ())
    return nearest


def hausdorff_error(arguments: HausdorffArguments) -> tuple[Tensor, Tensor]:
    """Mean of `weight * (p - g)^2` over an item's voxels, and its gradient."""
    input, target, input_squared, target_squared, ignore, sigmoid, alpha, steps, empty, *_ = arguments
    is_double, byte_target = input.dtype == torch.float64, target.dtype == torch.bool
    gradient = torch.empty_like(input)
    field = torch.empty(input.shape, dtype=torch.float32) if is_double else gradient
    errors = torch.zeros((1 + arguments.with_plain, len(input)), dtype=torch.float64)
    weighted, plain = errors[0], errors[1] if arguments.with_plain else None
    wrong = torch.zeros(2, dtype=torch.uint8)
    arrays = (
        input, target, is_double, byte_target, input_squared, target_squared, ignore, field, gradient,
        weighted, plain, wrong,
    )  # fmt: skip
    lowest, highest = arguments.allowed or (-math.inf, math.inf)
    options = (sigmoid, alpha, arguments.max_distance, lowest, highest, EMPTY[empty])
    _call("hausdorff", input.shape, steps, arrays, options)
    if arguments.allowed is not None and any(wrong.tolist()):
        raise WrongValues
    return (errors / max(1, math.prod(input.shape[1:]))).to(input.dtype), gradient


def contour_map(x: Tensor, ignore: Tensor | None, depth: int) -> tuple[Tensor, Tensor, Tensor]:
    """The contour by pooling, and the ways back to the voxels that each value came from."""
    contour = torch.empty_like(x)
    highest, lowest = (torch.empty(x.shape, dtype=torch.int8) for _ in range(2))
    _call_pooling("contour", x, (ignore, contour, highest, lowest), (depth == 3,))
    return contour, highest, lowest


def contour_map_gradient(grad: Tensor, highest: Tensor, lowest: Tensor, depth: int) -> Tensor:
    """Gradient with respect to the input of `contour_map`."""
    gradient = torch.empty_like(grad)
    _call_pooling("contour_gradient", grad, (highest, lowest, gradient), (depth == 3,))
    return gradient


def surface_map(x: Tensor, ignore: Tensor | None) -> tuple[Tensor, Tensor]:
    """x minus the minimum of x and its face neighbors, and the position of that minimum."""
    surface, lowest = torch.empty_like(x), torch.empty(x.shape, dtype=torch.int8)
    _call_pooling("surface", x, (ignore, surface, lowest))
    return surface, lowest


def surface_map_gradient(grad: Tensor, lowest: Tensor) -> Tensor:
    """Gradient with respect to the input of `surface_map`."""
    gradient = torch.empty_like(grad)
    _call_pooling("surface_gradient", grad, (lowest, gradient))
    return gradient


def _call_pooling(
    function: str, values: Tensor, arrays: Sequence[Tensor | None], options: Sequence[bool] = ()
) -> None:
    """Call `surfloss_<function>` on contiguous values `(batch, z, y, x)` and arrays of that shape.

    Raises:
        RuntimeError: if the processor lacks the requested instruction set.
    """
    library = _library()
    batch, *sizes = values.shape
    is_double, threads = values.dtype == torch.float64, torch.get_num_threads()
    shape = torch.tensor(sizes, dtype=torch.int64)
    size = library.surfloss_contour_scratch_bytes(is_double, sizes[-1], threads)
    scratch = torch.empty(size, dtype=torch.uint8)
    status = getattr(library, f"surfloss_{function}")(
        values.data_ptr(), *(None if array is None else array.data_ptr() for array in arrays),
        is_double, *options, batch, shape.data_ptr(), threads, _requested_isa(), scratch.data_ptr(),
    )  # fmt: skip
    if status != _OK:
        _fail_isa()


def _as_bytes(mask: Tensor) -> Tensor:
    if mask.dtype in (torch.bool, torch.uint8):
        return mask
    return torch.from_numpy(mask.numpy() != 0) if has_array(mask) else mask.bool()


def _call(
    function: str,
    shape: torch.Size,
    steps: Steps,
    arrays: Sequence[Tensor | int | None],
    options: Sequence[float],
) -> None:
    """Call `surfloss_<function>` with the arrays, the common arguments, and the options.

    Raises:
        RuntimeError: if the processor lacks the requested instruction set.
        ValueError: if an item is too large, or squared distances leave the range of float32.
        MemoryError: if the system is out of memory.
    """
    library = _library()
    batch, *spatial = shape
    shared, per_item = steps
    spacing = torch.tensor(shared, dtype=torch.float64) if per_item is None else per_item.contiguous()
    sizes = torch.tensor(spatial, dtype=torch.int64)
    item_spacing, threads = per_item is not None, torch.get_num_threads()
    items = (batch, len(spatial), sizes.data_ptr())
    size = library.surfloss_scratch_bytes(_FUNCTIONS[function], *items, item_spacing, threads)
    scratch = torch.empty(max(0, size), dtype=torch.uint8)
    # Keep references, so that copies live until the call returns.
    contiguous = [value.contiguous() if isinstance(value, Tensor) else value for value in arrays]
    status = getattr(library, f"surfloss_{function}")(
        *(value.data_ptr() if isinstance(value, Tensor) else value for value in contiguous),
        *items, spacing.data_ptr(), item_spacing, *options, threads, _requested_isa(), scratch.data_ptr(),
    )  # fmt: skip
    if status == _TOO_LARGE:
        wanted = f"at most {2**31 - 1} voxels per item"
        argument = {"hausdorff": "input", "label_edt": "labels"}.get(function, "mask")
        fail(argument, f"items of shape {tuple(spatial)}", wanted)
    if status == _SPACING:
        wanted = "steps whose squares, and the squared diagonal of an item, are within float32's range"
        fail("spacing", spacing.tolist(), wanted)
    if status == _NO_MEMORY:
        raise MemoryError(f"no memory for threads on items of shape {tuple(spatial)}")
    if status != _OK:
        _fail_isa()


def _library() -> CDLL:
    library, _ = _load.cpu_library()
    assert library is not None, "the backend is selected only if the library can be used"
    return library


def _fail_isa() -> NoReturn:
    wanted = "an instruction set of this processor"
    fail("SURFLOSS_CPU_ISA", repr(_env.requested_isa()), wanted, RuntimeError)


def _requested_isa() -> int:
    name = _env.requested_isa()
    if name is None:
        return 0
    if name not in _ISA:
        fail("SURFLOSS_CPU_ISA", repr(name), f"one of {', '.join(_ISA)}")
    return _ISA[name]
