"""The masks: the same every time, at any size, with both labels, and what their names say."""

import nibabel
import numpy as np
import pytest

from surfloss.bench import workloads
from surfloss.bench.workloads import MASKS, VOXELS, Workload
from tests.support import oracles, volumes

SPACING = (5.0, 0.42, 0.42)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("size", [(16, 40, 48), (1, 33, 31), (5, 7, 11)])
def test_masks_have_both_labels_and_never_change(mask: str, size: tuple[int, int, int]) -> None:
    voxels = Workload("edt", size, mask).voxels
    assert voxels.shape == size
    assert voxels.dtype == bool
    assert voxels.flags.c_contiguous
    assert 0 < voxels.mean() < 1
    workloads.make.cache_clear()
    np.testing.assert_array_equal(voxels, workloads.make(mask, size))


def test_masks_are_what_their_names_say() -> None:
    size = (32, 48, 64)
    made = {name: workloads.make(name, size) for name in MASKS}
    assert np.argwhere(made["corner"]).tolist() == [[0, 0, 0]]
    for name in ("noise", "random"):
        assert made[name].mean() == pytest.approx(0.5, abs=0.02), name
    assert 0.01 < made["blobs"].mean() < 0.4
    # Smoothing leaves pieces, so that neighbors mostly agree; without it they agree half of the time.
    agree = {name: (made[name][..., 1:] == made[name][..., :-1]).mean() for name in ("noise", "random")}
    assert agree["noise"] > 0.85
    assert agree["random"] == pytest.approx(0.5, abs=0.02)


def test_files_are_read_in_array_order_with_their_spacing() -> None:
    wanted, spacing = volumes.load("i132")
    edt, loss = workloads.named(["edt", "loss"], [], [], VOXELS, [volumes.DATA / "i132.nii.gz"])
    np.testing.assert_array_equal(edt.voxels, wanted != 0)
    assert (edt.task, edt.mask, edt.size) == ("edt", "i132.nii.gz", wanted.shape)
    assert edt.spacing == pytest.approx(spacing)
    assert (loss.task, loss.spacing) == ("loss", (1, 1, 1))
    assert loss.voxels is edt.voxels


def test_unusable_files_are_refused(tmp_path) -> None:
    (tmp_path / "text.nii.gz").write_text("no image")
    nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4)).to_filename(tmp_path / "empty.nii")
    nibabel.Nifti1Image(np.ones((4, 5, 6, 2), np.uint8), np.eye(4)).to_filename(tmp_path / "series.nii")
    whole = (tmp_path / "empty.nii").read_bytes()
    (tmp_path / "cut.nii").write_bytes(whole[:400])
    for name, message in {
        "missing.nii": "No such file or directory.*wanted a whole NIfTI volume",
        "text.nii.gz": "wanted a whole NIfTI volume",
        "cut.nii": "wanted a whole NIfTI volume",
        "empty.nii": "with one label only, wanted foreground and background",
        "series.nii": r"of shape \(4, 5, 6, 2\), wanted a volume with three axes",
    }.items():
        with pytest.raises((ValueError, OSError), match=f"{name}.*{message}") as error:
            workloads.named(["edt", "loss"], [], [], VOXELS, [tmp_path / name])
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [(0, 4, 4), (1, 1, 7), (2**11, 2**10, 2**10)])
def test_impossible_sizes_are_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"size: got .*, wanted 8 to 2\^31 - 1 voxels"):
        workloads.named(["edt"], [size], ["blobs"], VOXELS, [])


def test_batches_hold_moved_masks() -> None:
    single, batch = (Workload("edt", (5, 12, 14), "blobs", SPACING, items) for items in (1, 3))
    masks, spacing = batch.batch()
    assert (masks.shape, spacing) == ((3, 5, 12, 14), SPACING)
    np.testing.assert_array_equal(masks[0], single.batch()[0])
    np.testing.assert_array_equal(masks[2], np.roll(single.voxels, (14, 26), (1, 2)))
    planes, spacing = Workload("edt", (1, 8, 9), "random", (5.0, 2.0, 3.0), 2).batch()
    assert (planes.shape, spacing) == ((2, 8, 9), (2.0, 3.0))


def test_corner_distance_by_hand() -> None:
    corner = Workload("edt", (3, 4, 5), "corner", (2.0, 1.0, 1.0))
    squared = oracles.squared_two_sided(corner.voxels, corner.spacing)
    assert squared[2, 3, 4] == 16 + 9 + 16
