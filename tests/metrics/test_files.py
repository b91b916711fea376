"""Files that spoil no run: each is a named problem of its case, and the others are measured."""

import gzip
import json
import os
import re
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from surfloss import metrics

AFFINE = np.diag([0.5, 0.4, 5.0, 1.0])
MASK = np.zeros((12, 14, 6), np.uint8)
MASK[2:8, 3:9, 1:4] = 1


def save(path: Path, mask: np.ndarray = MASK, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(mask, affine), path)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two cases whose predictions are right."""
    for folder in ("predictions", "targets"):
        for case in ("bad", "good"):
            save(tmp_path / folder / f"{case}.nii.gz")
    return tmp_path / "predictions", tmp_path / "targets"


def evaluated(folders: tuple[Path, Path], **options: Any) -> metrics.FolderEvaluation:
    return metrics.evaluate_folders(*folders, tolerance=0.42, **options)


def text(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def a_socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(folder)  # the names of sockets are short
        one.bind("bad.mha")


MHA = (
    b"ObjectType = Image\nNDims = 3\nBinaryData = True\nElementSpacing = 1 1 1\n"
    b"DimSize = 12 14 6\nElementType = MET_UCHAR\nElementDataFile = "
)
NRRD = b"NRRD0005\ntype: uchar\ndimension: 3\nsizes: 12 14 6\n"
RAW = b"encoding: raw\n"
BINARY = bytes(range(256)) * 400


def a_pipe_of_voxels(folder: Path) -> None:
    (folder / "bad.mhd").write_bytes(MHA + b"bad.raw\n")
    os.mkfifo(folder / "bad.raw")


def link(target: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "bad.nii.gz").symlink_to(target)


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "format characters": (text("bad.mha", MHA + b"%s%n%n%n 1 6 1\n"), "voxels in several files"),
    "another folder": (text("bad.mhd", MHA + b"/etc/passwd\n"), "in the folder of the header"),
    "a line of 5 MB": (text("bad.nrrd", NRRD + b"content: " + b"x" * 5_000_000), "more than 1 MiB"),
    "text that is none": (
        text("bad.nrrd", NRRD + b"spacings: 1 1 1\nencoding: ascii\n\n" + BINARY),
        "the encoding 'ascii'",
    ),
    "no spacing": (text("bad.nrrd", NRRD + RAW + b"\n" + bytes(1008)), "without the field 'spacings'"),
    "a pipe": (lambda folder: os.mkfifo(folder / "bad.nii.gz"), "a pipe, socket or device"),
    "a pipe of voxels": (a_pipe_of_voxels, "bad.raw: got a pipe, socket or device"),
    "a socket": (a_socket, "a pipe, socket or device"),
    "a device": (link("/dev/zero"), "a pipe, socket or device"),
    "a folder": (lambda folder: (folder / "bad.nii.gz").mkdir(), "a folder, wanted a regular file"),
    "an empty file": (text("bad.nii.gz", b""), "cannot be read"),
    "half of gzip": (text("bad.nii.gz", gzip.compress(bytes(9999))[:20]), "cannot be read"),
    "no gzip": (text("bad.nii.gz", bytes(9999)), "cannot be read .*BadGzipFile"),
    "no NIfTI": (text("bad.nii", bytes(9999)), "no header of a NIfTI file"),
}
UNAVAILABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no voxels": (text("bad.nhdr", NRRD + RAW + b"data file: none.raw\n"), "FileNotFoundError"),
    "a link to itself": (link("bad.nii.gz"), "cannot be read .*OSError"),
    "a link to nothing": (link("none"), "cannot be read .*FileNotFoundError"),
}


@pytest.mark.parametrize("name", [*UNREADABLE, *UNAVAILABLE])
def test_a_spoiled_file_is_the_problem_of_its_case(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    spoil, message = (UNREADABLE | UNAVAILABLE)[name]
    kind = "unreadable" if name in UNREADABLE else "unavailable"
    monkeypatch.chdir(folders[0])
    (folders[0] / "bad.nii.gz").unlink()
    spoil(folders[0])
    result = evaluated(folders, cache=folders[0].parent / "cache")
    bad, good = result.cases
    assert (bad.problem.kind, bad.values["dice"]) == (kind, None)
    assert re.search(message, bad.problem.message)
    assert (good.problem, good.values["dice"]) == (None, 1)
    assert result.problems == {kind: 1}
    assert evaluated(folders, cache=folders[0].parent / "cache") == result


def test_a_file_that_may_not_be_opened(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by its mode: root may open all."""
    plain = gzip.open

    def open_(path: Path) -> Any:
        if path == folders[0] / "bad.nii.gz":
            raise PermissionError(13, "Permission denied")
        return plain(path)

    monkeypatch.setattr(gzip, "open", open_)
    bad, good = evaluated(folders).cases
    assert bad.problem.kind == "unavailable"
    assert "Permission denied" in bad.problem.message
    assert good.values["dice"] == 1


