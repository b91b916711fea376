"""Results in a folder, each kept as long as nothing that it depends on changes."""

import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from surfloss._env import volume_limit
from surfloss._files import write_text
from surfloss._volumes import sources
from surfloss.metrics._case import MeasuredCase


def key_of(question: object, volumes: Iterable[Path]) -> str | None:
    """A hash of the question and of all bytes that are read to answer it; None if a file cannot be read now.

    Args:
        question: everything but the files, with a `repr` of its values.
        volumes: the files; those that their headers name are read, too.
    """
    try:
        digest = hashlib.sha256(repr((version("surfloss"), volume_limit(), question)).encode())
        for volume in volumes:
            for path in sources(volume):
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    except (OSError, ValueError):
        return None
    return digest.hexdigest()


def kept(folder: Path, name: str, key: str) -> MeasuredCase | None:
    """The result of that name, if it is there, as `keep` wrote it, and of the same files and settings."""
    try:
        content = json.loads(_path(folder, name).read_text(encoding="utf-8"))
        if content["seal"] == _seal(key, json.dumps(content["result"])):
            return MeasuredCase.from_dict(content["result"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return None


def keep(folder: Path, name: str, key: str, result: MeasuredCase) -> None:
    text = json.dumps(result.to_dict(), allow_nan=False)
    write_text(_path(folder, name), f'{{"seal": "{_seal(key, text)}", "result": {text}}}')


def _seal(key: str, text: str) -> str:
    """A hash of a key and the result that was found for it."""
    return hashlib.sha256(f"{key} {text}".encode()).hexdigest()


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"
