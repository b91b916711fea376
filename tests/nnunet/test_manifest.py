"""A run keeps to the data that it was begun with, wherever it is killed and whatever is changed meanwhile."""

import os
import shutil
import signal
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from surfloss.nnunet.convert import convert
from surfloss.nnunet.experiments import Experiment
from surfloss.nnunet.instance2022 import read_instance
from surfloss.nnunet.jobs import list_jobs
from surfloss.nnunet.manifest import describe, differences
from surfloss.nnunet.run_folder import RunFolder
from tests.nnunet.conftest import MINI, perform_here, save

NO_PHANTOM: Experiment = replace(MINI, phantom=None)
ONE_AND_ONE: Experiment = replace(MINI, validation_cases=1)


def prepare(run: RunFolder) -> None:
    [job] = list_jobs(run, "prepare")
    with run.opened():
        perform_here(run, job)


def prepare_and_die(run: RunFolder, replaced: int) -> bool:
    """Prepare in a process that is killed when so many files are written; whether it came to that."""
    child = os.fork()
    if not child:
        left = replaced
        replace_file = os.replace

        def replace_or_die(*arguments: Path) -> None:
            nonlocal left
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            replace_file(*arguments)

        os.replace = replace_or_die
        try:
            prepare(run)
        finally:
            os._exit(run.finished("prepare"))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (-signal.SIGKILL, True)
    return code < 0


def add_two_cases(folder: Path) -> None:
    """Of which the last two cases are held out: what was validation becomes training."""
    for case, other in (("005", "001"), ("006", "002")):
        image = nibabel.load(folder / "data" / f"{other}.nii.gz")
        save(folder / "data" / f"{case}.nii.gz", image.get_fdata(dtype=np.float32) + 1, image.affine)
        shutil.copy(folder / "label" / f"{other}.nii.gz", folder / "label" / f"{case}.nii.gz")


def correct_a_label(folder: Path) -> None:
    image = nibabel.load(folder / "label" / "001.nii.gz")
    save(folder / "label" / "001.nii.gz", 1 - np.asarray(image.dataobj), image.affine)


def remove_a_case(folder: Path) -> None:
    for kind in ("data", "label"):
        (folder / kind / "004.nii.gz").unlink()


def swap_two_images(folder: Path) -> None:
    one, other = (folder / "data" / f"00{number}.nii.gz" for number in (1, 4))
    shutil.move(one, folder / "kept")
    shutil.move(other, one)
    shutil.move(folder / "kept", other)


def contents(folder: Path) -> dict[str, bytes]:
    """Of every file, behind the time in gzip's header."""
    return {str(path.relative_to(folder)): path.read_bytes()[10:] for path in folder.rglob("*.*z*")}


def images(run: RunFolder, part: str) -> Collection[str]:
    return {path.name for path in (run.raw / f"images{part}").glob("*")}


@pytest.mark.parametrize("change", [add_two_cases, correct_a_label, remove_a_case, swap_two_images])
def test_changed_data_are_prepared_anew_by_a_run_that_was_killed(
    dataset: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """At every write: of the settings, the record, the manifest, a case, and of the record at the end."""
    changed = tmp_path / "changed"
    shutil.copytree(dataset, changed)
    change(changed)
    expected = RunFolder(tmp_path / "expected", NO_PHANTOM, changed)
    prepare(expected)
    written = 0
    while True:
        data = tmp_path / f"data{written}"
        run = RunFolder(tmp_path / f"run{written}", NO_PHANTOM, data)
        shutil.copytree(dataset, data)
        if not prepare_and_die(run, written):
            break
        assert not run.finished("prepare")
        shutil.rmtree(data)
        shutil.copytree(changed, data)
        prepare(run)
        assert not images(run, "Tr") & images(run, "Ts")
        assert contents(run.raw) == contents(expected.raw)
        written += 1
    assert written > 2 * 4 + 4


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (add_two_cases, "added: 005, 006; moved from training to validation or back: 003, 004"),
        (correct_a_label, "another label: 001"),
        (remove_a_case, "removed: 004; moved from training to validation or back: 002"),
        (swap_two_images, "another image: 001, 004"),
    ],
)
def test_changed_data_are_refused_once_they_are_prepared(
    dataset: Path, tmp_path: Path, change: Callable[[Path], None], told: str
) -> None:
    run = RunFolder(tmp_path / "run", NO_PHANTOM, dataset)
    prepare(run)
    before = contents(run.raw)
    with run.opened():
        pass
    change(dataset)
    message = (
        rf"data: got .*, which has changed since the run was prepared \({told}\), wanted the data as they"
    )
    with pytest.raises(ValueError, match=message), run.opened():
        pass
    assert contents(run.raw) == before


def test_a_phantom_that_was_changed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", ONE_AND_ONE)
    assert prepare_and_die(run, 2 * 6 + 5)
    correct_a_label(run.source)
    prepare(run)
    label = nibabel.load(run.raw / "labelsTr" / "001.nii.gz")
    assert np.array_equal(label.dataobj, nibabel.load(run.source / "label" / "001.nii.gz").dataobj)
    correct_a_label(run.source)
    with (
        pytest.raises(ValueError, match=r"since the run was prepared \(another label: 001\), wanted"),
        run.opened(),
    ):
        pass
    shutil.rmtree(run.source)  # it has served its purpose
    with run.opened():
        pass


def test_no_case_is_converted_beside_those_of_another_split(dataset: Path, tmp_path: Path) -> None:
    source = read_instance(dataset, 1)
    convert(source, tmp_path / "raw")
    convert(source, tmp_path / "raw")
    message = r"dataset: got .*raw with 003 in imagesTr or labelsTr, wanted a new folder"
    with pytest.raises(ValueError, match=message):
        convert(read_instance(dataset, 2), tmp_path / "raw")


def test_the_same_data_at_another_time_are_the_same(dataset: Path, tmp_path: Path) -> None:
    """What counts is the content: a copy is no change."""
    run = RunFolder(tmp_path / "run", NO_PHANTOM, dataset)
    prepare(run)
    for path in dataset.glob("*/*"):
        os.utime(path, (0, 0))
    (dataset / "data" / ".DS_Store").write_text("no case")
    with run.opened():
        pass
    before, now = describe(run.read_source()), describe(run.read_source())
    assert differences(before, now) == ""
