"""The study's folders of real data: read as parts, and refused with every fault named."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks.training import data, study
from benchmarks.training.folders import LAYOUTS, cases_in


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    data.load.cache_clear()


def write(path: Path, voxels: np.ndarray, step: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".png"):
        Image.fromarray(voxels).save(path)
    else:
        nibabel.Nifti1Image(voxels, np.diag([step] * 3 + [1])).to_filename(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty sound cases of either data set."""
    rng = np.random.default_rng(0)
    for number in range(40):
        volume = rng.integers(0, 3, (4, 5, 6)).astype(np.uint8)
        write(tmp_path / f"hippocampus/images/h_{number}.nii.gz", volume.astype(np.float32))
        write(tmp_path / f"hippocampus/labels/h_{number}.nii.gz", volume)
        image = rng.integers(0, 9, (6, 7))
        write(tmp_path / f"nuclei/images/n_{number}.png", image.astype(np.uint8))
        write(tmp_path / f"nuclei/labels/n_{number}.png", image.astype(np.uint16))
    return tmp_path


def test_parts_are_disjoint_and_whole(folder: Path) -> None:
    for name, layout in LAYOUTS.items():
        parts = [data.load(name, part, folder) for part in ("train", "validation", "test")]
        names = [case.name for part in parts for case in part]
        assert len(set(names)) == len(names) == 40
        case = parts[0][0]
        assert case.image.shape == case.label.shape
        assert case.image.mean().abs() < 1e-5
        assert int(case.label.max()) == (layout.labels or 1)  # instances are one foreground
        assert data.part_of(case.name) == "train"


def test_hidden_files_are_passed_over(folder: Path) -> None:
    (folder / "nuclei/images/._n_1.png").write_bytes(b"not a picture")
    (folder / "nuclei/.DS_Store").touch()
    assert len(cases_in(folder, "nuclei")) == 40


def test_all_faults_are_named_at_once(folder: Path) -> None:
    images, labels = folder / "hippocampus/images", folder / "hippocampus/labels"
    (labels / "h_0.nii.gz").unlink()
    (images / "h_1.nii.gz").unlink()
    write(labels / "h_2.nii.gz", np.zeros((4, 5, 7), np.uint8))
    write(labels / "h_3.nii.gz", np.full((4, 5, 6), 3, np.uint8))
    write(labels / "h_4.nii.gz", np.zeros((4, 5, 6), np.uint8), step=2.0)
    write(images / "h_5.nii.gz", np.full((4, 5, 6), np.nan, np.float32))
    (images / "h_6.nii.gz").write_bytes(b"no volume")
    write(labels / "h_7.nii.gz", np.full((4, 5, 6), 0.5, np.float32))
    done = CliRunner().invoke(
        study.app, ["run", "hippocampus-selection", "--data", str(folder), "--only", "Dice + CE"]
    )
    assert done.exit_code == 2
    with pytest.raises(ValueError, match="8 faults in") as error:
        cases_in(folder, "hippocampus")
    text = str(error.value)
    for told in (
        "images/h_0.nii.gz: no label",
        "labels/h_1.nii.gz: no image",
        "h_2.nii.gz: shape (4, 5, 7), the image's is (4, 5, 6)",
        "h_3.nii.gz: labels [3], wanted whole numbers from 0 to 2",
        "h_4.nii.gz: spacing (2.0, 2.0, 2.0), the image's is (1.0, 1.0, 1.0)",
        "h_5.nii.gz: voxels that are not finite",
        "h_6: ",
        "h_7.nii.gz: labels [0.5]",
    ):
        assert told in text
    assert "medicaldecathlon.com" in text


def test_a_colour_image_is_no_case(folder: Path) -> None:
    write(folder / "nuclei/images/n_0.png", np.zeros((6, 7, 3), np.uint8))
    with pytest.raises(ValueError, match=r"n_0\.png: got mode 'RGB', wanted a gray image"):
        cases_in(folder, "nuclei")


def test_missing_folders_say_where_the_data_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no folder .*BBBC038"):
        cases_in(tmp_path, "nuclei")
    for side in ("images", "labels"):
        (tmp_path / "nuclei" / side).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no \.png in .*BBBC038"):
        cases_in(tmp_path, "nuclei")
    with pytest.raises(ValueError, match="--data: got none, wanted the folder of nuclei"):
        data.load("nuclei", "train")
