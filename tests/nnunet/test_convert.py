"""The challenge's folder into nnU-Net's raw layout, and what is refused."""

import gzip
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from surfloss.nnunet.convert import convert
from surfloss.nnunet.instance2022 import read_instance
from tests.nnunet.conftest import AFFINE, save


def converted(folder: Path, held_out: int = 1) -> Path:
    out = folder.parent / "Dataset001_Hemorrhage"
    convert(read_instance(folder, held_out), out)
    return out


def test_images_are_clipped_and_labels_kept(dataset: Path) -> None:
    out = converted(dataset)
    source: Any = nibabel.load(dataset / "data" / "002.nii.gz")
    image: Any = nibabel.load(out / "imagesTr" / "002_0000.nii.gz")
    label: Any = nibabel.load(out / "labelsTr" / "002.nii.gz")
    np.testing.assert_array_equal(image.get_fdata(), np.clip(source.get_fdata(), 0, 100))
    np.testing.assert_array_equal(image.affine, source.affine)
    assert image.get_fdata().min() == 0
    assert label.get_data_dtype() == np.uint8
    assert label.get_fdata().sum() == 32


def test_layout(dataset: Path) -> None:
    out = converted(dataset)
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files == [
        "dataset.json",
        *(f"imagesTr/00{n}_0000.nii.gz" for n in (1, 2, 3)),
        "imagesTs/004_0000.nii.gz",
        *(f"labelsTr/00{n}.nii.gz" for n in (1, 2, 3)),
        "labelsTs/004.nii.gz",
    ]
    description = json.loads((out / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "rescale_to_0_1"}
    assert description["numTraining"] == 3


def test_a_validation_folder_is_taken_whole(dataset: Path) -> None:
    for part in ("data", "label"):
        source: Any = nibabel.load(dataset / part / "001.nii.gz")
        save(dataset / "validation" / part / "001.nii.gz", np.asarray(source.dataobj))
    source = read_instance(dataset, validation_cases=2)
    assert [case.name for case in source.training] == ["001", "002", "003", "004"]
    assert [case.name for case in source.test] == ["validation_001"]


def test_the_published_layout_is_found(dataset: Path) -> None:
    folder = dataset.rename(dataset.parent / "x")
    published = dataset.parent / "INSTANCE2022"
    published.mkdir()
    folder.rename(published / "train_2")
    source = read_instance(published, validation_cases=1)
    assert [case.name for case in source.training] == ["001", "002", "003"]
    assert source.test[0].images == (published / "train_2" / "data" / "004.nii.gz",)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_labels_of_another_type_are_taken_by_their_values(dataset: Path, dtype: type) -> None:
    label: Any = nibabel.load(dataset / "label" / "001.nii.gz")
    save(dataset / "label" / "001.nii.gz", np.asarray(label.dataobj).astype(dtype))
    written: Any = nibabel.load(converted(dataset) / "labelsTr" / "001.nii.gz")
    assert written.get_data_dtype() == np.uint8
    assert written.get_fdata().sum() == 32


def test_files_without_gzip_and_hidden_ones(dataset: Path) -> None:
    for part in ("data", "label"):
        path = dataset / part / "001.nii.gz"
        (dataset / part / "001.nii").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
        (dataset / part / "._002.nii.gz").write_bytes(b"what a Mac leaves behind")
    out = converted(dataset)
    names = sorted(path.name for path in (out / "labelsTr").iterdir())
    assert names == ["001.nii.gz", "002.nii.gz", "003.nii.gz"]


def test_scaled_integers_are_read_in_hounsfield_units(dataset: Path) -> None:
    image = nibabel.Nifti1Image(np.full((12, 10, 4), 1080, np.int16), AFFINE)
    image.header.set_slope_inter(1, -1024)
    nibabel.save(image, dataset / "data" / "001.nii.gz")
    written: Any = nibabel.load(converted(dataset) / "imagesTr" / "001_0000.nii.gz")
    assert set(np.unique(written.get_fdata())) == {56}


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1000), ("micron", 0.001), ("mm", 1), ("unknown", 1)])
def test_other_units_of_length_are_written_in_mm(dataset: Path, unit: str, mm: float) -> None:
    """The label keeps its own: the same grid in another unit is no disagreement."""
    path = dataset / "data" / "001.nii.gz"
    source: Any = nibabel.load(path)
    image = nibabel.Nifti1Image(source.get_fdata(), np.diag([1 / mm, 1 / mm, 1 / mm, 1]) @ source.affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    out = converted(dataset)
    for file in (out / "imagesTr" / "001_0000.nii.gz", out / "labelsTr" / "001.nii.gz"):
        written: Any = nibabel.load(file)
        np.testing.assert_allclose(written.affine, AFFINE)
        np.testing.assert_allclose(written.get_qform(), AFFINE)
        assert written.header.get_zooms() == (0.5, 0.5, 5.0)
        assert written.header.get_xyzt_units() == ("mm", "unknown")


def test_headers_without_a_place_lie_where_simpleitk_takes_them(dataset: Path) -> None:
    """Such a label beside an image with a place elsewhere is refused: nothing shows that they match."""
    image, label = (dataset / part / "001.nii.gz" for part in ("data", "label"))
    for path in (image, label):
        placeless: Any = nibabel.load(path)
        placeless = nibabel.Nifti1Image(placeless.get_fdata(), AFFINE)
        placeless.set_qform(None, 0)
        placeless.set_sform(None, 0)
        nibabel.save(placeless, path)
    without = label.read_bytes()
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(label)), str(label))
    out = converted(dataset)
    for file in (out / "imagesTr" / "001_0000.nii.gz", out / "labelsTr" / "001.nii.gz"):
        written: Any = nibabel.load(file)
        np.testing.assert_allclose(written.affine, np.diag([-0.5, -0.5, 5, 1]))
        assert SimpleITK.ReadImage(str(file)).GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    save(image, nibabel.load(image).get_fdata())  # type: ignore[attr-defined]
    label.write_bytes(without)
    with pytest.raises(ValueError, match="001: the headers of image and label disagree on the direction"):
        converted(dataset)


