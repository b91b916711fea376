"""The target's distances in nnU-Net's pipeline. It needs batchgeneratorsv2 (`surfloss[nnunet]`).

nnU-Net's loader hands on an image and a target, nothing else. So the maps travel as more channels of the
target, from the last of the transforms to a module that takes them off in front of the loss.
"""

from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from torch import Tensor, nn

from surfloss._check import fail, tensor, whole
from surfloss.transforms.distance import TargetDistance

_IGNORED = -1


class TargetDistanceTransform(BasicTransform):  # type: ignore[misc]
    """Appends the maps of a target to its channels, which become float32.

    Put it last: behind everything that moves voxels, and behind `DownsampleSegForDSTransform`, whose every
    resolution gets the maps that the loss would compute of it. `WithTargetDistance` takes them off again.

    Args:
        ignore_channel: the target's last channel marks the voxels to ignore, as nnU-Net's for regions with
            an ignore label.
        options: those of `TargetDistance`. A spacing counts at every resolution, as it does in the loss.

    Raises:
        TypeError, ValueError: on an option of another form.
    """

    def __init__(self, *, ignore_channel: bool = False, **options: Any) -> None:
        super().__init__()
        self.ignore_channel = ignore_channel
        if ignore_channel:
            if "ignore_index" in options:
                fail("ignore_index", repr(options["ignore_index"]), "none beside ignore_channel=True")
            options["ignore_index"] = _IGNORED
        self.distance = TargetDistance(**options)

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """The dictionary with the maps in `segmentation`, a tensor `(channels, *spatial)` or a list of such.

        Raises:
            KeyError: if there is no segmentation.
            TypeError, ValueError: on one of another form: see `TargetDistance`.
        """
        if (target := data_dict.get("segmentation")) is None:
            fail("segmentation", "none", f"one beside {', '.join(map(repr, data_dict))}", KeyError)
        is_list = isinstance(target, list)
        resolutions = [self._with_maps(one) for one in (target if is_list else [target])]
        return data_dict | {"segmentation": resolutions if is_list else resolutions[0]}

    def _with_maps(self, target: Tensor) -> Tensor:
        tensor("segmentation", target)
        regions = target
        if self.ignore_channel:
            regions = target[:-1].to(torch.int8).masked_fill(target[-1:] != 0, _IGNORED)
        return torch.cat([target.float(), self.distance(regions[None], argument="segmentation")[0]])


class WithTargetDistance(nn.Module):
    """Calls a loss with the maps that `TargetDistanceTransform` left in the target.

    A target without maps, as nnU-Net's in validation, goes to the loss as it is, which then computes them.

    Args:
        loss: one with `target_distance`, or a `CompoundLoss`.
        term: the name of the term of a `CompoundLoss` that takes the maps; None for a loss alone.
        target_channels: how many channels a target has without the maps: 1 of labels, or a channel for each
            region, and one for the ignored voxels if there is an ignore label.

    Raises:
        ValueError: if `target_channels` is no whole number of at least 1.
    """

    def __init__(self, loss: nn.Module, term: str | None = None, target_channels: int = 1) -> None:
        super().__init__()
        self.loss = loss
        self.term = term
        self.target_channels = whole("target_channels", target_channels, 1)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of logits `(batch, classes, *spatial)` and a target `(batch, channels, *spatial)`.

        Raises:
            ValueError: if the target has too few channels, beside the errors of the loss.
        """
        tensor("target", target)
        channels = target.shape[1]
        if channels < self.target_channels:
            fail("target", f"{channels} channels", f"at least {self.target_channels} (target_channels)")
        options: dict[str, Any] = {}
        if channels > self.target_channels:
            maps = {"target_distance": target[:, self.target_channels :]}
            options = maps if self.term is None else {self.term: maps}
        value: Tensor = self.loss(input, target[:, : self.target_channels], **options)
        return value
