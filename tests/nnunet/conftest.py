"""Small data sets in the challenge's layout."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

AFFINE = np.diag([0.5, 0.5, 5.0, 1.0])


def save(path: Path, array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any] = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Four good cases: 001 to 004."""
    folder = tmp_path / "instance"
    rng = np.random.default_rng(0)
    for number in range(1, 5):
        label = np.zeros((12, 10, 4), np.uint8)
        label[3:7, 4:8, 1:3] = 1
        image = rng.normal(30, 40, label.shape) + 40 * label
        save(folder / "data" / f"{number:03}.nii.gz", image.astype(np.float32))
        save(folder / "label" / f"{number:03}.nii.gz", label)
    return folder