def test_labels_under_the_header_of_the_image_are_whole(dataset: Path) -> None:
    """Saved as floats under a header of integers, which scales them: 1 returns as 0.9999999997671694."""
    path = dataset / "label" / "001.nii.gz"
    label: Any = nibabel.load(path)
    header = nibabel.Nifti1Image(np.zeros((12, 10, 4), np.int16), AFFINE).header
    nibabel.save(nibabel.Nifti1Image(np.where(label.get_fdata() > 0, 1.0, 0.0), AFFINE, header), path)
    assert not set(np.unique(nibabel.load(path).get_fdata())) <= {0, 1}  # type: ignore[attr-defined]
    written: Any = nibabel.load(converted(dataset) / "labelsTr" / "001.nii.gz")
    assert written.get_data_dtype() == np.uint8
    assert written.get_fdata().sum() == 32


def test_capitals_are_an_ending_too(dataset: Path) -> None:
    for part in ("data", "label"):
        (dataset / part / "001.nii.gz").rename(dataset / part / "001.NII.GZ")
    assert (converted(dataset) / "imagesTr" / "001_0000.nii.gz").exists()


def test_conversion_goes_on_where_it_stopped(dataset: Path) -> None:
    out = converted(dataset)
    kept = out / "imagesTr" / "001_0000.nii.gz"
    before = kept.stat().st_mtime_ns
    (out / "labelsTr" / "003.nii.gz").unlink()
    converted(dataset)
    assert kept.stat().st_mtime_ns == before
    assert (out / "labelsTr" / "003.nii.gz").exists()


