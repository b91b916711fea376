"""Files are read as they are, and a spoiled one is refused with its name and its fault in one line."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from surfloss._volumes import Unavailable, read_volume, whole_numbers

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


def garble(path: Path) -> None:
    """Change a voxel behind gzip's back."""
    content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0))
    content[-30] ^= 1
    path.write_bytes(bytes(content))


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


NOWHERE = (252, np.int16([0, 0]))  # neither qform nor sform


@pytest.mark.parametrize("voxels", [VOXELS, VOXELS[..., 0]], ids=["3-D", "2-D"])
def test_a_header_without_a_place_is_read_as_itk_reads_and_rewrites_it(
    tmp_path: Path, voxels: np.ndarray
) -> None:
    path, rewritten = tmp_path / "case.nii.gz", tmp_path / "rewritten.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([0.5, 0.4, 5, 1])), path)
    # What stands in the fields of the quaternion and of the sform has no meaning then.
    spoil(path, NOWHERE, (76, np.float32(-1)), (268, np.float32([3, 4, 5])), sform(AFFINE))
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(path)), str(rewritten))
    assert nibabel.load(rewritten).header["sform_code"] == 1
    got, other = read_volume(path), read_volume(rewritten)
    assert np.array_equal(got.voxels, other.voxels)
    assert got.zooms == other.zooms == (0.5, 0.4, 5.0)[: voxels.ndim]
    np.testing.assert_allclose(got.affine, other.affine, rtol=1e-6)
    third = 5 if voxels.ndim == 3 else 1
    np.testing.assert_allclose(got.affine, np.diag([-0.5, -0.4, third, 1]), rtol=1e-6)


def test_one_of_both_forms_is_enough(path: Path) -> None:
    for codes in ([0, 1], [1, 0]):
        image = nibabel.Nifti1Image(VOXELS, AFFINE)
        image.header.set_sform(AFFINE, codes[1])
        image.header.set_qform(AFFINE, codes[0])
        nibabel.save(image, path)
        np.testing.assert_allclose(read_volume(path).affine, AFFINE, atol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [20, 8, 0, -1, 2**30])
def test_a_corrupt_extension_of_the_header_is_passed_over_without_a_word(
    tmp_path: Path, size: int, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "case.nii"
    image = nibabel.Nifti1Image(VOXELS, AFFINE)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"a comment of 24 bytes..."))
    nibabel.save(image, path)
    content = bytearray(path.read_bytes())
    content[352:356] = np.int32(size).tobytes()
    path.write_bytes(content)
    assert np.array_equal(read_volume(path).voxels, VOXELS)
    assert capfd.readouterr().err == ""


