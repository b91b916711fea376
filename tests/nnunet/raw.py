"""Small data sets with a `dataset.json`, in nnU-Net's layout and the Decathlon's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from skimage import io

from tests.nnunet.conftest import save


def describe(folder: Path, **description: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(description))


def description_of(folder: Path) -> dict[str, Any]:
    description: dict[str, Any] = json.loads((folder / "dataset.json").read_text())
    return description


def write_planes(folder: Path, cases: int = 4, size: int = 48) -> Path:
    """Colour pictures with a square of class 1 and a disc of class 2."""
    rng = np.random.default_rng(0)
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    y, x = np.indices((size, size))
    for number in range(cases):
        label = np.zeros((size, size), np.uint8)
        top, left = rng.integers(4, size // 3, 2)
        label[top : top + 12, left : left + 10] = 1
        label[(y - 34) ** 2 + (x - 30 - number) ** 2 < 49] = 2
        image = rng.normal(60, 15, (size, size, 3)) + 60.0 * label[..., None] * [1, 0.5, 0]
        io.imsave(folder / "imagesTr" / f"cell_{number}_0000.png", image.clip(0, 255).astype(np.uint8))
        io.imsave(folder / "labelsTr" / f"cell_{number}.png", label, check_contrast=False)
    describe(
        folder,
        channel_names={"0": "R", "1": "G", "2": "B"},
        labels={"background": 0, "square": 1, "disc": 2},
        numTraining=cases,
        file_ending=".png",
    )
    return folder


def write_volumes(folder: Path, cases: int = 4, tests: int = 2) -> Path:
    """Two channels, a core in a shell as two regions, ignored voxels, and a test part."""
    rng = np.random.default_rng(1)
    z, y, x = np.indices((12, 20, 24))
    for part, count in (("Tr", cases), ("Ts", tests)):
        for number in range(count):
            distance = np.hypot(np.hypot(2 * (z - 6), y - 10), x - 10 - number)
            label = (distance < 8).astype(np.uint8) + (distance < 5)
            image = rng.normal(0, 0.2, (2, *label.shape)) + np.stack([label, label == 2])
            label[0] = 3
            affine = np.diag([1.0, 1.0, 2.0, 1.0])
            for channel in range(2):
                file = folder / f"images{part}" / f"{part}{number}_{channel:04}.nii.gz"
                save(file, image[channel].astype(np.float32).T, affine)
            save(folder / f"labels{part}" / f"{part}{number}.nii.gz", label.T, affine)
    describe(
        folder,
        channel_names={"0": "T1", "1": "T2"},
        labels={"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
        regions_class_order=[1, 2],
        numTraining=cases,
        file_ending=".nii.gz",
    )
    return folder


def write_decathlon(folder: Path, cases: int = 4, channels: int = 1) -> Path:
    """Volumes in the Decathlon's form, with what its archives have beside them."""
    rng = np.random.default_rng(2)
    names = [f"case_{number:03}.nii.gz" for number in range(cases)]
    for number, name in enumerate(names):
        label = np.zeros((12, 10, 8), np.uint8)
        label[3:7, 3 + number % 2 : 8, 2:6] = 1
        label[7:9, 3:8, 2:6] = 2
        shape = label.shape if channels == 1 else (*label.shape, channels)
        image = rng.normal(0, 0.2, shape) + (label if channels == 1 else label[..., None])
        save(folder / "imagesTr" / name, image.astype(np.float32), np.eye(4))
        save(folder / "labelsTr" / name, label, np.eye(4))
        (folder / "imagesTr" / f"._{name}").write_bytes(b"what a Mac leaves behind")
    save(folder / "imagesTr" / "unlabelled.nii.gz", np.zeros((4, 4, 4), np.float32), np.eye(4))
    describe(
        folder,
        name="Things",
        modality={str(channel): "MRI" for channel in range(channels)},
        labels={"0": "background", "1": "front", "2": "back"},
        numTraining=cases,
        training=[{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
        test=[],
    )
    return folder
