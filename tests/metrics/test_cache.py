"""A cached result is that of the same bytes, of all files that are read."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from surfloss import metrics
from surfloss.metrics import CaseComponent, CaseResult, Component, Lesion, _cache
from surfloss.metrics._case import MeasuredCase

ENDINGS = (".nhdr", ".mhd", ".nrrd", ".mha")


@pytest.fixture(params=ENDINGS)
def folders(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    mask = np.zeros((6, 14, 12), np.uint8)
    mask[1:4, 3:9, 2:8] = 1
    for folder in ("predictions", "targets"):
        (tmp_path / folder).mkdir()
        SimpleITK.WriteImage(
            SimpleITK.GetImageFromArray(mask), str(tmp_path / folder / f"case{request.param}")
        )
    return tmp_path / "predictions", tmp_path / "targets"


def voxels(folder: Path) -> Path:
    """The file with the voxels: the header itself, or the other one."""
    return max(folder.iterdir(), key=lambda path: path.stat().st_size)


def test_changed_voxels_are_evaluated_again(folders: tuple[Path, Path], tmp_path: Path) -> None:
    def dice() -> float:
        (case,) = metrics.evaluate_folders(*folders, tolerance=0.42, cache=tmp_path / "cache").cases
        return case.values["dice"]

    assert dice() == 1
    path = voxels(folders[0])
    content = path.read_bytes()
    path.write_bytes(content[:-1008] + bytes(1008))
    assert dice() < 1e-6
    path.write_bytes(content)
    assert dice() == 1


def test_a_missing_file_of_voxels_is_not_kept(folders: tuple[Path, Path], tmp_path: Path) -> None:
    path = voxels(folders[0])
    content = path.read_bytes()

    def problems() -> dict[str, int]:
        return metrics.evaluate_folders(*folders, tolerance=0.42, cache=tmp_path / "cache").problems

    if path.suffix in ENDINGS:
        pytest.skip("one file")
    path.unlink()
    assert problems() == {"unavailable": 1}
    path.write_bytes(content)
    assert problems() == {}


def test_the_limit_of_sizes_is_a_setting(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def problems() -> dict[str, int]:
        return metrics.evaluate_folders(*folders, tolerance=0.42, cache=tmp_path / "cache").problems

    monkeypatch.setenv("SURFLOSS_MAX_VOLUME_GIB", "1e-9")
    assert problems() == {"unreadable": 1}
    monkeypatch.delenv("SURFLOSS_MAX_VOLUME_GIB")
    assert problems() == {}


RESULT = MeasuredCase(
    (CaseResult("\udcff", "1", {"dice": 0.1 + 0.2}),),
    (CaseComponent("\udcff", "1", Lesion(1, 2, None, (1, 2), 0.5)),),
    (CaseComponent("\udcff", "1", Component(3, 4, 0.1)),),
    target_labels=(1, 2),
)


OTHERS = ["", "{", "[]", "null", "\udcff", "[" * 100_000, '{"key": "another"}', '{"key": "key"}',
          '{"result": {"rows": []}}', '{"seal": "key", "result": {"rows": []}}']  # fmt: skip


@pytest.mark.parametrize("content", OTHERS)
def test_other_files_in_the_cache_are_passed_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "case.json").write_bytes(content.encode(errors="surrogateescape"))
    assert _cache.kept(tmp_path, "case", "key") is None
    _cache.keep(tmp_path, "case", "key", RESULT)
    assert _cache.kept(tmp_path, "case", "key") == RESULT
    assert _cache.kept(tmp_path, "case", "other") is None


@pytest.mark.parametrize(
    ("old", "new"), [('"rows"', '"lines"'), ("0.3", "0.4"), ("null", "1"), ("[1, ", "[")]
)
def test_a_result_that_was_changed_in_the_cache_is_passed_over(tmp_path: Path, old: str, new: str) -> None:
    _cache.keep(tmp_path, "case", "key", RESULT)
    path = tmp_path / "case.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert _cache.kept(tmp_path, "case", "key") is None


def test_a_file_of_the_cache_without_rows_is_written_anew(folders: tuple[Path, Path], tmp_path: Path) -> None:
    def evaluated() -> metrics.FolderEvaluation:
        return metrics.evaluate_folders(*folders, tolerance=0.42, cache=tmp_path / "cache")

    first = evaluated()
    path = tmp_path / "cache" / "case.json"
    whole = path.read_text()
    content = json.loads(whole)
    for key in list(content):
        path.write_text(json.dumps({key: content[key]}))
        assert evaluated() == first
        assert path.read_text() == whole
