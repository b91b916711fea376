"""The target's distances as the losses compute them, ahead of the loss."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from surfloss import _check
from surfloss._check import SpacingLike, fail
from surfloss.losses import _prepare
from surfloss.losses._distance import boundary_map, squared_two_sided
from surfloss.ops._select import check_backend

Form: TypeAlias = Literal["two_sided", "signed"]


@dataclass(frozen=True, kw_only=True, eq=False)  # spacings may be arrays
class TargetDistance:
    """What a loss computes of its target, for its argument `target_distance`.

        distance = TargetDistance(num_classes=3)
        loss(logits, labels, target_distance=distance(labels))

    Give it the options of the loss. The map is that of the volume it gets: of a crop, it knows no boundary
    outside. In a process that another one started, such as a worker of a `DataLoader`, it computes on one
    thread, which is safe after a fork.

    Args:
        form: "two_sided", the distance to the other label, for the Hausdorff losses and
            `GeneralizedSurfaceLoss`; "signed", phi of `BoundaryLoss`, negative inside.
        num_classes: how many classes the labels of a target have, the background included: the loss has
            `to_onehot_y`. None for a target in channels of 0 and 1.
        include_background: whether channel 0 has a map; a single channel always does.
        ignore_index: label of voxels that belong to neither side.
        spacing: voxel size in mm, shared or per item, see `surfloss.edt`; None for distances in voxels.
        backend: who computes the distances; None for the fastest on the target's device.

    Raises:
        TypeError, ValueError: on an option of another form.
    """

    form: Form = "two_sided"
    num_classes: int | None = None
    include_background: bool = False
    ignore_index: int | None = None
    spacing: SpacingLike = None
    backend: str | None = None

    def __post_init__(self) -> None:
        _prepare.check_choice("form", self.form, Form)
        if self.num_classes is not None:
            _check.whole("num_classes", self.num_classes, 2)
        _prepare.check_flags({"include_background": self.include_background})
        _prepare.check_ignore_index(self.ignore_index)
        _check.plain_spacing(self.spacing)
        check_backend("backend", self.backend)

    def __call__(self, target: Tensor, *, spacing: SpacingLike = None, argument: str = "target") -> Tensor:
        """The map of a target.

        Args:
            target: labels `(batch, 1, *spatial)` with `num_classes`, otherwise channels of 0 and 1
                `(batch, channels, *spatial)`; 2-D or 3-D, any dtype that the losses take.
            spacing: for this call alone, None for the object's own.
            argument: what an error calls the target.

        Returns:
            float32 `(batch, channels that count, *spatial)`, in mm, or voxels without a spacing; where a
            channel is all foreground or all background, inf, or -inf if "signed" and foreground.

        Raises:
            TypeError, ValueError: on a target of another shape or dtype, labels outside the classes, or a
                spacing that does not fit.
            RuntimeError: if the backend cannot run on the target's device.
        """
        with _one_thread_in_workers():
            mask, ignore = self._masks(target, argument)
            spacing = self.spacing if spacing is None else spacing
            if self.form == "signed":
                return boundary_map(mask, ignore, spacing, self.backend)
            return squared_two_sided(mask, ignore, spacing, self.backend).sqrt()

    def _masks(self, target: Tensor, argument: str) -> tuple[Tensor, Tensor | None]:
        """The channels that count, bool, and the ignored voxels `(batch, 1, *spatial)`."""
        _prepare.check_image(argument, target, _prepare.LABELS)
        holds_labels = self.num_classes is not None
        channels = target.shape[1]
        if holds_labels and channels != 1:
            wanted = f"1 of labels (num_classes={self.num_classes})"
            fail(argument, f"{channels} channels", wanted)
        target = target.detach()
        ignore = _prepare.ignored(target, self.ignore_index, holds_labels)
        if ignore is not None:
            target = target.masked_fill(ignore, 0)
        if _check.can_read(target) and target.numel():
            _prepare.check_classes(argument, target, self.num_classes)
        first = 0 if self.include_background or (channels == 1 and not holds_labels) else 1
        if self.num_classes is not None:
            return _prepare.onehot(target, self.num_classes, first), ignore
        return target[:, first:] > 0.5, ignore


@contextmanager
def _one_thread_in_workers() -> Iterator[None]:
    """PyTorch's threads do not survive a fork; and workers side by side have a core each."""
    threads = torch.get_num_threads()
    if multiprocessing.parent_process() is None or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
