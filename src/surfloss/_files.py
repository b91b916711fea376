"""Files appear under their names only when they are whole."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from surfloss._check import fail

UNFINISHED = ".unfinished-"
"""How the hidden folders begin in which files are written; a killed process leaves its own behind."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write to; on leaving the block without an error that file replaces `path` at once.

    The unfinished file has the same name, so that a format told by the ending still is. It lies in a new
    hidden folder beside `path` that only this user may enter, so no link that someone else made is followed.
    Any number of processes may write one path; the last to finish wins. An error removes the folder with all
    that was written there. A link at `path` itself is the user's and stays one: the file that it leads to is
    replaced. A device or a pipe cannot be replaced and is written to directly.

    Raises:
        ValueError: if `path` is a folder.
        OSError: if the file cannot be written; it names `path`.
    """
    target = _target(path)
    if _is_special(target):
        yield target
        return
    with naming(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _hidden_folder(target.parent) as folder:
            yield folder / target.name
            os.replace(folder / target.name, target)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all, with the folders above it."""
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def check_writable(path: Path) -> None:
    """Check before the work starts that `written_whole(path)` will be able to write; nothing is left behind.

    Raises:
        ValueError: if `path` is a folder, or neither it nor the missing folders above it can be made.
    """
    target = _target(path)
    if _is_special(target):
        if not os.access(target, os.W_OK):
            fail(str(path), "no permission to write it", "a file to write")
        return
    there = next(folder for folder in target.parents if os.path.lexists(folder))
    try:
        with _hidden_folder(there) as folder:
            write_text(folder / target.relative_to(there), "")
    except OSError as error:
        fail(str(path), f"{there}, where it cannot be made ({error.strerror})", "a file to write")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have the system's errors name `path` where they name an unfinished file or, as of a full disk, none."""
    try:
        yield
    except OSError as error:
        if error.errno is None or not (error.filename is None or UNFINISHED in str(error.filename)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _target(path: Path) -> Path:
    target = Path(os.path.realpath(path))
    if os.path.isdir(target):
        fail(str(path), "a folder", "a file to write")
    return target


def _is_special(target: Path) -> bool:
    return os.path.exists(target) and not os.path.isfile(target)


@contextmanager
def _hidden_folder(parent: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
