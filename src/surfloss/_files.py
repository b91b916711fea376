"""Files appear under their names only when they are whole."""

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from surfloss._check import fail

UNFINISHED = ".unfinished-"
"""How the hidden folders begin in which files are written; a killed process leaves its own behind."""

_DAY = 86400.0
_OF_A_DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write to; on leaving the block without an error that file replaces `path` at once.

    A folder can be made there instead, if there is nothing at `path` yet.

    The unfinished file has the same name, so that a format told by the ending still is. It lies in a new
    hidden folder beside `path` that only this user may enter, so no link that someone else made is followed.
    Any number of processes may write one path; the last to finish wins. An error removes the folder with all
    that was written there. A link at `path` itself is the user's and stays one: the file that it leads to is
    replaced, and its permissions are kept. A device or a pipe cannot be replaced and is written to directly.

    Raises:
        ValueError: if `path` is a folder.
        OSError: if the file cannot be written.
    """
    target = _target(path)
    with naming(path):
        if _is_special(target):
            yield target
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with _hidden_folder(target.parent) as folder:
            unfinished = folder / target.name
            yield unfinished
            with suppress(OSError):  # there is none, or its file system has no permissions
                shutil.copymode(target, unfinished)
            os.replace(unfinished, target)


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


def remove_abandoned(folder: Path) -> None:
    """Remove the hidden folders in `folder` and below whose writers were killed: those older than a day."""
    for hidden in folder.rglob(f"{UNFINISHED}*"):
        with suppress(FileNotFoundError):  # a living writer's
            if time.time() - hidden.lstat().st_mtime > _DAY:
                shutil.rmtree(hidden, ignore_errors=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have a disk's errors name `path` where they name no file, or an unfinished one."""
    try:
        yield
    except OSError as error:
        unnamed = error.filename is None and error.errno in _OF_A_DISK
        if unnamed or UNFINISHED in str(error.filename):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


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