def test_an_interrupted_write_leaves_no_file(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nibabel, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        converted(dataset)
    out = dataset.parent / "Dataset001_Hemorrhage"
    assert not [path for path in out.rglob("*") if path.is_file()]


@pytest.fixture
def image(dataset: Path) -> Path:
    return dataset / "data" / "002.nii.gz"


@pytest.fixture
def label(dataset: Path) -> Path:
    return dataset / "label" / "002.nii.gz"


class TestBadInput:
    """Every fault names its case, and nothing is written."""

    def refused(self, dataset: Path, match: str) -> None:
        with pytest.raises(ValueError, match=match):
            converted(dataset)
        assert not (dataset.parent / "Dataset001_Hemorrhage").exists()

    def test_no_such_folder(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "nowhere" / "x", r"data: got .*nowhere.* no folder.* register at https://")

    def test_no_labels(self, dataset: Path) -> None:
        for path in (dataset / "label").iterdir():
            path.unlink()
        self.refused(
            dataset, "bad cases: 001: no label; 002: no label; 003: no label; 004: no label, wanted readable"
        )

    def test_missing_label(self, dataset: Path, label: Path) -> None:
        label.unlink()
        self.refused(dataset, "bad cases: 002: no label, wanted readable")

    def test_bad_cases_can_be_left_out(self, dataset: Path, label: Path) -> None:
        label.write_bytes(b"")
        (dataset / "label" / "003.nii.gz").unlink()
        source = read_instance(dataset, 1, leave_out=["002", "003"])
        assert [case.name for case in source.cases] == ["001", "004"]
        with pytest.raises(ValueError, match="bad cases: 003: no label, wanted readable"):
            read_instance(dataset, 1, leave_out=["002"])
        with pytest.raises(ValueError, match=r"leave_out: got 005, wanted names of cases"):
            read_instance(dataset, 1, leave_out=["005"])

    def test_empty_folders(self, tmp_path: Path) -> None:
        for part in ("data", "label"):
            (tmp_path / "x" / part).mkdir(parents=True)
        self.refused(tmp_path / "x", r"without any \.nii\.gz file")

    def test_too_few_cases(self, dataset: Path) -> None:
        with pytest.raises(ValueError, match=r"4 cases .* more than the 4 to hold out"):
            read_instance(dataset, 4)

    def test_truncated(self, dataset: Path, image: Path) -> None:
        content = image.read_bytes()
        image.write_bytes(content[: len(content) // 2])
        self.refused(dataset, r"002: .*data/002\.nii\.gz: got a file that cannot be read")

    def test_empty_file(self, dataset: Path, label: Path) -> None:
        label.write_bytes(b"")
        self.refused(dataset, r"002: .*label/002\.nii\.gz is an empty file")

    def test_a_link_to_nothing(self, dataset: Path, label: Path) -> None:
        label.unlink()
        label.symlink_to("none")
        self.refused(
            dataset, r"002: .*label/002\.nii\.gz: got a file that cannot be read \(FileNotFoundError"
        )

    def test_other_shape(self, dataset: Path, label: Path) -> None:
        save(label, np.zeros((12, 10, 5), np.uint8))
        self.refused(dataset, r"002: the image has shape \(12, 10, 4\), the label \(12, 10, 5\)")

    def test_other_header(self, dataset: Path, label: Path) -> None:
        save(label, np.zeros((12, 10, 4), np.uint8), np.diag([0.5, 0.5, 4.0, 1.0]))
        self.refused(dataset, "002: .* disagree on the spacing: 0.5 x 0.5 x 5 and 0.5 x 0.5 x 4 mm")

    def test_flipped(self, dataset: Path, label: Path) -> None:
        save(label, np.zeros((12, 10, 4), np.uint8), np.diag([-0.5, 0.5, 5.0, 1.0]))
        self.refused(dataset, "002: .* disagree on the direction: RAS and LAS")

    def test_rotated(self, dataset: Path, label: Path) -> None:
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
        save(label, np.zeros((12, 10, 4), np.uint8), turn @ AFFINE)
        self.refused(dataset, "002: .* disagree on the direction: one is rotated")

    def test_shifted(self, dataset: Path, label: Path) -> None:
        shifted = AFFINE.copy()
        shifted[:3, 3] = (0, 0, 5)
        save(label, np.zeros((12, 10, 4), np.uint8), shifted)
        self.refused(dataset, r"002: .* disagree on the origin: \[0.0, 0.0, 0.0\] and \[0.0, 0.0, 5.0\] mm")

    def test_swapped(self, dataset: Path, image: Path, label: Path) -> None:
        content = image.read_bytes()
        image.write_bytes(label.read_bytes())
        label.write_bytes(content)
        self.refused(dataset, "002: the image has the values of a label only: it is swapped with the label")

    def test_the_label_twice(self, dataset: Path, image: Path, label: Path) -> None:
        image.write_bytes(label.read_bytes())
        self.refused(dataset, "002: the image has the values of a label only, wanted")

    def test_one_patient_twice(self, dataset: Path, image: Path) -> None:
        (dataset / "data" / "003.nii.gz").write_bytes(image.read_bytes())
        self.refused(dataset, "bad cases: 003: the same image as that of 002, wanted")

    @pytest.mark.parametrize(
        ("other", "told"),
        [
            ("002.nii", r"bad cases: 002: twice in data/, as 002\.nii and 002\.nii\.gz; a: no label, wanted"),
            ("A.nii.gz", r"; a: twice in data/, as A\.nii\.gz and a\.nii\.gz, wanted"),
        ],
    )
    def test_one_name_twice(self, dataset: Path, image: Path, other: str, told: str) -> None:
        image.rename(image.with_name("a.nii.gz"))
        (dataset / "data" / "002.nii.gz").write_bytes(b"x")
        (dataset / "data" / other).write_bytes(b"x")
        self.refused(dataset, told)

    def test_several_parts(self, dataset: Path) -> None:
        for part in ("train_1", "train_2"):
            (dataset.parent / "both" / part / "data").mkdir(parents=True)
        self.refused(dataset.parent / "both", "both with both train_1 and train_2, wanted one part")

    def test_validation_images_without_labels(self, dataset: Path) -> None:
        (dataset / "evaluation").mkdir()
        self.refused(dataset, "evaluation without label/, wanted its labels, or no such part")

    def test_other_labels(self, dataset: Path, label: Path) -> None:
        save(label, np.full((12, 10, 4), 3, np.uint8))
        self.refused(dataset, r"bad cases: 002: the label has values \[3\] other than 0 and 1, wanted")

    def test_a_header_that_contradicts_itself(self, dataset: Path, image: Path) -> None:
        volume: Any = nibabel.load(image)
        volume.header["pixdim"][1] = 3
        content = bytearray(volume.to_bytes())
        content[76 + 4 : 76 + 8] = np.float32(3).tobytes()
        image.with_suffix("").write_bytes(bytes(content))
        image.write_bytes(gzip.compress(image.with_suffix("").read_bytes()))
        image.with_suffix("").unlink()
        self.refused(dataset, "002: .* an affine with steps of 0.5 .* beside a voxel size of 3 ")

    def test_nan(self, dataset: Path, image: Path) -> None:
        save(image, np.full((12, 10, 4), np.nan, np.float32))
        self.refused(dataset, "002: the image has NaN or infinite values, wanted")

    def test_two_dimensions(self, dataset: Path, image: Path) -> None:
        save(image, np.zeros((12, 10), np.float32))
        self.refused(dataset, r"002: the image has shape \(12, 10\), the label \(12, 10, 4\)")

    def test_all_faults_at_once(self, dataset: Path, image: Path) -> None:
        """Of names and of contents, in both parts of a half-copied set."""
        (dataset / "validation").mkdir()
        for part in ("data", "label"):
            (dataset / "validation" / part).mkdir()
        (dataset / "validation" / "data" / "7.nii.gz").write_bytes(b"")
        image.write_bytes(image.read_bytes()[:100])
        (dataset / "data" / "004.nii.gz").unlink()
        (dataset / "label" / "003.nii.gz").unlink()
        faults = (
            "002: .* cannot be read .*",
            "003: no label",
            "004: no image",
            "validation_7: .* is an empty file",
            "validation_7: no label",
        )
        self.refused(dataset, "; ".join(faults))
