"""Maps of targets in MONAI's pipelines."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("monai")

from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import (
    Compose,
    RandAffined,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandSpatialCropd,
    SpatialPadd,
)

from surfloss import BoundaryLoss, HausdorffDTLoss
from surfloss.transforms import TargetDistance
from surfloss.transforms.monai import TargetDistanced
from tests.losses.fields import assert_agrees, result

SPACING = (3.0, 0.5, 0.7)


def volume(seed: int = 0, size: tuple[int, ...] = (12, 24, 24)) -> dict[str, Any]:
    """An image and labels of three classes with a header, as MONAI's loading transforms leave them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(1, *size)
    labels[:, 2:9, 4:20, 3:15] = 1
    labels[:, 4:8, 8 + seed : 16, 6:12] = 2
    affine = torch.diag(torch.tensor([*SPACING, 1.0], dtype=torch.float64))
    image = labels + torch.randn(labels.shape, generator=generator)
    return {name: MetaTensor(value, affine=affine) for name, value in (("image", image), ("label", labels))}


def test_adds_the_map_of_each_key() -> None:
    data = volume()
    data["other"] = (data["label"] > 0).as_tensor().numpy()
    result = TargetDistanced(["label", "other"], include_background=True)(
        data | {"label": torch.cat([data["label"] == k for k in range(3)])}
    )
    assert set(result) == {*data, "label_distance", "other_distance"}
    assert isinstance(result["other_distance"], np.ndarray)
    right = TargetDistance()(torch.from_numpy(data["other"])[None])[0]
    np.testing.assert_array_equal(result["other_distance"], right)
    assert result["label_distance"].shape == (3, 12, 24, 24)
    assert result["label_distance"].dtype == torch.float32


def test_keeps_the_header_and_reads_its_spacing() -> None:
    data = volume()
    in_mm = TargetDistanced("label", num_classes=3, spacing="pixdim", postfix="map")(data)["label_map"]
    assert isinstance(in_mm, MetaTensor)
    assert torch.equal(in_mm.affine, data["label"].affine)
    right = TargetDistance(num_classes=3, spacing=SPACING)(data["label"].as_tensor()[None])[0]
    assert torch.equal(in_mm.as_tensor(), right)
    given = TargetDistanced("label", num_classes=3, spacing=SPACING)(data)["label_distance"]
    assert torch.equal(given.as_tensor(), right)
    plane = {"label": data["label"][:, 5]}
    in_mm = TargetDistanced("label", num_classes=3, spacing="pixdim")(plane)["label_distance"]
    assert torch.equal(in_mm, TargetDistance(num_classes=3, spacing=SPACING[:2])(plane["label"][None])[0])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("form", ["two_sided", "signed"])
def test_loader_with_random_crops(workers: int, form: Any) -> None:
    """The loss with the maps is the loss of the crops, whichever they are."""
    both = ["image", "label"]
    transforms = Compose(
        [
            RandFlipd(both, prob=0.5, spatial_axis=1),
            RandAffined(both, prob=1.0, rotate_range=0.3, scale_range=0.2, mode=("bilinear", "nearest")),
            RandSpatialCropd(both, (8, 16, 16), random_size=False),
            TargetDistanced("label", form=form, num_classes=3),
        ]
    ).set_random_state(1)
    loader = DataLoader(Dataset([volume(i) for i in range(4)], transforms), batch_size=2, num_workers=workers)
    make = HausdorffDTLoss if form == "two_sided" else BoundaryLoss
    loss = make(softmax=True, to_onehot_y=True)
    batches = list(loader)
    assert len(batches) == 2
    for batch in batches:
        logits = torch.randn(2, 3, 8, 16, 16)
        target, distance = batch["label"], batch["label_distance"]
        assert distance.shape == (2, 2, 8, 16, 16)
        given = result(loss, logits, target, target_distance=distance)
        assert_agrees(given, result(loss, logits, target), 2e-6)


def test_several_crops_of_a_volume() -> None:
    both = ["image", "label"]
    crops = Compose(
        [
            RandCropByPosNegLabeld(both, "label", (6, 12, 12), num_samples=3),
            TargetDistanced("label", num_classes=3),
        ]
    )(volume())
    for crop in crops:
        right = TargetDistance(num_classes=3)(crop["label"].as_tensor()[None])[0]
        assert torch.equal(crop["label_distance"].as_tensor(), right)


def test_flips_behind_it_move_map_and_target_together() -> None:
    keys = ["image", "label", "label_distance"]
    distanced = TargetDistanced("label", num_classes=3, form="signed")
    flipped = Compose([distanced, RandFlipd(keys, prob=1.0, spatial_axis=2)])(volume())
    right = distanced({"label": flipped["label"]})["label_distance"]
    assert torch.equal(flipped["label_distance"].as_tensor(), right.as_tensor())


def test_what_moves_the_target_alone_is_refused_by_the_loss() -> None:
    distanced = TargetDistanced("label", num_classes=3, form="signed")
    loss = BoundaryLoss(softmax=True, to_onehot_y=True)
    later = {
        "wrong sign": RandFlipd("label", prob=1.0, spatial_axis=2),
        "shape": SpatialPadd("label", (12, 24, 30)),
    }
    for message, transform in later.items():
        data = Compose([distanced, transform])(volume())
        target = data["label"][None]
        with pytest.raises(ValueError, match=f"^target_distance: got (the )?{message}"):
            loss(torch.randn(1, 3, *target.shape[2:]), target, target_distance=data["label_distance"][None])


def test_refuses_bad_data_by_name() -> None:
    distanced = TargetDistanced("label", num_classes=3)
    with pytest.raises(KeyError, match=r"keys: got 'label', wanted keys of the data: 'image'"):
        distanced({"image": 1})
    assert TargetDistanced("label", allow_missing_keys=True)({"image": 1}) == {"image": 1}
    for value, error, message in (
        ("file.nii", TypeError, "got str, wanted a torch.Tensor"),
        (torch.zeros(4, 4), ValueError, r"got shape \(1, 4, 4\), wanted "),
        (torch.zeros(2, 4, 4), ValueError, r"got 2 channels, wanted 1 of labels \(num_classes=3\)"),
        (np.full((1, 4, 4), 0.5), ValueError, r"got the values \[0.5\], wanted whole labels from 0 to 2"),
        (Tensor([[[[7.0]]]]), ValueError, r"got the values \[7.0\], wanted whole labels from 0 to 2"),
    ):
        with pytest.raises(error, match=rf"^data\['label'\]: {message}"):
            distanced({"label": value})
    with pytest.raises(
        TypeError, match=r"^data\['label'\]: got Tensor, wanted a MetaTensor, for spacing='pixdim'$"
    ):
        TargetDistanced("label", spacing="pixdim")({"label": torch.zeros(1, 4, 4)})


def test_refuses_options_when_it_is_made() -> None:
    with pytest.raises(ValueError, match=r"^form: got 'both', wanted one of two_sided, signed$"):
        TargetDistanced("label", form="both")
    with pytest.raises(
        ValueError, match=r"^spacing: got 'header', wanted None, a voxel size in mm, or 'pixdim'$"
    ):
        TargetDistanced("label", spacing="header")
    with pytest.raises(TypeError, match="classes"):
        TargetDistanced("label", classes=3)
