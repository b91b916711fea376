"""A file is replaced whole or not at all; what is no regular file is never replaced."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from surfloss._files import write_text, written_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole_with_the_folders_above_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.nii.gz"
    with written_whole(path) as unfinished:
        unfinished.write_text("half")
        assert unfinished.name == path.name
        assert not path.exists()
        unfinished.write_text("whole")
    assert path.read_text() == "whole"
    assert names(path.parent) == ["a.nii.gz"]


@pytest.mark.parametrize("old", [None, "old"])
def test_an_error_leaves_what_was_there(tmp_path: Path, old: str | None) -> None:
    path = tmp_path / "a.json"
    if old is not None:
        path.write_text(old)
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half a surrogate pair: \ud800")
    assert names(tmp_path) == ([] if old is None else ["a.json"])
    assert old is None or path.read_text() == old


def test_two_files_at_a_time_in_one_folder(tmp_path: Path) -> None:
    with written_whole(tmp_path / "a") as first:
        first.write_text("a")
        write_text(tmp_path / "b", "b")
    assert names(tmp_path) == ["a", "b"]


def test_processes_that_write_into_one_folder(tmp_path: Path) -> None:
    """One that is done must not take away the hidden folder in which another is about to write."""
    code = (
        "import sys; from pathlib import Path; from surfloss._files import write_text\n"
        "for i in range(300): write_text(Path(sys.argv[1], f'{sys.argv[2]}-{i}'), 'text')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "abc"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    assert len(names(tmp_path)) == 900


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "real" / "a.json")
    for text in ("new", "replaced"):  # the link leads nowhere at first
        write_text(link, text)
        assert link.is_symlink()
        assert (tmp_path / "real" / "a.json").read_text() == text
    assert names(tmp_path) == ["link.json", "real"]
    assert names(tmp_path / "real") == ["a.json"]


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()), daemon=True)
    reader.start()
    write_text(pipe, "through")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    reader.join(timeout=10)
    assert got == ["through"]
    assert names(tmp_path) == ["pipe"]


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=r"folder: got a folder, wanted a file to write$"):
        write_text(tmp_path / "folder", "text")
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == []
