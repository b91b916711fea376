"""What NRRD and MetaImage share: a header of text, and the voxels behind it or in a file that it names."""

import bz2
import gzip
import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PureWindowsPath
from typing import IO, Any, NoReturn

import numpy as np
import numpy.typing as npt

from surfloss._check import fail
from surfloss._volumes._volume import Fault, require_regular, require_size, shown

_LONGEST = 2**20  # bytes of a header


class Header(dict[str, str]):
    """The fields of a file's header by name, and where it ends.

    Args:
        path: the file.
        fields: name and value of each field, from the file and the lines that are taken from it.
    """

    def __init__(
        self, path: Path, fields: Callable[[Path, Iterator[str]], Iterator[tuple[str, str]]]
    ) -> None:
        super().__init__()
        self.path = path
        with path.open("rb") as file:
            for name, value in fields(path, _lines(path, file)):
                if self.get(name, value) != value:
                    self.refuse(f"two values of {name}, {self[name]!r} and {value!r}", "one")
                self[name] = value
            self.end = file.tell()

    def __missing__(self, name: str) -> NoReturn:
        self.refuse(f"a header without the field {name!r}", "one with it")

    @property
    def source(self) -> Path:
        """The file with the voxels: this one, or another in its folder or below."""
        name = self.get("datafile", "LOCAL")
        if name.upper() == "LOCAL":
            return self.path
        if name.upper().split()[:1] == ["LIST"] or "%" in name:
            self.refuse(f"voxels in several files ({name})", "all of them in one file")
        place = PureWindowsPath(name)  # the strictest: what is refused is the same on all systems
        if not name or place.anchor or ".." in place.parts:
            self.refuse(f"voxels in the file {name!r}", "a file in the folder of the header")
        path = self.path.parent / name
        require_regular(path)
        return path

    def refuse(self, got: str, wanted: str) -> NoReturn:
        fail(str(self.path), shown(got), wanted, Fault)

    def require(self, allowed: dict[str, tuple[str, ...]]) -> None:
        """Refuse fields with a meaning that is not supported, unless they have one of these values."""
        for name, values in allowed.items():
            if name in self and self[name].lower() not in values:
                self.refuse(f"{name}: {self[name]}", " or ".join(values) or "no such field")

    def wholes(self, name: str, count: int) -> tuple[int, ...]:
        return tuple(int(part) for part in self._parts(name, count))

    def numbers(self, name: str, count: int) -> npt.NDArray[np.float64]:
        return np.array([float(part) for part in self._parts(name, count)])

    def _parts(self, name: str, count: int) -> list[str]:
        parts = self[name].split()
        if len(parts) != count:
            self.refuse(f"{name}: {self[name]}", f"{count} numbers")
        return parts


def _lines(path: Path, file: IO[bytes]) -> Iterator[str]:
    """The lines of a header of at most 1 MiB; the file stays behind the last one that was asked for."""
    while line := file.readline(_LONGEST + 1):
        if file.tell() > _LONGEST:
            fail(str(path), "a header of more than 1 MiB", "a shorter one", Fault)
        yield line.decode("utf-8", "surrogateescape").strip()


_DECODED: dict[str, Callable[[IO[bytes], int], bytes]] = {
    "raw": lambda file, size: file.read(size),
    "gzip": lambda file, size: gzip.GzipFile(fileobj=file).read(size),
    "bzip2": lambda file, size: bz2.BZ2File(file).read(size),
    "zlib": lambda file, size: _inflated(file.read(), size),
}


def _inflated(stream: bytes, size: int) -> bytes:
    decoder = zlib.decompressobj()
    data = decoder.decompress(stream, size)
    if not decoder.eof and len(data) < size:
        raise EOFError("the compressed voxels are cut off")
    return data


def voxels(header: Header, encoding: str, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The voxels in the order of the header's axes, of which the first varies fastest.

    Args:
        header: of the volume.
        encoding: a key of `_DECODED`.
        dtype: NumPy's name, with the order of bytes.
        shape: along the header's axes.
    """
    kind = np.dtype(dtype)
    require_size(header.path, shape, kind.itemsize)
    if encoding not in _DECODED:
        header.refuse(f"the encoding {encoding!r}", "raw, gzip or bzip2")
    size = math.prod(shape) * kind.itemsize
    source = header.source
    with source.open("rb") as file:
        file.seek(header.end if source == header.path else 0)
        data = _DECODED[encoding](file, size + 1)
    if len(data) != size:
        got = "more" if len(data) > size else len(data)
        header.refuse(f"{got} bytes of voxels", f"the {size} of shape {shape} and {kind.name}")
    return np.frombuffer(data, kind).reshape(shape, order="F")