@pytest.mark.filterwarnings("error")
def test_scaled_values_that_overflow_bring_no_warning(tmp_path: Path) -> None:
    header = nibabel.Nifti2Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape((2, 2))
    header["vox_offset"], header["scl_slope"], header["scl_inter"] = 544, 1e300, 0
    header["pixdim"][1:3] = 1
    path = tmp_path / "case.nii"
    path.write_bytes(header.binaryblock + bytes(4) + np.float64([1e300, -1e300, 0, 1e-300]).tobytes())
    assert read_volume(path).voxels.T.ravel().tolist() == [np.inf, -np.inf, 0, 1]


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "a file that cannot be read"),
    "no gzip": (
        lambda path: path.write_bytes(gzip.decompress(path.read_bytes())),
        "a file that cannot be read",
    ),
    "no NIfTI": (lambda path: path.write_bytes(b"not an image"), "a file that cannot be read"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "a file that cannot be read"),
    "cut off in the checksum": (
        lambda path: path.write_bytes(path.read_bytes()[:-6]),
        "a file that cannot be",
    ),
    "garbled": (garble, r"a file that cannot be read \(BadGzipFile: CRC"),
    "longer": (
        lambda path: path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(2**20 + 1))),
        r"shape \(6, 5, 4\) and more behind it",
    ),
    "voxels elsewhere": (lambda path: spoil(path, (344, np.bytes_(b"ni1"))), "no header of a NIfTI file"),
    "no axes": (lambda path: spoil(path, (40, np.int16(0))), "shape .* wanted at least one voxel"),
    "too many axes": (lambda path: spoil(path, (40, np.int16(8))), "a file that cannot be read"),
    "no voxels": (
        lambda path: spoil(path, (42, np.int16(0))),
        r"shape \(0, 5, 4\), wanted at least one voxel",
    ),
    "a negative size": (lambda path: spoil(path, (42, np.int16(-6))), r"shape \(-6, 5, 4\), wanted"),
    "negative sizes": (lambda path: spoil(path, (42, np.int16([-6, -5]))), r"shape \(-6, -5, 4\), wanted"),
    "offset": (lambda path: spoil(path, (108, np.float32(np.nan))), "a file that cannot be read"),
    "datatype": (lambda path: spoil(path, (70, np.int16(4321))), r"a file .* \(HeaderDataError: .*4321"),
    "dimensions": (
        lambda path: spoil(path, (42, np.int16([32000] * 3))),
        r"a file .* too short for the shape \(32000",
    ),
    "RGB": (lambda path: spoil(path, (70, np.int16([128, 24]))), "values of dtype .*'R'"),
    "complex": (lambda path: spoil(path, (70, np.int16([32, 64]))), "values of dtype complex64"),
    "zero size": (lambda path: spoil(path, (84, np.float32(0))), "an affine .* size of 0.5 x 0 x 5 mm"),
    "only a zero size": (
        lambda path: spoil(path, (84, np.float32(0)), NOWHERE),
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
    path: Path,
    fault: Callable[[Path], object],
    message: str,
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    fault(path)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: got {message}") as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)
    assert caplog.records == []
    assert not recwarn.list


def test_what_is_no_fault_of_the_content_is_told_apart(tmp_path: Path, path: Path) -> None:
    loop = tmp_path / "loop.nii.gz"
    loop.symlink_to(loop)
    for place in (tmp_path / "none.nii.gz", loop):
        with pytest.raises(Unavailable, match=rf"^{re.escape(str(place))}: got a file that cannot be read"):
            read_volume(place)


def test_a_shortage_of_memory_is_no_fault_of_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(np, "asanyarray", full)
    with pytest.raises(Unavailable, match=r"case.nii.gz: got a file .* \(MemoryError: no room\)"):
        read_volume(path)


@pytest.mark.parametrize(("code", "mm"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (7, 1), (8 | 3, 0.001)])
def test_lengths_are_in_mm_whatever_the_unit(path: Path, code: int, mm: float) -> None:
    """Seconds (8) beside it say nothing of lengths; a unit that is not defined (7) is mm."""
    steps = np.float32([0, 0.42 / mm, 0.3 / mm, 5 / mm])
    affine = np.diag([*steps[1:], 1.0])
    spoil(path, (76, steps), sform(affine), (123, np.uint8(code)), (252, np.int16([0, 1])))
    got = read_volume(path)
    assert got.zooms == (0.42, 0.3, 5.0)
    np.testing.assert_allclose(got.affine, np.diag([0.42, 0.3, 5, 1]), rtol=1e-6)


@pytest.mark.parametrize("format_", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII.GZ"])
def test_both_versions_in_both_orders_of_bytes(
    tmp_path: Path, format_: type, order: str, ending: str
) -> None:
    image = format_(VOXELS, AFFINE, format_.header_class(endianness=order))
    path = tmp_path / f"case{ending}"
    content = image.to_bytes()
    path.write_bytes(gzip.compress(content) if ending.lower().endswith("gz") else content)
    got = read_volume(path)
    assert np.array_equal(got.voxels, VOXELS)
    assert got.zooms == (0.5, 0.4, 5.0)


@pytest.mark.parametrize("shape", [(6, 5, 4, 1), (6, 5, 4, 1, 1)])
def test_further_axes_of_size_1_are_dropped(path: Path, shape: tuple[int, ...]) -> None:
    nibabel.save(nibabel.Nifti1Image(VOXELS.reshape(shape), AFFINE), path)
    assert np.array_equal(read_volume(path).voxels, VOXELS)


def test_what_a_small_file_expands_to_is_limited(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is in memory: scaled values take 8 bytes."""
    nibabel.save(nibabel.Nifti1Image(np.zeros((256, 256, 16), np.uint8), AFFINE), path)
    assert path.stat().st_size < 5000
    monkeypatch.setenv("SURFLOSS_MAX_VOLUME_GIB", str(2**20 / 2**30))
    assert read_volume(path).voxels.size == 2**20
    spoil(path, (112, np.float32([2, 0])))
    with pytest.raises(
        ValueError, match=r"GiB in memory, wanted at most 0.000977 GiB \(SURFLOSS_MAX_VOLUME_GIB"
    ):
        read_volume(path)
    monkeypatch.setenv("SURFLOSS_MAX_VOLUME_GIB", "much")
    with pytest.raises(
        ValueError, match="SURFLOSS_MAX_VOLUME_GIB: got 'much', wanted a positive number of GiB"
    ):
        read_volume(path)


def test_a_bomb_is_refused_by_its_header(path: Path) -> None:
    """4.9 GB of zeros behind a header, in a file of a few MB that is never unpacked."""
    spoil(path, (42, np.int16([1700] * 3)), (70, np.int16([2, 8])))
    with path.open("ab") as file:
        file.write(bytes(6_000_000))
    with pytest.raises(
        ValueError, match=r"shape \(1700, 1700, 1700\), 4.58 GiB in memory, wanted at most 4 GiB"
    ):
        read_volume(path)


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [(1, np.int16), (2, np.int16), (5, np.int16), (104, np.int16), (1, np.uint8), (2, np.uint8)],
)
def test_labels_under_the_header_of_a_scaled_image_are_integers_again(
    path: Path, labels: int, dtype: type
) -> None:
    """Saved as people do: floats under the header of the image, which nibabel scales to its integers."""
    wanted = np.random.default_rng(0).integers(0, labels + 1, (6, 5, 4))
    wanted[0, 0] = [0, 1, labels, 1]
    header = nibabel.Nifti1Image(np.zeros((6, 5, 4), dtype), AFFINE).header
    nibabel.save(nibabel.Nifti1Image(wanted.astype(float), AFFINE, header), path)
    got = read_volume(path)
    assert got.voxels.dtype == np.float64
    assert not np.array_equal(got.voxels, wanted)
    assert np.array_equal(whole_numbers(got), wanted)


def test_other_values_stay(path: Path) -> None:
    """A probability is no label, and neither is what was never an integer."""
    values = np.array([0.5, 0.999, 1 + 1e-5, np.nan, np.inf, 0.99999994, 2.0000002, 0, 0, 0])
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32).reshape(5, 2), np.eye(4)), path)
    got = whole_numbers(read_volume(path)).ravel()
    assert np.array_equal(got[5:], [1, 2, 0, 0, 0])
    assert np.array_equal(got[:5], values[:5].astype(np.float32), equal_nan=True)
