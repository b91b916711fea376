"""The masks: the same every time, at any size, with both labels, and what their names say."""

import nibabel
import numpy as np
import pytest

from surfloss.bench import cases, plan
from tests.support import oracles, volumes


@pytest.mark.parametrize("mask", cases.MASKS)
@pytest.mark.parametrize("size", [(16, 40, 48), (1, 33, 31), (5, 7, 11)])
def test_masks_have_both_labels_and_never_change(mask: str, size: tuple[int, int, int]) -> None:
    if mask == "walls" and min(size) < 3:
        pytest.skip("no room between the walls")
    case = cases.make(size, mask, cases.HEAD_CT)
    assert case.size == size
    assert case.voxels.dtype == bool
    assert case.voxels.flags.c_contiguous
    assert 0 < case.voxels.mean() < 1
    np.testing.assert_array_equal(case.voxels, cases.make(size, mask).voxels)
    assert case.facts() == {
        "size": list(size),
        "items": 1,
        "spacing": [5, 0.42, 0.42],
        "mask": mask,
        "voxels": case.voxels.size,
        "foreground": case.voxels.mean(),
    }


def test_masks_are_what_their_names_say() -> None:
    size = (32, 48, 64)
    masks = {name: cases.make(size, name).voxels for name in cases.MASKS}
    assert np.argwhere(masks["corner"]).tolist() == [[0, 0, 0]]
    for name in ("noise", "random", "diagonal"):
        assert masks[name].mean() == pytest.approx(0.5, abs=0.02), name
    assert 0.01 < masks["blobs"].mean() < 0.4
    # Smoothing leaves pieces, so that neighbors mostly agree; without it they agree half of the time.
    agree = {name: (masks[name][..., 1:] == masks[name][..., :-1]).mean() for name in ("noise", "random")}
    assert agree["noise"] > 0.85
    assert agree["random"] == pytest.approx(0.5, abs=0.02)
    assert (masks["stripes"] == masks["stripes"][:1, :, :1]).all()
    assert not masks["walls"][1:-1, 1:-1, 1:-1].any()
    assert masks["walls"].sum() == 32 * 48 * 64 - 30 * 46 * 62
    assert 0 < masks["points"].sum() <= 1 + masks["points"].size // 32**3
    steps = np.indices(size) / (np.reshape(size, (3, 1, 1, 1)) - 1)
    assert masks["diagonal"][steps.sum(0) < 1.49].all()
    assert not masks["diagonal"][steps.sum(0) > 1.51].any()


def test_files_are_read_in_array_order_with_their_spacing() -> None:
    wanted, spacing = volumes.load("i132")
    case = cases.read(volumes.DATA / "i132.nii.gz")
    np.testing.assert_array_equal(case.voxels, wanted != 0)
    assert case.spacing == pytest.approx(spacing)
    assert plan.of_case("loss", case).make().spacing == (1, 1, 1)
    assert plan.of_case("edt", case).make().spacing == case.spacing


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
        with pytest.raises(ValueError, match=f"{name}.*{message}") as error:
            cases.read(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [(4, 4), (0, 4, 4), (1, 1, 7), (2**11, 2**10, 2**10)])
def test_impossible_sizes_are_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="size: got"):
        cases.make(size, "blobs")


def test_the_full_plan_has_every_published_row() -> None:
    rows = {cell.label for cell in plan.full()}
    assert len(rows) == len(plan.full())
    for size in ("16x320x320", "64x512x512", "128x128x128", "256x256x256"):
        assert {f"edt {size} {mask}" for mask in cases.USUAL} <= rows
    assert {f"edt 128x128x128 {mask}" for mask in cases.STRUCTURED} <= rows
    assert {f"loss 16x320x320 {mask}" for mask in cases.USUAL} <= rows
    assert {f"edt {n}x{n}x{n} blobs" for n in (64, 96, 192)} <= rows


def test_corner_distance_by_hand() -> None:
    case = cases.make((3, 4, 5), "corner", (2.0, 1.0, 1.0))
    squared = oracles.squared_two_sided(case.voxels, case.spacing)
    assert squared[2, 3, 4] == 16 + 9 + 16
