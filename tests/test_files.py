"""A file is replaced whole or not at all; what is no regular file is never replaced."""

import errno
import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from surfloss._files import UNFINISHED, check_writable, write_text, written_whole


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


def test_many_writers_of_one_file_never_tear_it(tmp_path: Path) -> None:
    """Two processes of three threads each; a reader sees the whole text of one of them at any time."""
    code = (
        "import sys; from pathlib import Path; from concurrent.futures import ThreadPoolExecutor\n"
        "from surfloss._files import write_text\n"
        "def write(i): write_text(Path(sys.argv[1]), sys.argv[2] * (1 + 200_000 * (i % 2)))\n"
        "with ThreadPoolExecutor(3) as pool: list(pool.map(write, range(150)))"
    )
    path = tmp_path / "a.json"
    write_text(path, "a")
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "bc"]
    while any(writer.poll() is None for writer in writers):
        text = path.read_text()
        assert text in (text[0], text[0] * 200_001)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert names(tmp_path) == ["a.json"]


def test_links_in_the_place_of_the_unfinished_file_are_not_followed(tmp_path: Path) -> None:
    """The name of the hidden folder cannot be foreseen; where it is there already another is taken."""
    other = tmp_path / "other"
    other.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    for name in (".unfinished", f"{UNFINISHED}taken", ".a.json.tmp"):
        (out / name).symlink_to(other)
    (other / "a.json").write_text("not mine")
    with pytest.MonkeyPatch.context() as patched:
        foreseen = iter(("taken", "free"))
        patched.setattr(tempfile, "_get_candidate_names", lambda: foreseen)
        with written_whole(out / "a.json") as unfinished:
            assert unfinished == out / f"{UNFINISHED}free" / "a.json"
            assert unfinished.parent.stat().st_mode & 0o777 == 0o700
            unfinished.write_text("mine")
    assert (other / "a.json").read_text() == "not mine"
    assert (out / "a.json").read_text() == "mine"


def test_the_file_has_the_users_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "shared with a group")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o400, 0o644])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(mode)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for name in ("a", "link"):
        write_text(tmp_path / name, name)
        assert (tmp_path / "a").read_text() == name
        assert (tmp_path / "a").stat().st_mode & 0o777 == mode


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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_names_the_file(tmp_path: Path, number: int) -> None:
    path = tmp_path / "a.json"
    message = rf"{os.strerror(number)}: '{path}'$"
    with pytest.raises(OSError, match=message), written_whole(path):
        raise OSError(number, os.strerror(number))
    with pytest.raises(OSError, match=message), written_whole(path) as unfinished:
        raise OSError(number, os.strerror(number), str(unfinished))
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_full_device_is_named_as_it_was_given(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/full")
    for path in (Path("/dev/full"), link):
        with pytest.raises(OSError, match=rf"{os.strerror(errno.ENOSPC)}: '{path}'$"):
            write_text(path, "text")


def unwritable(folder: Path) -> list[tuple[Path, str]]:
    (folder / "file").write_text("text")
    long = "x" * 300
    return [
        (
            Path("/proc/x.csv"),
            r"^/proc/x.csv: got /proc, where it cannot be made \(.*\), wanted a file to write$",
        ),
        (Path("/proc/new/folder/x.csv"), "got /proc, where it cannot be made"),
        (folder / "file" / "x.csv", r"got .*/file, where it cannot be made \(Not a directory\)"),
        (folder / "file" / "new" / "x.csv", r"got .*/file, where it cannot be made \(Not a directory\)"),
        (folder / "new" / long, r"where it cannot be made \(File name too long\)"),
        (folder / long / "x.csv", r"where it cannot be made \(File name too long\)"),
        (folder, "got a folder, wanted a file to write"),
    ]


def test_what_cannot_be_written_is_told_before(tmp_path: Path) -> None:
    for path, message in unwritable(tmp_path):
        with pytest.raises(ValueError, match=message):
            check_writable(path)
        with pytest.raises((ValueError, OSError)):  # and not tried for ever
            write_text(path, "text")
    assert names(tmp_path) == ["file", "new"]  # the second by `write_text`


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told_before(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="Permission denied"):
        check_writable(tmp_path / "new" / "x.csv")


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "x.csv")
    for path in (
        "new.csv",
        "old.csv",
        "a/new/folder/x.csv",
        "link.csv",
        "with space.csv",
        "\udcff/\udcfe.csv",
    ):
        check_writable(tmp_path / path)
    check_writable(Path("/dev/null"))
    assert names(tmp_path) == ["link.csv", "old.csv"]
    assert (tmp_path / "old.csv").read_text() == "old"
