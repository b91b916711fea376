"""Volumes in files: which files count, and each read whole with a header that makes sense, or refused.

NIfTI is read by nibabel, NRRD and MetaImage by the modules here: in Python, which no bad header crashes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from surfloss._check import fail
from surfloss._volumes import _metaimage, _nifti, _nrrd
from surfloss._volumes._text import Header
from surfloss._volumes._volume import Fault, Unavailable, Volume, require_regular, shown, whole_numbers

__all__ = ["ENDINGS", "NIFTI", "Unavailable", "Volume", "read_volume", "sources", "volumes", "whole_numbers"]

NIFTI = (".nii.gz", ".nii")


class _Format(NamedTuple):
    name: str
    read: Callable[[Path], Volume]
    header: Callable[[Path], Header] | None = None  # of text, which may name a file of voxels


_READERS = {
    **dict.fromkeys(NIFTI, _Format("NIfTI", _nifti.read)),
    **dict.fromkeys((".nrrd", ".nhdr"), _Format("NRRD", _nrrd.read, _nrrd.header_of)),
    **dict.fromkeys((".mha", ".mhd"), _Format("MetaImage", _metaimage.read, _metaimage.header_of)),
}
ENDINGS = tuple(_READERS)


def volumes(folder: Path, endings: tuple[str, ...] = ENDINGS) -> Iterator[tuple[str, Path]]:
    """Case name and path of everything in a folder that counts as a volume, sorted by path.

    A volume's name has one of the endings, in small letters or capitals, and does not begin with a dot.
    Hidden files are what other programs leave behind, as macOS does `._001.nii.gz`.
    """
    for path in sorted(folder.iterdir()):
        known = _ending(path, endings)
        if known and not path.name.startswith("."):
            yield path.name[: -len(known)], path


def read_volume(path: Path) -> Volume:
    """Read a volume of real numbers on a rectangular grid.

    Raises:
        ValueError: naming the file and its fault: it is no regular file, cut off or larger than the limit of
            `SURFLOSS_MAX_VOLUME_GIB`, holds something else than real numbers, or its header has no spacing or
            contradicts itself.
        Unavailable: naming the file, if it cannot be opened now or memory runs short.
    """
    form = _format(path)
    try:
        require_regular(path)
        return form.read(path)
    except (Fault, Unavailable):
        raise
    except Exception as error:  # the libraries and the file system each have their own
        reason = shown(" ".join(f"{type(error).__name__}: {error}".split()))
        # The system's errors have a number; libraries raise OSError without one for what they read.
        system = isinstance(error, OSError) and error.errno is not None
        kind = Unavailable if system or isinstance(error, MemoryError) else Fault
        fail(str(path), f"a file that cannot be read ({reason})", f"a whole {form.name} volume", kind)


def sources(path: Path) -> list[Path]:
    """The files that `read_volume` reads: this one, and the one with the voxels that its header may name.

    Raises:
        ValueError, OSError: if the header cannot be read, or a file is no regular file.
    """
    require_regular(path)
    header_of = _format(path).header
    return list(dict.fromkeys([path, *([header_of(path).source] if header_of else [])]))


def _format(path: Path) -> _Format:
    return _READERS[_ending(path, ENDINGS) or ".nii"]


def _ending(path: Path, endings: tuple[str, ...]) -> str | None:
    return next((known for known in endings if path.name.lower().endswith(known)), None)
