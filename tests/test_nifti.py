"""Files are read as they are, and a spoiled one is refused with its name and its fault in one line."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from surfloss._nifti import read_volume

AFFINE = np.array([[0.0, -0.4, 0, 3], [0.5, 0, 0, -2], [0, 0, 5, 1], [0, 0, 0, 1]])  # a quarter turn
VOXELS = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "case.nii.gz"
    nibabel.save(nibabel.Nifti1Image(VOXELS, AFFINE), path)
    return path


def spoil(path: Path, *changes: tuple[int, object]) -> None:
    """Overwrite bytes of the file at the offsets that the NIfTI-1 standard gives its fields."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    for offset, value in changes:
        raw = np.asarray(value).tobytes()
        content[offset : offset + len(raw)] = raw
    path.write_bytes(gzip.compress(bytes(content)))


def sform(affine: object) -> tuple[int, object]:
    return 280, np.asarray(affine, np.float32)[:3]


def test_voxels_affine_and_steps_in_the_file_s_order(path: Path) -> None:
    got = read_volume(path)
    assert np.array_equal(got.voxels, VOXELS)
    np.testing.assert_allclose(got.affine, AFFINE, rtol=1e-6)
    assert got.zooms == pytest.approx((0.5, 0.4, 5.0), rel=1e-6)


@pytest.mark.parametrize("affine", [np.diag([-0.5, 0.4, 5.0, 1]), AFFINE + 1e-5])
def test_mirrored_axes_and_rounding_are_no_fault(path: Path, affine: np.ndarray) -> None:
    spoil(path, sform(affine))
    np.testing.assert_allclose(read_volume(path).affine[:3], affine[:3], rtol=1e-6)


def test_scaled_values(path: Path) -> None:
    spoil(path, (112, np.float32([2, -1])))
    assert np.array_equal(read_volume(path).voxels, 2.0 * VOXELS - 1)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no file": (lambda path: path.unlink(), r"a file that cannot be read \(FileNotFoundError"),
    "no NIfTI": (lambda path: path.write_bytes(b"not an image"), "a file that cannot be read"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "a file that cannot be read"),
    "datatype": (lambda path: spoil(path, (70, np.int16(4321))), r"a file .* \(HeaderDataError: .*4321"),
    "dimensions": (
        lambda path: spoil(path, (42, np.int16([32000] * 3))),
        r"a file .* too short for the shape \(32000",
    ),
    "RGB": (lambda path: spoil(path, (70, np.int16([128, 24]))), "values of dtype .*'R'"),
    "complex": (lambda path: spoil(path, (70, np.int16([32, 64]))), "values of dtype complex64"),
    "zero size": (lambda path: spoil(path, (84, np.float32(0))), "an affine .* size of 0.5 x 0 x 5 mm"),
    "only a zero size": (
        lambda path: spoil(path, (84, np.float32(0)), (252, np.int16([0, 0]))),  # neither qform nor sform
        "an affine .* size of 0.5 x 0 x 5 mm",
    ),
    "NaN size": (lambda path: spoil(path, (84, np.float32(np.nan))), "an affine .* 0.5 x nan x 5 mm"),
    "contradiction": (
        lambda path: spoil(path, (88, np.float32(1))),
        "an affine with steps of 0.5 x 0.4 x 5 mm beside a voxel size of 0.5 x 0.4 x 1 mm",
    ),
    "NaN affine": (lambda path: spoil(path, sform(AFFINE * [1, 1, 1, np.nan])), "the affine .*nan"),
    "singular": (
        lambda path: spoil(path, sform(AFFINE * [1, 1, 0, 1])),
        "an affine with steps of 0.5 x 0.4 x 0 mm",
    ),
    "sheared": (
        lambda path: spoil(path, sform([[0.5, 0.04, 0, 0], [0, 0.398, 0, 0], [0, 0, 5, 0]])),
        "an affine with the sheared axes",
    ),
}


@pytest.mark.parametrize(("fault", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_the_file(
    path: Path, fault: Callable[[Path], object], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    fault(path)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: got {message}") as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
