"""The phantom: repeatable, shaped like a head with bleeds, and on disk what a scanner's files are."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from surfloss.phantom import Phantom, contact_sheet, default_spacing, make_case, write_dataset
from surfloss.phantom._bleed import draw_volumes
from surfloss.phantom._head import Head
from surfloss.phantom._scan import _noise

SMALL = (16, 64, 64)


def head_of(phantom: Phantom, seed: int, case: int) -> tuple[Head, tuple[np.ndarray, ...]]:
    """The anatomy of a case, and the head coordinates of every voxel."""
    z, y, x = (
        ((np.arange(n) - (n - 1) / 2) * mm).astype(np.float32)
        for n, mm in zip(phantom.image.shape, phantom.spacing, strict=True)
    )
    head = Head(np.random.default_rng([seed, case, 0]))
    return head, head.frame(z[:, None, None], y[:, None], x)


def volume_ml(phantom: Phantom) -> float:
    return float(phantom.label.sum() * np.prod(phantom.spacing) / 1000)


@pytest.fixture(scope="module")
def fine() -> list[Phantom]:
    return [make_case((30, 128, 128), seed=4, case=case) for case in range(1, 9)]


# --- repeatable ---------------------------------------------------------------------------------------------


def test_the_arrays_are_the_same_on_every_machine() -> None:
    phantom = make_case(SMALL, seed=1, case=4)
    digest = hashlib.sha256(phantom.image.tobytes() + phantom.label.tobytes()).hexdigest()
    assert digest[:16] == "182cddee385d9e4b"


def test_a_case_does_not_depend_on_the_number_of_cases(tmp_path: Path) -> None:
    write_dataset(tmp_path / "one", 1, (8, 48, 48), seed=3)
    write_dataset(tmp_path / "three", 3, (8, 48, 48), seed=3)
    for part in ("data", "label"):
        one, three = (tmp_path / name / part / "001.nii.gz" for name in ("one", "three"))
        assert one.read_bytes() == three.read_bytes()


def test_cases_and_seeds_differ() -> None:
    images = [make_case((4, 16, 16), seed=s, case=c).image for s, c in ((0, 1), (0, 2), (1, 1))]
    assert not any(np.array_equal(images[a], images[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_the_same_head_at_another_resolution(fine: list[Phantom]) -> None:
    for case, phantom in enumerate(fine[:4], start=1):
        coarse = make_case((15, 64, 64), seed=4, case=case)
        means = np.clip(phantom.image, -100, 200).reshape(15, 2, 64, 2, 64, 2).mean((1, 3, 5))
        assert np.corrcoef(means.ravel(), np.clip(coarse.image, -100, 200).ravel())[0, 1] > 0.97
        assert volume_ml(coarse) == pytest.approx(volume_ml(phantom), rel=0.15)


# --- grids --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "spacing"),
    [
        ((30, 512, 512), (5.0, 215 / 512, 215 / 512)),
        (SMALL, (9.375, 3.359375, 3.359375)),
        ((10, 100, 43), (15.0, 5.0, 5.0)),
    ],
)
def test_default_spacing_keeps_a_heads_field_of_view(
    size: tuple[int, int, int], spacing: tuple[float, ...]
) -> None:
    assert default_spacing(size) == pytest.approx(spacing)


@pytest.mark.parametrize("case", [1, 2, 3])
@pytest.mark.parametrize(
    ("size", "spacing"),
    [
        (SMALL, None),
        ((8, 48, 48), None),
        ((4, 16, 16), None),
        ((5, 17, 40), None),
        ((4, 16, 16), (50.0, 20.0, 20.0)),
        ((4, 16, 16), (0.5, 0.1, 0.1)),
        ((40, 32, 32), (5.0, 7.0, 7.0)),
    ],
)
def test_every_grid_holds_a_bleed(
    size: tuple[int, int, int], spacing: tuple[float, float, float] | None, case: int
) -> None:
    phantom = make_case(size, spacing=spacing, seed=7, case=case)
    assert phantom.image.shape == phantom.label.shape == size
    assert (phantom.image.dtype, phantom.label.dtype) == (np.int16, np.uint8)
    assert phantom.spacing == (spacing or default_spacing(size))
    assert phantom.label.max() == 1
    assert phantom.label.sum() < phantom.label.size / 2 or spacing == (0.5, 0.1, 0.1)


def test_a_tensor_is_a_spacing() -> None:
    spacing = torch.tensor([30.0, 10, 12])
    assert make_case((4, 16, 16), spacing=spacing).spacing == (30, 10, 12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (16, 64)}, "size: got 16,64, wanted three whole numbers"),
        ({"size": (3, 64, 64)}, "size: got 3,64,64, wanted"),
        ({"size": (16, 64.0, 64)}, "size: got 16,64.0,64, wanted"),
        ({"spacing": (1, 1)}, "spacing: got 2 values [1.0, 1.0], wanted 3"),
        ({"spacing": (5, -1, 1)}, "spacing: got [5.0, -1.0, 1.0], wanted positive finite numbers (mm)"),
        ({"spacing": (5, float("nan"), 1)}, "spacing: got [5.0, nan, 1.0], wanted"),
        ({"seed": -1}, "seed: got -1, wanted a whole number of at least 0"),
        ({"case": 0}, "case: got 0, wanted a whole number of at least 1"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make_case(**{"size": SMALL, **arguments})
    assert str(caught.value).startswith(message)


# --- bleeds -------------------------------------------------------------------------------------------------


def test_volumes_are_log_normal_from_tiny_to_large() -> None:
    cases = [draw_volumes(0, case) for case in range(1, 201)]
    volumes = np.concatenate(cases)
    assert volumes.min() < 0.2
    assert volumes.max() > 60
    assert {len(case) for case in cases} == {1, 2, 3, 4, 5}
    main = np.log([case[0] for case in cases])
    assert stats.kstest(main, "norm", (np.log(12), 1.25)).pvalue > 0.05
    more = np.log(np.concatenate([case[1:] for case in cases]))
    assert stats.kstest(more, "norm", (0, 1.4)).pvalue > 0.05


@pytest.mark.parametrize("seed", range(5))
def test_sixteen_cases_hold_tiny_and_large_bleeds(seed: int) -> None:
    cases = [draw_volumes(seed, case) for case in range(1, 17)]
    assert min(np.concatenate(cases)) < 0.5
    assert max(case[0] for case in cases) > 60
    assert min(case[0] for case in cases) < 2


def test_labels_hold_the_drawn_volume(fine: list[Phantom]) -> None:
    for case, phantom in enumerate(fine, start=1):
        assert volume_ml(phantom) == pytest.approx(sum(draw_volumes(4, case)), rel=0.2)


def test_bleeds_lie_in_the_brain(fine: list[Phantom]) -> None:
    for case, phantom in enumerate(fine, start=1):
        head, p = head_of(phantom, 4, case)
        inside = phantom.label == 1
        assert head.cranium(p)[inside].max() < 0
        assert np.percentile(phantom.image[inside], 0.5) > 0
        assert phantom.image[inside].max() < 200


def test_bleeds_stand_out_from_brain(fine: list[Phantom]) -> None:
    for case, phantom in enumerate(fine, start=1):
        head, p = head_of(phantom, 4, case)
        far = ~ndimage.binary_dilation(phantom.label, iterations=4)
        brain = (head.cranium(p) < -8) & far
        assert 24 < np.median(phantom.image[brain]) < 38
        assert 48 < np.median(phantom.image[phantom.label == 1]) < 80


# --- head ---------------------------------------------------------------------------------------------------


def test_tissues_have_their_hounsfield_units(fine: list[Phantom]) -> None:
    for case, phantom in enumerate(fine, start=1):
        head, p = head_of(phantom, 4, case)
        d = head.cranium(p)
        above = p[2] > 15
        assert np.median(phantom.image[:, :4, :4]) == pytest.approx(-1000, abs=5)
        assert 600 < np.median(phantom.image[(d > 2) & (d < 4) & above]) < 1500
        assert phantom.image.max() < 2500
        far = ~ndimage.binary_dilation(phantom.label, iterations=6)
        fluid = phantom.image[(head.ventricles(p) < -2.5) & far & (p[2] > 10)]
        assert fluid.size == 0 or np.median(fluid) < 22


def test_the_brain_has_a_closed_skull_around_it(fine: list[Phantom]) -> None:
    """Found from the image alone: bone in a slice through the ventricles encloses the brain."""
    for phantom in fine:
        bone = phantom.image[16] > 300
        filled = ndimage.binary_fill_holes(bone)
        area_cm2 = (filled & ~bone).sum() * np.prod(phantom.spacing[1:]) / 100
        assert 100 < area_cm2 < 220
        assert filled[phantom.label[16] == 1].all()


def test_noise_is_blurred_and_of_the_drawn_strength() -> None:
    head = Head(np.random.default_rng(5))
    plane = np.full((200, 200), 40, np.float32)
    noise = _noise(np.random.default_rng(0), head, plane, 5)
    assert noise.std() == pytest.approx(head.noise_hu, rel=0.05)
    assert np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1] > 0.5
    assert np.abs(np.corrcoef(noise[:, 8:].ravel(), noise[:, :-8].ravel())[0, 1]) < 0.05


# --- files --------------------------------------------------------------------------------------------------


def test_files_follow_the_challenge_and_two_readers_agree(tmp_path: Path) -> None:
    nib = pytest.importorskip("nibabel")
    sitk = pytest.importorskip("SimpleITK")
    size, spacing = (6, 40, 50), (5.0, 4.2, 4.4)
    assert write_dataset(tmp_path, 2, size, seed=9, spacing=spacing) == ["001", "002"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "label", "phantom.json"]
    phantom = make_case(size, spacing=spacing, seed=9, case=2)
    for part, array in (("data", phantom.image), ("label", phantom.label)):
        assert sorted(p.name for p in (tmp_path / part).iterdir()) == ["001.nii.gz", "002.nii.gz"]
        path = tmp_path / part / "002.nii.gz"
        image, other = nib.load(path), sitk.ReadImage(str(path))
        assert np.array_equal(np.asanyarray(image.dataobj).T, array)
        assert np.array_equal(sitk.GetArrayFromImage(other), array)
        assert image.get_data_dtype() == array.dtype
        assert image.header.get_xyzt_units()[0] == "mm"
        assert image.header.get_zooms() == pytest.approx(spacing[::-1])
        assert other.GetSpacing() == pytest.approx(spacing[::-1], rel=1e-6)
        assert other.GetDirection() == pytest.approx((1, 0, 0, 0, 1, 0, 0, 0, 1), abs=1e-6)
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
        for form in (image.get_qform(coded=True), image.get_sform(coded=True)):
            assert form[1] == 1
            assert form[0] == pytest.approx(image.affine, abs=1e-4)
        middle = image.affine @ [*((n - 1) / 2 for n in size[::-1]), 1]
        assert middle == pytest.approx([0, 0, 0, 1], abs=1e-4)
        at = other.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in size[::-1]])
        assert at == pytest.approx([0, 0, 0], abs=1e-4)


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    write_dataset(tmp_path, 3, (4, 16, 16))
    paths = sorted(tmp_path.glob("*/*.nii.gz"))
    before = [path.read_bytes() for path in paths]
    for path in paths:
        os.utime(path, (0, 0))
    (tmp_path / "label" / "002.nii.gz").unlink()
    (tmp_path / "label" / ".unfinished-1").mkdir()
    (tmp_path / "label" / ".unfinished-1" / "002.nii.gz").write_bytes(b"half")
    done: list[str] = []
    write_dataset(tmp_path, 4, (4, 16, 16), on_case=done.append)
    assert done == ["001", "002", "003", "004"]
    assert [path.read_bytes() for path in paths] == before
    kept = [path.name for path in paths if path.stat().st_mtime == 0]
    assert kept == ["001.nii.gz", "003.nii.gz"] * 2
    assert [path.name for path in tmp_path.glob("*/.*")] == [".unfinished-1"]


@pytest.mark.parametrize("killed", [False, True])
def test_a_full_disk_blocks_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        path.touch()
        raise OSError("no space left")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_text", full)
        disk.setattr(Path, "write_bytes", full)
        if killed:
            disk.setattr(shutil, "rmtree", lambda *_, **__: None)  # nothing is cleaned up any more
        with pytest.raises(OSError, match="no space left"):
            write_dataset(tmp_path, 1, (4, 16, 16))
    left = [path.name for path in tmp_path.iterdir()]
    assert [name.startswith(".unfinished-") for name in left] == [True] * killed
    write_dataset(tmp_path, 1, (4, 16, 16))
    assert sorted(path.name for path in tmp_path.iterdir()) == [*left, "data", "label", "phantom.json"]


def test_another_datasets_folder_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "phantom", 2, (4, 16, 16))
    with pytest.raises(ValueError, match=r"^out: got .* with the dataset .*\"seed\": 0"):
        write_dataset(tmp_path / "phantom", 2, (4, 16, 16), seed=1)
    with pytest.raises(
        ValueError, match=r"^out: got .* with 002\.nii\.gz, wanted no files but those of 1 cases$"
    ):
        write_dataset(tmp_path / "phantom", 1, (4, 16, 16))
    with pytest.raises(
        ValueError, match=r"^out: got .* with other files in it, wanted a new or empty folder"
    ):
        write_dataset(tmp_path, 2, (4, 16, 16))
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ValueError, match=r"^out: got the file .*/file, wanted a folder$"):
        write_dataset(file, 2, (4, 16, 16))
    with pytest.raises(ValueError, match=r"^cases: got 0, wanted a whole number of at least 1"):
        write_dataset(tmp_path / "new", 0, (4, 16, 16))
    assert not (tmp_path / "new").exists()


def test_contact_sheet(tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    write_dataset(tmp_path / "d", 2, SMALL)
    contact_sheet(tmp_path / "d", tmp_path / "sheet.png")
    pixels = image.imread(tmp_path / "sheet.png")[..., :3]
    assert pixels.shape[0] < pixels.shape[1]  # two rows of seven slices
    red = (pixels[..., 0] > 0.8) & (pixels[..., 1] < 0.3)
    assert red.any()
    assert pixels.std() > 0.2
