"""Maps of targets in the pipeline of batchgeneratorsv2, and what takes them to the loss."""

from typing import Any

import pytest
import torch

pytest.importorskip("batchgeneratorsv2")

from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import Tensor

from surfloss import BoundaryLoss, CompoundLoss, DiceCELoss, HausdorffDTLoss
from surfloss.transforms import TargetDistance
from surfloss.transforms.batchgenerators import TargetDistanceTransform, WithTargetDistance

SCALES = [[1, 1, 1], [1, 0.5, 0.5], [0.5, 0.25, 0.25]]
BOTH = {"softmax": True, "to_onehot_y": True}


def sample() -> dict[str, Tensor]:
    """Image and labels 0 to 2 as nnU-Net's loader has them; -1 is outside of the image."""
    labels = torch.zeros(1, 12, 28, 28, dtype=torch.int16)
    labels[:, 2:9, 4:20, 3:15] = 1
    labels[:, 4:8, 8:16, 6:12] = 2
    labels[..., 25:] = -1
    return {"image": torch.randn(1, 12, 28, 28), "segmentation": labels}


def augmentation(*last: Any) -> ComposeTransforms:
    spatial = SpatialTransform(
        (8, 20, 20), patch_center_dist_from_border=0, random_crop=True, p_elastic_deform=0, p_rotation=1,
        rotation=0.3, p_scaling=1, scaling=(0.7, 1.4), p_synchronize_scaling_across_axes=1,
        bg_style_seg_sampling=False, border_mode_seg="constant", padding_value_seg=-1,
    )  # fmt: skip
    return ComposeTransforms([spatial, MirrorTransform((0, 1, 2)), RemoveLabelTansform(-1, 0), *last])


@pytest.mark.parametrize("form", ["two_sided", "signed"])
def test_pipeline_with_deep_supervision(form: Any) -> None:
    """At every resolution the loss with the maps is the loss without."""
    pipeline = augmentation(
        DownsampleSegForDSTransform(SCALES), TargetDistanceTransform(form=form, num_classes=3)
    )
    make = HausdorffDTLoss if form == "two_sided" else BoundaryLoss
    compound = CompoundLoss({"dice_ce": (DiceCELoss(), 1.0), "surface": (make(**BOTH), 0.5)})
    weights = (0.6, 0.3, 0.1)
    with_maps = DeepSupervisionWrapper(WithTargetDistance(compound, "surface"), weights)
    plain = DeepSupervisionWrapper(compound, weights)
    for _ in range(3):
        batch = [pipeline(**sample()) for _ in range(2)]
        targets = [torch.stack(scale) for scale in zip(*(one["segmentation"] for one in batch), strict=True)]
        assert [tuple(t.shape) for t in targets] == [(2, 3, 8, 20, 20), (2, 3, 8, 10, 10), (2, 3, 4, 5, 5)]
        assert all(t.dtype == torch.float32 for t in targets)
        labels = [t[:, :1].to(torch.int16) for t in targets]
        for target, own in zip(targets, labels, strict=True):
            assert torch.equal(target[:, 1:], TargetDistance(form=form, num_classes=3)(own))
        logits = [torch.randn(2, 3, *t.shape[2:]) for t in targets]
        torch.testing.assert_close(with_maps(logits, targets), plain(logits, labels))
        # A target without maps, as in nnU-Net's validation.
        assert torch.equal(with_maps(logits, labels), plain(logits, labels))


def test_one_resolution_and_a_loss_alone() -> None:
    loss = HausdorffDTLoss(**BOTH)
    made = augmentation(TargetDistanceTransform(num_classes=3))(**sample())
    target, logits = made["segmentation"][None], torch.randn(1, 3, 8, 20, 20)
    torch.testing.assert_close(WithTargetDistance(loss)(logits, target), loss(logits, target[:, :1]))
    assert made["image"].shape == (1, 8, 20, 20)


def test_regions_with_an_ignore_label() -> None:
    """Those of nnU-Net: a channel for each region, and one of what is ignored, which has no map."""
    data = sample()
    data["segmentation"][..., 10:13] = 3
    to_regions = ConvertSegmentationToRegionsTransform([(1, 2), 2, 3], channel_in_seg=0)
    own = TargetDistanceTransform(include_background=True, ignore_channel=True)
    target = augmentation(to_regions, own)(**data)["segmentation"]
    assert target.shape == (5, 8, 20, 20)
    regions = target[:2].masked_fill(target[2:3] != 0, 255)[None]
    right = TargetDistance(include_background=True, ignore_index=255)(regions)
    assert torch.equal(target[None, 3:], right)
    loss = HausdorffDTLoss(sigmoid=True, include_background=True, ignore_index=255)

    class Marked(torch.nn.Module):
        def forward(self, input: Tensor, target: Tensor, **options: Any) -> Tensor:
            return loss(input, target[:, :2].masked_fill(target[:, 2:] != 0, 255), **options)

    logits = torch.randn(1, 2, 8, 20, 20)
    value = WithTargetDistance(Marked(), target_channels=3)(logits, target[None])
    torch.testing.assert_close(value, loss(logits, regions))


def test_refuses_bad_data_by_name() -> None:
    transform = TargetDistanceTransform(num_classes=3)
    with pytest.raises(KeyError, match="segmentation: got none, wanted one beside 'image'"):
        transform(image=torch.zeros(1, 4, 4))
    for value, error, message in (
        (sample()["segmentation"], ValueError, r"got the values \[-1\], wanted whole labels from 0 to 2"),
        (torch.full((1, 4, 4), 0.5), ValueError, r"got the values \[0.5\], wanted whole labels from 0 to 2"),
        (torch.zeros(2, 4, 4), ValueError, r"got 2 channels, wanted 1 of labels \(num_classes=3\)"),
        (torch.zeros(4, 4), ValueError, r"got shape \(1, 4, 4\), wanted "),
        ("labels", TypeError, "got str, wanted a torch.Tensor"),
        ([torch.zeros(1, 4, 4), None], TypeError, "got NoneType, wanted a torch.Tensor"),
    ):
        with pytest.raises(error, match=f"^segmentation: {message}"):
            transform(segmentation=value)
    with pytest.raises(ValueError, match=r"^form: got 'both', wanted one of two_sided, signed$"):
        TargetDistanceTransform(form="both")
    with pytest.raises(ValueError, match=r"^ignore_index: got 9, wanted none beside ignore_channel=True$"):
        TargetDistanceTransform(ignore_channel=True, ignore_index=9)
    with pytest.raises(ValueError, match=r"^target: got 1 channels, wanted at least 3 \(target_channels\)$"):
        WithTargetDistance(HausdorffDTLoss(), target_channels=3)(
            torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4)
        )
    with pytest.raises(ValueError, match=r"^target_channels: got 0, wanted "):
        WithTargetDistance(HausdorffDTLoss(), target_channels=0)
