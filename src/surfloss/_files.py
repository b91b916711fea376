"""Files appear under their names only when they are whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from surfloss._check import fail

UNFINISHED = ".unfinished"
"""The hidden folder of files that are being written; a killed process leaves it behind."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write to; on leaving the block without an error that file replaces `path` at once.

    The unfinished file lies in a hidden folder beside `path`, under the same name, so that a format told by
    the ending still is and a listing of the folder never shows it; several processes may write into one
    folder. An error removes it. A link stays one: the file that it leads to is replaced. A device or a pipe
    cannot be replaced and is written to directly.

    Raises:
        ValueError: if `path` is a folder.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        fail(str(path), "a folder", "a file to write")
    if target.exists() and not target.is_file():
        yield target
        return
    folder = target.parent / UNFINISHED
    unfinished = folder / target.name
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            unfinished.touch()
            break  # the folder is not empty any more, and stays
        except (FileNotFoundError, FileExistsError):
            if folder.is_file():
                raise
            # Another process was done, and removed the folder just now.
    try:
        yield unfinished
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
        with suppress(OSError):  # another file is being written there
            folder.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all, with the folders above it."""
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
