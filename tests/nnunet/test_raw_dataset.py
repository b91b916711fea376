"""Data sets with a `dataset.json`: how they are read and converted, and what is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from skimage import io

from surfloss.nnunet.convert import convert
from surfloss.nnunet.raw_dataset import has_test_part, is_planar, read_raw_dataset
from tests.nnunet.conftest import save
from tests.nnunet.raw import describe, description_of, write_decathlon, write_planes, write_volumes


def converted(folder: Path) -> Path:
    out = folder.parent / "Dataset001_X"
    convert(read_raw_dataset(folder), out)
    return out


def load(path: Path) -> Any:
    return nibabel.load(path)


def test_colour_planes_become_a_file_a_channel(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "planes")
    assert is_planar(folder)
    out = converted(folder)
    source = io.imread(folder / "imagesTr" / "cell_2_0000.png")
    for channel in range(3):
        image = load(out / "imagesTr" / f"cell_2_{channel:04}.nii.gz")
        assert image.shape == (48, 48)
        np.testing.assert_array_equal(image.get_fdata().T, source[..., channel])
    label = load(out / "labelsTr" / "cell_2.nii.gz")
    assert set(np.unique(label.get_fdata())) == {0, 1, 2}
    description = description_of(out)
    assert description["labels"] == {"background": 0, "square": 1, "disc": 2}
    assert description["file_ending"] == ".nii.gz"


def test_regions_channels_ignored_voxels_and_a_test_part(tmp_path: Path) -> None:
    folder = write_volumes(tmp_path / "Dataset007_Volumes")
    assert has_test_part(folder)
    assert not is_planar(folder)
    out = converted(folder)
    assert sorted(path.name for path in (out / "imagesTs").iterdir()) == [
        f"Ts{case}_{channel:04}.nii.gz" for case in range(2) for channel in range(2)
    ]
    assert load(out / "labelsTs" / "Ts0.nii.gz").header.get_zooms() == (1, 1, 2)
    description = description_of(out)
    assert description["regions_class_order"] == [1, 2]
    assert description["labels"]["whole"] == [1, 2]


def test_the_decathlons_form(tmp_path: Path) -> None:
    source = read_raw_dataset(write_decathlon(tmp_path / "Task01_Things"))
    assert [case.name for case in source.training] == [f"case_{number:03}" for number in range(4)]
    assert source.labels == {"background": 0, "front": 1, "back": 2}
    assert source.passed_over == (
        "4 hidden files in imagesTr",
        "images that dataset.json does not name: unlabelled.nii.gz",
    )


def test_several_channels_in_one_file(tmp_path: Path) -> None:
    folder = write_decathlon(tmp_path / "Task01_Things", channels=2)
    out = converted(folder)
    source = load(folder / "imagesTr" / "case_001.nii.gz").get_fdata()
    second = load(out / "imagesTr" / "case_001_0001.nii.gz")
    np.testing.assert_array_equal(second.get_fdata(), source[..., 1])
    assert second.header.get_xyzt_units()[0] == "mm"


def test_tiff_with_a_spacing_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "tiff"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        image = rng.normal(size=(5, 8, 7)).astype(np.float32)
        tifffile.imwrite(folder / "imagesTr" / f"{name}_0000.tif", image)
        tifffile.imwrite(folder / "labelsTr" / f"{name}.tif", (image > 1).astype(np.uint8))
        (folder / "imagesTr" / f"{name}.json").write_text(json.dumps({"spacing": [3.0, 1.0, 0.5]}))
    describe(
        folder,
        channel_names={"0": "x"},
        labels={"background": 0, "x": 1},
        numTraining=2,
        file_ending=".tif",
    )
    out = converted(folder)
    written = load(out / "imagesTr" / "b_0000.nii.gz")
    np.testing.assert_array_equal(written.get_fdata().T.astype(np.float32), image)
    assert written.header.get_zooms() == (0.5, 1.0, 3.0)
    assert load(out / "labelsTr" / "b.nii.gz").header.get_zooms() == (0.5, 1.0, 3.0)


def test_volumes_of_one_slice_are_planes(tmp_path: Path) -> None:
    folder = write_decathlon(tmp_path / "thin", cases=2)
    rng = np.random.default_rng(0)
    for path in folder.glob("*/case*"):
        voxels = rng.normal(size=(9, 7, 1)) if path.parent.name == "imagesTr" else np.ones((9, 7, 1))
        save(path, voxels.astype(np.float32), np.diag([0.5, 0.25, 1, 1]))
    assert is_planar(folder)
    written = load(converted(folder) / "labelsTr" / "case_000.nii.gz")
    assert (written.shape, written.header.get_zooms()) == ((9, 7), (0.5, 0.25))


def remove(part: str) -> Callable[[Path], None]:
    return lambda folder: (folder / part).unlink()


def change(**entries: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        describe(folder, **{**description_of(folder), **entries})

    return apply


def copy(old: str, new: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / new).write_bytes((folder / old).read_bytes())

    return apply


def other_label(values: int = 7, shape: tuple[int, ...] = (24, 20, 12)) -> Callable[[Path], None]:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    return lambda folder: save(folder / "labelsTr" / "Tr1.nii.gz", np.full(shape, values, np.uint8), affine)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove("labelsTr/Tr2.nii.gz"), "bad cases: Tr2: no label, wanted"),
        (remove("imagesTr/Tr2_0001.nii.gz"), "Tr2: the image has 1 channels, dataset.json names 2"),
        (remove("labelsTs/Ts0.nii.gz"), "bad cases: Ts0: no label"),
        (change(numTraining=9), "dataset.json: numTraining is 9, imagesTr and labelsTr have 4 cases"),
        (
            change(labels={"background": 0, "a": 2}),
            "dataset.json: the labels [0, 2], which leave numbers out",
        ),
        (change(labels={"a": 1}), "dataset.json: labels without background as 0"),
        (change(labels={"background": 0}), "dataset.json: no label but the background"),
        (change(labels={"background": 0, "a": "x"}), "dataset.json: the label 'a' is 'x', no whole number"),
        (change(regions_class_order=[1]), "dataset.json: regions, and no regions_class_order of 2 numbers"),
        (
            change(labels={"background": 0, "ignore": 1, "a": 2}),
            "dataset.json: the label 'ignore' is 1, not the highest",
        ),
        (change(channel_names={"1": "a"}), "with the channels 1, wanted channels"),
        (change(channel_names=[1]), "dataset.json without channel_names, wanted a dataset.json"),
        (change(file_ending=".nrrd"), "without any .nrrd file in imagesTr and labelsTr"),
        (copy("labelsTr/Tr1.nii.gz", "labelsTr/TR1.nii.gz"), "twice in labelsTr/, as TR1.nii.gz and Tr1"),
        (copy("labelsTr/Tr1.nii.gz", "labelsTr/Tr9.nii.gz"), "Tr9: no image"),
        (
            copy("imagesTr/Tr1_0000.nii.gz", "imagesTr/Tr1.nii.gz"),
            "Tr1.nii.gz: in imagesTr without a channel's number, as _0000.nii.gz",
        ),
        (other_label(), "bad cases: Tr1: the label has values [7] other than 0, 1, 2 and 3"),
        (other_label(1, (24, 20, 11)), "Tr1: the image has shape (24, 20, 12), the label (24, 20, 11)"),
    ],
)
def test_bad_volumes(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    folder = write_volumes(tmp_path / "volumes")
    spoil(folder)
    with pytest.raises(ValueError, match=re.escape(message)):
        converted(folder)
    assert not (tmp_path / "Dataset001_X").exists()


def test_all_faults_at_once(tmp_path: Path) -> None:
    folder = write_volumes(tmp_path / "volumes")
    for spoil in (remove("labelsTr/Tr2.nii.gz"), remove("imagesTr/Tr0_0000.nii.gz"), change(numTraining=7)):
        spoil(folder)
    (folder / "labelsTs" / "Ts1.nii.gz").write_bytes(b"")
    with pytest.raises(ValueError, match="bad cases") as caught:
        read_raw_dataset(folder)
    told = str(caught.value)
    for part in (
        "Tr0: the channels 0001, where dataset.json names 2",
        "Tr2: no label",
        "is an empty file",
        "numTraining is 7",
    ):
        assert part in told
    with pytest.raises(ValueError, match=r"leave_out: got x, wanted names of cases"):
        read_raw_dataset(folder, ["x"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            remove("labelsTr/case_001.nii.gz"),
            "labelsTr/case_001.nii.gz, which dataset.json names, is missing",
        ),
        (change(numTraining=3), "numTraining is 3, training names 4 cases"),
        (change(training=[{"image": "x"}]), "the entry {'image': 'x'} of training, which names no image"),
        (change(training=[], numTraining=0), "that names no training case"),
        (change(modality={"0": "a", "1": "b"}), "the image has 1 channels, dataset.json names 2"),
    ],
)
def test_a_bad_decathlon(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    folder = write_decathlon(tmp_path / "Task01_Things")
    spoil(folder)
    with pytest.raises(ValueError, match=re.escape(message)):
        converted(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "which cannot be read"),
        ("{", "which is no JSON"),
        ("[]", "with a list"),
        ("{}", "without labels"),
    ],
)
def test_no_description(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(ValueError, match=f"data: got .*dataset.json.* {message}.*, wanted a dataset.json of"):
        read_raw_dataset(tmp_path)


def test_left_out_cases_count_for_nothing(tmp_path: Path) -> None:
    folder = write_volumes(tmp_path / "volumes")
    (folder / "labelsTr" / "Tr2.nii.gz").unlink()
    source = read_raw_dataset(folder, ["Tr2", "Ts0"])
    assert [case.name for case in source.cases] == ["Tr0", "Tr1", "Tr3", "Ts1"]


def test_a_damaged_picture(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "planes")
    (folder / "imagesTr" / "cell_1_0000.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"cell_1: .*cell_1_0000\.png: got a file that cannot be read"):
        converted(folder)
