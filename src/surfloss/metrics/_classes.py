"""The classes of a segmentation, and the mask of each from labels or from one-hot channels."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from surfloss import _check
from surfloss._check import NumbersLike, fail
from surfloss.metrics import _masks


class Classes:
    """All classes, background first, and those of them that are measured.

    Args:
        classes: their names, or their number, which stands for the names "0", "1" and so on.
        include_background: whether the first one is measured.
        ignore_index: value of the target's labels in voxels that belong to no mask; None for no such value.

    Raises:
        ValueError: on fewer than two classes, names that are not different strings, or an ignored value that
            is no whole number of 32 bits.
    """

    def __init__(
        self, classes: int | Sequence[str], include_background: bool, ignore_index: int | None
    ) -> None:
        names: Sequence[str] = ()
        if _check.is_whole(classes):
            names = [str(index) for index in range(classes)]  # type: ignore[arg-type]
        elif isinstance(classes, Sequence) and not isinstance(classes, str):
            names = classes
        if not all(isinstance(name, str) for name in names) or not 2 <= len(names) == len(set(names)):
            fail("classes", repr(classes), "a number of at least 2, or that many names, background first")
        self.count = len(names)
        self.measured = {name: index for index, name in enumerate(names) if index or include_background}
        ignored = self.ignore_index = _check.plain(ignore_index)
        if ignored is not None and not (_check.is_whole(ignored) and abs(ignored) < 2**31):
            # In a comparison with integers of 32 bits a larger one would wrap around.
            fail("ignore_index", repr(ignore_index), "a whole number of 32 bits, or None")

    def tolerances(self, tolerance: float | NumbersLike | Mapping[str, float]) -> list[float]:
        """One tolerance for each measured class."""
        given: Any = _check.plain(tolerance)
        wanted = f"a number, or one for each of {', '.join(self.measured)}"
        if isinstance(given, Mapping):
            by_name = {str(name): value for name, value in given.items()}
            if by_name.keys() != self.measured.keys():
                fail("tolerance", dict(given), wanted)
            given = [by_name[name] for name in self.measured]
        values = list(given) if isinstance(given, Sequence) else [given] * len(self.measured)
        if len(values) != len(self.measured):
            fail("tolerance", values, wanted)
        return [_check.not_negative("tolerance", value) for value in values]

    def pairs(self, prediction: Tensor, target: Tensor, dims: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The two masks of each measured class in one case, bool of shape `(*spatial)`.

        Args:
            prediction, target: labels of shape `(*spatial)` or `(1, *spatial)`, or channels of 0 and 1 of
                shape `(classes, *spatial)`.
            dims: number of spatial axes.

        Raises:
            TypeError, ValueError: on a case of another form.
        """
        found = self._checked("prediction", prediction, dims)
        true = self._checked("target", target, dims)
        if found.shape[-dims:] != true.shape[-dims:]:
            wanted = f"that of target, {tuple(true.shape[-dims:])}"
            fail("prediction", f"spatial shape {tuple(found.shape[-dims:])}", wanted)
        kept = None if self.ignore_index is None else true != self.ignore_index
        for index in self.measured.values():
            masks = [_mask(case, index, dims) for case in (found, true)]
            if kept is not None:
                masks = [mask & kept.to(mask.device) for mask in masks]
            yield masks[0], masks[1]

    def _checked(self, argument: str, case: Tensor, dims: int) -> Tensor:
        """Labels of shape `(*spatial)`, or channels of shape `(classes, *spatial)`, of known values only."""
        _check.mask(argument, case)
        case = case.detach().as_subclass(Tensor)  # MONAI's tensors are slow
        channels = case.ndim == dims + 1 and len(case) == self.count
        if case.ndim == dims + 1 and len(case) == 1:
            case = case[0]
        elif not channels and case.ndim != dims:
            wanted = f"{dims} spatial axes, or one axis before them of 1 (labels) or {self.count} (one-hot)"
            fail(argument, f"a case of shape {tuple(case.shape)}", wanted)
        ignores = argument == "target" and self.ignore_index is not None
        if channels and ignores:
            got = f"{self.count} channels and ignore_index={self.ignore_index}"
            fail(argument, got, "labels, since channels have no value for ignored voxels")
        if case.dtype.itemsize < 4 and not case.is_floating_point():
            case = case.int()  # in 8 bits a comparison with 256 would wrap around
        known = {0, 1} if channels else {*range(self.count), *([self.ignore_index] if ignores else [])}
        unknown = torch.ones_like(case, dtype=torch.bool)
        for value in known:
            unknown &= case != value
        if unknown.any():
            wanted = f"0 and 1 in each of {self.count} channels: one-hot after argmax, or a threshold"
            if not channels:
                wanted = f"labels from 0 to {self.count - 1}" + f" or {self.ignore_index}" * ignores
            fail(argument, f"values {_masks.examples(case[unknown])}", wanted)
        return case


def _mask(case: Tensor, index: int, dims: int) -> Tensor:
    return case[index] != 0 if case.ndim > dims else case == index
