"""Files appear under their names only when they are whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write to; on leaving the block without an error that file replaces `path` at once.

    The unfinished file lies in a hidden folder beside `path`, under the same name, so that a format told by
    the ending still is and a listing of the folder never shows it. An error removes it.
    """
    folder = path.parent / ".unfinished"
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / path.name
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all, with the folders above it."""
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