def test_a_measurement_without_memory_is_no_fact(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("surfloss.metrics._case.measure", full)
        result = evaluated(folders, cache=tmp_path / "cache")
    assert result.problems == {"unavailable": 2}
    assert "no room" in result.cases[0].problem.message
    assert evaluated(folders, cache=tmp_path / "cache").problems == {}


@pytest.mark.parametrize("side", [0, 1])
def test_hidden_files_are_no_cases(folders: tuple[Path, Path], side: int) -> None:
    wanted = evaluated(folders)
    (folders[side] / "._good.nii.gz").write_bytes(b"what a Mac leaves behind")
    save(folders[side] / ".draft.nii.gz")
    assert evaluated(folders) == wanted


def test_names_in_capitals_and_of_no_encoding(folders: tuple[Path, Path]) -> None:
    for folder in folders:
        (folder / "bad.nii.gz").rename(folder / "bad.NII.GZ")
        os.rename(folder / "good.nii.gz", os.fsencode(folder) + b"/g\xfcd.nii.gz")
    result = metrics.FolderEvaluation.from_dict(json.loads(json.dumps(evaluated(folders).to_dict())))
    assert [(row.case, row.values["dice"]) for row in result.cases] == [("bad", 1), ("g\udcfcd", 1)]


@pytest.mark.parametrize("units", ["meter", "mm", "micron", "unknown"])
def test_another_unit_of_length_changes_nothing(folders: tuple[Path, Path], units: str) -> None:
    wanted = evaluated(folders)
    mm = {"meter": 1000, "micron": 0.001}.get(units, 1)
    for side in (0, 1):
        image = nibabel.Nifti1Image(MASK, np.diag([1 / mm, 1 / mm, 1 / mm, 1]) @ AFFINE)
        image.header.set_xyzt_units(units)
        nibabel.save(image, folders[side] / "bad.nii.gz")
        assert evaluated(folders) == wanted


@pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha", ".mhd"])
def test_a_target_of_another_format_has_the_same_values(folders: tuple[Path, Path], ending: str) -> None:
    """With a spacing and tolerances that float32 rounds, and a surface exactly on the tolerance."""
    affine = np.diag([0.3, 0.6, 1.1, 1.0])
    for folder, mask in zip(folders, (np.roll(MASK, 1, axis=0), MASK), strict=True):
        save(folder / "bad.nii.gz", mask, affine)
    wanted = metrics.evaluate_folders(*folders, tolerance=0.3)
    path = folders[1] / "bad.nii.gz"
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(path)), str(folders[1] / f"bad{ending}"))
    path.unlink()
    assert metrics.evaluate_folders(*folders, tolerance=0.3) == wanted
    assert wanted.cases[0].values["surface_dice"] == 1


def test_labels_under_the_header_of_the_image_are_whole(folders: tuple[Path, Path]) -> None:
    header = nibabel.Nifti1Image(np.zeros(MASK.shape, np.int16), AFFINE).header
    nibabel.save(nibabel.Nifti1Image(np.where(MASK > 0, 1.0, 0.0), AFFINE, header), folders[0] / "bad.nii.gz")
    nibabel.save(nibabel.Nifti1Image(2.0 * MASK, AFFINE, header), folders[0] / "good.nii.gz")
    save(folders[1] / "good.nii.gz", 2 * MASK)
    assert evaluated(folders).cases[0].values["dice"] == 1
    assert evaluated(folders, labels=[1, 2]).cases[3].values["dice"] == 1


def test_many_labels_take_no_more_memory_than_few(folders: tuple[Path, Path]) -> None:
    voxels = np.zeros((64, 64, 64), np.uint8)
    voxels[4::8, 4::8, 4::8] = np.arange(512).reshape(8, 8, 8) % 60 + 1
    for folder in folders:
        save(folder / "bad.nii.gz", voxels)
        (folder / "good.nii.gz").unlink()

    def peak(labels: int) -> int:
        tracemalloc.start()
        try:
            assert evaluated(folders, labels=range(1, labels + 1), bootstrap=0).problems == {}
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)  # what is imported and compiled by the way
    assert peak(60) < peak(2) + 4 * voxels.size  # all masks would take 120


@pytest.mark.parametrize("missing", [0, 1], ids=["prediction", "target"])
def test_where_a_header_has_no_place_the_voxel_size_counts(folders: tuple[Path, Path], missing: int) -> None:
    image = nibabel.Nifti1Image(MASK, AFFINE)
    nibabel.save(image, folders[1 - missing] / "bad.nii.gz")
    image.set_qform(None, 0)
    image.set_sform(None, 0)
    nibabel.save(image, folders[missing] / "bad.nii.gz")
    assert evaluated(folders).problems == {}
    longer = nibabel.Nifti1Image(MASK, AFFINE @ np.diag([1.1, 1, 1, 1]))
    nibabel.save(longer, folders[1 - missing] / "bad.nii.gz")
    assert evaluated(folders).problems == {"misaligned": 1}


@pytest.mark.parametrize("rewritten", [0, 1], ids=["prediction", "target"])
@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
def test_a_header_without_a_place_lies_where_simpleitk_rewrites_it(
    folders: tuple[Path, Path], rewritten: int, ending: str
) -> None:
    for folder in folders:
        image = nibabel.Nifti1Image(MASK, AFFINE)
        image.set_qform(None, 0)
        image.set_sform(None, 0)
        nibabel.save(image, folder / "bad.nii.gz")
    path = folders[rewritten] / "bad.nii.gz"
    image = SimpleITK.ReadImage(str(path))
    path.unlink()
    SimpleITK.WriteImage(image, str(path.with_name(f"bad{ending}")))
    result = evaluated(folders)
    assert result.problems == {}
    assert [case.values["dice"] for case in result.cases] == [1, 1]
