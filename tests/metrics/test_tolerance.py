"""A surface exactly on the tolerance is within it, whatever the spacing and the form in which it comes."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from surfloss import metrics

SPACINGS = [round(0.05 + 0.01 * n, 2) for n in range(496)]
FORMS = {
    "numbers": lambda s: (5.0, s, s),
    "three steps": lambda s: (5.0, 0.7, s),
    "float32 tensor": lambda s: torch.tensor([5.0, s, s]),
    "float32 scalars": lambda s: [np.float32(5), np.float32(s), np.float32(s)],
    "MONAI's pixdim of a batch": lambda s: [torch.tensor([5.0, s, s]).double()],
}


def moved(voxels: int) -> tuple[np.ndarray, np.ndarray]:
    """A box, and the same so many voxels further along the last axis."""
    target = np.zeros((3, 3, 12), bool)
    target[1, 1, 1:7] = True
    return np.roll(target, voxels, axis=2), target


@pytest.mark.parametrize("form", FORMS)
def test_moved_by_the_tolerance_and_by_a_voxel_more(form: str) -> None:
    wrong = []
    for step in SPACINGS:
        by = [metrics.surface_distances(*moved(n), spacing=FORMS[form](step)) for n in range(1, 5)]
        for voxels in (1, 2, 3):
            for tolerance in {voxels * step, round(voxels * step, 2), float(np.float32(voxels * step))}:
                if by[voxels - 1].dice(tolerance) != 1 or by[voxels].dice(tolerance) == 1:
                    wrong.append((step, tolerance))
    assert not wrong


@pytest.mark.parametrize("step", [0.3, 0.42, 0.6, 0.8, 1.1, 1.2, 0.488281])
def test_every_function_and_format(step: float, tmp_path: Path) -> None:
    for voxels in (1, 2, 3):
        for by in (voxels, voxels + 1):
            masks = moved(by)
            for name, mask in zip(("predictions", "targets"), masks, strict=True):
                (tmp_path / name).mkdir(exist_ok=True)
                image = nibabel.Nifti1Image(mask.T.astype(np.uint8), np.diag([step, step, 5.0, 1.0]))
                nibabel.save(image, tmp_path / name / "case.nii.gz")
            options = {"spacing": torch.tensor([5.0, step, step]), "tolerance": voxels * step}
            folders = metrics.evaluate_folders(
                tmp_path / "predictions", tmp_path / "targets", tolerance=voxels * step
            )
            scores = [
                metrics.surface_dice(*masks, **options),
                metrics.evaluate(*masks, **options).surface_dice,
                metrics.per_lesion(*masks, **options).lesions[0].surface_dice,
                folders.cases[0].values["surface_dice"],
            ]
            assert [score == 1 for score in scores] == [by == voxels] * 4, (voxels, by)


def test_boundary_iou_counts_a_voxel_exactly_its_width_inside() -> None:
    target = np.zeros((12, 12), bool)
    target[1:11, 1:11] = True
    ring = target.copy()
    ring[4:8, 4:8] = False  # all within three voxels of the outside
    for step in SPACINGS:
        for width in (3 * step, round(3 * step, 2)):
            got = metrics.boundary_iou(target, ring, spacing=np.float32(step), width=width)
            assert got == 1, step
