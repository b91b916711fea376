"""MetaImage files: `.mha`, or `.mhd` with the voxels in another file. https://itk.org/Wiki/ITK/MetaIO/Documentation"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from surfloss._volumes import _text
from surfloss._volumes._text import Header
from surfloss._volumes._volume import Volume, make_volume, millimetres

_TYPES = {
    "met_char": "i1",
    "met_uchar": "u1",
    "met_short": "i2",
    "met_ushort": "u2",
    "met_int": "i4",
    "met_uint": "u4",
    "met_long": "i4",
    "met_ulong": "u4",
    "met_long_long": "i8",
    "met_ulong_long": "u8",
    "met_float": "f4",
    "met_double": "f8",
}
# Names that MetaIO takes for the same, and that of NRRD for the file with the voxels.
_NAMES = {
    "position": "offset",
    "origin": "offset",
    "rotation": "transformmatrix",
    "orientation": "transformmatrix",
    "elementbyteordermsb": "binarydatabyteordermsb",
    "elementdatafile": "datafile",
}
_ALLOWED = {
    "objecttype": ("image",),
    "binarydata": ("true",),
    "headersize": ("0", "-1"),
    "elementtointensityfunctionslope": ("1",),
    "elementtointensityfunctionoffset": ("0",),
}


def header_of(path: Path) -> Header:
    return Header(path, _fields)


def _fields(path: Path, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """By their names in small letters."""
    for line in lines:
        name, _, value = (part.strip() for part in line.partition("="))
        yield _NAMES.get(name.lower(), name.lower()), value
        if name.lower() == "elementdatafile":  # the last one
            return


def read(path: Path) -> Volume:
    header = header_of(path)
    header.require(_ALLOWED)
    dims = int(header["ndims"])
    if not 1 <= dims <= 3:
        header.refuse(f"{dims} axes", "2 or 3")
    if (channels := int(header.get("elementnumberofchannels", "1"))) != 1:
        header.refuse(f"values of {channels} numbers", "a volume of real numbers")
    shape = header.wholes("dimsize", dims)
    kind = header["elementtype"].lower()
    dtype = _TYPES.get(kind) or header.refuse(f"ElementType = {header['elementtype']}", "real numbers")
    order = ">" if _true(header, "binarydatabyteordermsb") else "<"
    encoding = "zlib" if _true(header, "compresseddata") else "raw"
    voxels = _text.voxels(header, encoding, order + dtype, shape)
    steps = header.numbers("elementspacing", dims)
    if not (steps > 0).all():
        header.refuse(f"ElementSpacing = {header['elementspacing']}", "positive numbers")
    affine = np.eye(4)
    if "transformmatrix" in header:  # a row for each axis of the image
        affine[:dims, :dims] = header.numbers("transformmatrix", dims * dims).reshape(dims, dims).T
    affine[:dims, :dims] *= steps
    if "offset" in header:
        affine[:dims, 3] = header.numbers("offset", dims)
    affine[:2] *= -1  # its axes lead to the left and to the back
    return make_volume(path, voxels, affine, steps, millimetres(path, [header.get("distanceunits", "mm")]))


def _true(header: Header, name: str) -> bool:
    return header.get(name, "False").lower() in ("true", "1")
