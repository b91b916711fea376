"""NRRD files: `.nrrd`, or `.nhdr` with the voxels in another file. https://teem.sourceforge.net/nrrd/format.html"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from surfloss._check import fail
from surfloss._volumes import _text
from surfloss._volumes._text import Header
from surfloss._volumes._volume import Fault, Volume, make_volume, millimetres

_TYPES = {
    name: dtype
    for dtype, names in {
        "i1": "signed char|int8|int8_t",
        "u1": "uchar|unsigned char|uint8|uint8_t",
        "i2": "short|short int|signed short|signed short int|int16|int16_t",
        "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
        "i4": "int|signed int|int32|int32_t",
        "u4": "uint|unsigned int|uint32|uint32_t",
        "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
        "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
        "f4": "float",
        "f8": "double",
    }.items()
    for name in names.split("|")
}
_ENCODINGS = {"gz": "gzip", "bz2": "bzip2"}
_ORDERS = {"little": "<", "big": ">"}
_RAS = {"right-anterior-superior": (1, 1), "ras": (1, 1), "left-anterior-superior": (-1, 1), "las": (-1, 1)}
_LPS = (-1, -1)  # also of spaces without a relation to the body, as ITK takes them
_ALLOWED = {"lineskip": ("0",), "byteskip": ("0", "-1"), "axismins": (), "axismaxs": ()}


def header_of(path: Path) -> Header:
    return Header(path, _fields)


def _fields(path: Path, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """By their names without spaces, in small letters."""
    if not re.fullmatch(r"NRRD000\d", next(lines, "")):
        fail(str(path), "no NRRD header", "a file that begins with NRRD000", Fault)
    for line in lines:
        if not line:
            return
        name, _, value = line.partition(":")
        if not (line.startswith("#") or value.startswith("=")):  # comments, and keys with values of others
            yield name.lower().replace(" ", ""), value.strip()


def read(path: Path) -> Volume:
    header = header_of(path)
    header.require(_ALLOWED)
    shape = header.wholes("sizes", int(header["dimension"]))
    dtype = _TYPES.get(header["type"].lower()) or header.refuse(f"type: {header['type']}", "real numbers")
    if not dtype.endswith("1"):
        dtype = _ORDERS[header["endian"].lower()] + dtype
    encoding = header["encoding"].lower()
    encoding = _ENCODINGS.get(encoding, encoding)
    voxels = _text.voxels(header, encoding, dtype, shape)
    axes = _axes(header, len(shape))
    for place, axis in enumerate(axes):
        if axis is None and shape[place] > 1:
            header.refuse(f"an axis of {shape[place]} values without spacing", "a volume of real numbers")
    spatial = np.array([axis for axis in axes if axis is not None]).T  # from voxels to the space
    dims = spatial.shape[-1]
    if not 1 <= dims <= 3 or spatial.shape[0] != dims:
        header.refuse(f"{dims} spatial axes in a space of {len(spatial)}", "2 or 3 in a space of as many")
    affine = np.eye(4)
    affine[:dims, :dims] = spatial
    if "spaceorigin" in header:
        affine[:dims, 3] = _vector(header["spaceorigin"])
    affine[:2] *= np.array(_RAS.get(header.get("space", "").lower(), _LPS))[:, None]
    mm = millimetres(path, re.findall(r'"([^"]*)"', header.get("spaceunits", header.get("units", ""))))
    kept = [size for size, axis in zip(shape, axes, strict=True) if axis is not None]
    return make_volume(path, voxels.reshape(kept, order="F"), affine, np.linalg.norm(spatial, axis=0), mm)


def _axes(header: Header, dims: int) -> list[npt.NDArray[np.float64] | None]:
    """The step along each axis as a vector in the space, None for an axis that is not spatial."""
    if "spacedirections" in header:
        found = re.findall(r"none|\([^()]*\)", header["spacedirections"])
        axes = [None if text == "none" else _vector(text) for text in found]
    else:
        if "space" in header:
            header.refuse("a space without space directions", "both")
        spacings = header.numbers("spacings", dims)
        if (spacings <= 0).any():
            header.refuse(f"spacings: {header['spacings']}", "positive numbers")
        spatial = ~np.isnan(spacings)
        rows = iter(np.diag(spacings[spatial]))
        axes = [next(rows) if known else None for known in spatial]
    if len(axes) != dims:
        header.refuse(f"space directions: {header['spacedirections']}", f"{dims}, one for each axis")
    return axes


def _vector(text: str) -> npt.NDArray[np.float64]:
    return np.array([float(part) for part in text.strip("()").split(",")])
