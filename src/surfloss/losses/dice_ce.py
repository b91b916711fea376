"""Dice + cross-entropy with the values of nnU-Net v2."""

import torch
import torch.nn.functional as F
from torch import Tensor

from surfloss._check import fail, not_negative, plain
from surfloss.losses._options import LossModule
from surfloss.losses._prepare import (
    check_flags,
    check_ignore_index,
    check_tensors,
    check_values,
    full_precision,
    holds_labels,
    onehot,
    warn_single_channel,
    without_ignored,
)
from surfloss.ops.processes import sum_over_processes


def dice_ce_loss(
    input: Tensor,
    target: Tensor,
    *,
    sigmoid: bool = False,
    softmax: bool = True,
    to_onehot_y: bool | None = None,
    include_background: bool | None = None,
    batch: bool = False,
    smooth: float = 1e-5,
    weight_dice: float = 1.0,
    weight_ce: float = 1.0,
    ignore_index: int | None = None,
    ddp: bool = False,
    validate: bool | None = None,
) -> Tensor:
    """nnU-Net v2's Dice + CE, whose Dice part is negative: `DiceCELoss` as a function, with its arguments.

    Raises:
        TypeError, ValueError: on an argument of another form, and on an empty batch.
        RuntimeError: on `ddp` without a process group.
    """
    check_flags({"sigmoid": sigmoid, "softmax": softmax, "to_onehot_y": to_onehot_y, "batch": batch})
    check_flags({"include_background": include_background, "ddp": ddp, "validate": validate})
    softmax = softmax and not sigmoid
    smooth, weight_dice, weight_ce = (plain(value) for value in (smooth, weight_dice, weight_ce))
    _check_options(sigmoid, softmax, smooth, weight_dice, weight_ce, ignore_index)
    check_tensors(input, target)
    channels = input.shape[1]
    if not len(input):
        fail("input", "an empty batch", "one item or more: the mean of nothing is NaN")
    if softmax and channels == 1:
        fail("input", "one channel", "a channel for each class, or sigmoid=True")
    if channels == 1:
        warn_single_channel("to_onehot_y=True", to_onehot_y is True)
        to_onehot_y = False
    labels = holds_labels(target, channels, to_onehot_y)
    input, target, ignore = without_ignored(input, target, ignore_index, labels)
    check_values(input, target, channels if labels else None, validate, probabilities=False)
    logits = full_precision(input)
    g = (onehot(target, channels) if labels else target).to(logits.dtype)
    counted = None if ignore is None else (~ignore).to(logits.dtype)

    if sigmoid:
        p = torch.sigmoid(logits)
        entropy = F.binary_cross_entropy_with_logits(logits, g, reduction="none")
    else:
        p = torch.softmax(logits, 1)
        entropy = -(torch.log_softmax(logits, 1) * g).sum(1, keepdim=True)
    if counted is None:
        ce = entropy.mean()
    else:
        ce = (entropy * counted).sum() / counted.sum().clamp_min(1)
        p, g = p * counted, g * counted

    if include_background is None:
        include_background = sigmoid
    if channels == 1:
        warn_single_channel("include_background=False", not include_background)
    elif not include_background:
        p, g = p[:, 1:], g[:, 1:]
    sums = torch.stack([(p * g).flatten(2).sum(2), p.flatten(2).sum(2), g.flatten(2).sum(2)])
    if batch:
        sums = sums.sum(1)
        if ddp:
            if not torch.distributed.is_initialized():
                wanted = "torch.distributed.init_process_group"
                fail("ddp", "True without a process group", wanted, RuntimeError)
            sums = sum_over_processes(sums)
    overlap, predicted, true = sums
    dice = (2 * overlap + smooth) / (predicted + true + smooth).clamp_min(1e-8)
    loss: Tensor = weight_ce * ce - weight_dice * dice.mean()
    return loss


class DiceCELoss(LossModule):
    """nnU-Net v2's Dice + CE, weight_ce * CE - weight_dice * Dice: the Dice part is negative.

    The value equals that of nnU-Net's `DC_and_CE_loss` (Isensee et al. 2021), and may be below 0, where
    MONAI's `DiceCELoss` takes 1 - Dice. Dice is the mean of the channels' soft Dice (Drozdzal et al. 2016),
    (2 sum(p g) + smooth) / (sum(p) + sum(g) + smooth). With `sigmoid` the channels are independent and CE is
    binary: nnU-Net's `DC_and_BCE_loss`. An empty target with an empty prediction has Dice 1. Arguments go by
    name alone: MONAI's loss of this name has them in another order.

    Args:
        sigmoid, softmax: which makes the logits probabilities; `sigmoid` goes before `softmax`.
        to_onehot_y: True if the target must hold labels, False if it must hold channels; None to tell by its
            shape.
        include_background: whether channel 0 counts in Dice; None for nnU-Net's choice: with `sigmoid` only.
            A single channel always does.
        batch: one Dice over the batch instead of one per item (nnU-Net's `batch_dice`).
        smooth: added above and below the fraction.
        ignore_index: label of voxels that count in neither term. As in nnU-Net, the binary CE is then the sum
            over channels of the mean over the other voxels, where without it it is the mean over both.
        ddp: with `batch`, take the Dice over the batches of all processes of `torch.distributed`.
        validate: read the values to refuse NaN, infinity and unknown labels: None for CPU tensors only.
    """

    def __init__(
        self,
        *,
        sigmoid: bool = False,
        softmax: bool = True,
        to_onehot_y: bool | None = None,
        include_background: bool | None = None,
        batch: bool = False,
        smooth: float = 1e-5,
        weight_dice: float = 1.0,
        weight_ce: float = 1.0,
        ignore_index: int | None = None,
        ddp: bool = False,
        validate: bool | None = None,
    ) -> None:
        super().__init__(dice_ce_loss, locals())
        _check_options(sigmoid, softmax, smooth, weight_dice, weight_ce, ignore_index)


def _check_options(
    sigmoid: bool, softmax: bool, smooth: float, weight_dice: float, weight_ce: float, ignore_index: object
) -> None:
    check_ignore_index(ignore_index)
    if not (sigmoid or softmax):
        fail("sigmoid and softmax", "both False", "one of them True: the input holds logits")
    for name, value in (("smooth", smooth), ("weight_dice", weight_dice), ("weight_ce", weight_ce)):
        not_negative(name, value)
