"""NRRD and MetaImage: SimpleITK is the reference, except for what it passes over in silence."""

import bz2
import gzip
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from surfloss._volumes import read_volume, sources

ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
TURNED = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
VOXELS = bytes(range(60))
SHAPE = (5, 4, 3)


def itk(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Voxels in the file's order, affine and spacing, as SimpleITK reads them."""
    image = SimpleITK.ReadImage(str(path))
    dims = image.GetDimension()
    affine = np.eye(4)
    affine[:dims, :dims] = np.reshape(image.GetDirection(), (dims, dims)) * np.array(image.GetSpacing())
    affine[:dims, 3] = image.GetOrigin()
    affine[:2] *= -1
    return SimpleITK.GetArrayFromImage(image).T, affine, image.GetSpacing()


def same_as_itk(path: Path) -> None:
    got, (voxels, affine, spacing) = read_volume(path), itk(path)
    assert np.array_equal(got.voxels, voxels)
    np.testing.assert_allclose(got.affine, affine, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(got.zooms, spacing, rtol=1e-7)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_what_simpleitk_writes(tmp_path: Path, ending: str, compressed: bool, dtype: str) -> None:
    image = SimpleITK.GetImageFromArray(np.arange(60).reshape(3, 4, 5).astype(dtype))
    image.SetSpacing((0.3, 0.42, 5))
    image.SetOrigin((1, -2, 3.5))
    image.SetDirection(TURNED)
    path = tmp_path / f"case{ending}"
    SimpleITK.WriteImage(image, str(path), compressed)
    assert read_volume(path).zooms == (0.3, 0.42, 5.0)
    assert read_volume(path).voxels.dtype == dtype
    same_as_itk(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_two_axes(tmp_path: Path, ending: str) -> None:
    image = SimpleITK.GetImageFromArray(np.arange(20, dtype=np.uint8).reshape(4, 5))
    image.SetSpacing((0.3, 0.42))
    image.SetOrigin((1, -2))
    SimpleITK.WriteImage(image, str(tmp_path / f"case{ending}"))
    same_as_itk(tmp_path / f"case{ending}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_spacing_that_came_from_float32_is_the_decimal_that_was_meant(tmp_path: Path, ending: str) -> None:
    """As by a converter of NIfTI: 0.30000001192092896 stands in the header."""
    image = SimpleITK.GetImageFromArray(np.zeros((3, 4, 5), np.uint8))
    image.SetSpacing(np.float32([0.3, 0.42, 5]).tolist())
    SimpleITK.WriteImage(image, str(tmp_path / f"case{ending}"))
    assert read_volume(tmp_path / f"case{ending}").zooms == (0.3, 0.42, 5.0)


def write(path: Path, lines: Sequence[str], voxels: bytes = VOXELS) -> Path:
    path.write_bytes("\n".join((*lines, "")).encode() + voxels)
    return path


DIRECTIONS = ("space: LPS", "space directions: (0.5,0,0) (0,0.4,0) (0,0,5)")


def nrrd(
    path: Path, *fields: str, voxels: bytes = VOXELS, grid: Sequence[str] = DIRECTIONS, encoding: str = "raw"
) -> Path:
    size = ("type: uchar", "dimension: 3", "sizes: 5 4 3", f"encoding: {encoding}")
    lines = changed([*size, *grid], fields, ":")
    return write(
        path, ["NRRD0005", "# a comment: of no meaning", *lines, "key:=value: of somebody", ""], voxels
    )


def changed(lines: Sequence[str], fields: Sequence[str], separator: str) -> list[str]:
    """The lines with some fields, each in the place of the one of its name."""
    named = {line.partition(separator)[0]: line for line in (*lines, *fields)}
    return list(named.values())


def meta(path: Path, *fields: str, voxels: bytes = VOXELS, data: str = "LOCAL") -> Path:
    lines = ["ObjectType = Image", "NDims = 3", "BinaryData = True", "ElementSpacing = 0.5 0.4 5",
             "DimSize = 5 4 3", "ElementType = MET_UCHAR"]  # fmt: skip
    lines = changed(lines, fields, " ")
    return write(path, [*lines, f"ElementDataFile = {data}"], voxels)


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("space: RAS", "space origin: (1,2,3)"),
        ("space: left-anterior-superior", "space origin: (1,2,3)"),
        ("space: scanner-xyz", "space origin: (1, 2, 3)"),
        ("space directions: (0,0.5,0) (0.4,0,0) (0,0,-5)",),
        (
            "dimension: 4",
            "sizes: 1 5 4 3",
            "space directions: none (0.5,0,0) (0,0.4,0) (0,0,5)",
            "kinds: list domain domain domain",
        ),
    ],
    ids=str,
)
def test_nrrd_headers_as_simpleitk_reads_them(tmp_path: Path, fields: Sequence[str]) -> None:
    path = nrrd(tmp_path / "case.nrrd", *fields)
    voxels, affine, spacing = itk(path)
    got = read_volume(path)
    assert np.array_equal(got.voxels, voxels.reshape(SHAPE))
    np.testing.assert_allclose(got.affine, affine)
    np.testing.assert_allclose(got.zooms, spacing)


def test_nrrd_without_a_space(tmp_path: Path) -> None:
    same_as_itk(nrrd(tmp_path / "case.nrrd", grid=["spacings: 0.5 0.4 5"]))


@pytest.mark.parametrize("fields", [
    ("TransformMatrix = 0 1 0 -1 0 0 0 0 1", "Offset = 1 2 3"),
    ("Rotation = 1 0 0 0 0 1 0 1 0", "Position = 1 2 3"),
    ("Origin = 1 2 3", "Comment = as old files call it", "HeaderSize = -1"),
])  # fmt: skip
def test_metaimage_headers_as_simpleitk_reads_them(tmp_path: Path, fields: Sequence[str]) -> None:
    same_as_itk(meta(tmp_path / "case.mha", *fields))


@pytest.mark.parametrize("big", [False, True])
def test_orders_of_bytes(tmp_path: Path, big: bool) -> None:
    voxels = np.arange(60).astype(">i2" if big else "<i2").tobytes()
    order = "big" if big else "little"
    same_as_itk(nrrd(tmp_path / "case.nrrd", "type: short", f"endian: {order}", voxels=voxels))
    msb = f"BinaryDataByteOrderMSB = {big}"
    same_as_itk(meta(tmp_path / "case.mha", "ElementType = MET_SHORT", msb, voxels=voxels))


def test_compressed_by_others(tmp_path: Path) -> None:
    for encoding, voxels in (("gz", gzip.compress(VOXELS)), ("bzip2", bz2.compress(VOXELS))):
        path = nrrd(tmp_path / "case.nrrd", voxels=voxels, encoding=encoding)
        assert read_volume(path).voxels.tobytes(order="F") == VOXELS


UNITS = [
    ("mm", 1),
    ("", 1),
    ("???", 1),
    ("um", 1e-3),
    ("\N{MICRO SIGN}m", 1e-3),
    ("microns", 1e-3),
    ("m", 1e3),
    ("cm", 10),
]


@pytest.mark.parametrize(("unit", "mm"), UNITS)
def test_lengths_are_in_mm_whatever_the_unit(tmp_path: Path, unit: str, mm: float) -> None:
    steps = [f"{step / mm:.12g}" for step in (0.42, 0.3, 5)]
    x, y, z = steps
    grid = ["space: RAS", f"space directions: ({x},0,0) (0,{y},0) (0,0,{z})", f"space origin: ({z},0,0)"]
    names = " ".join([f'"{unit}"'] * 3)
    got = read_volume(nrrd(tmp_path / "case.nrrd", f"space units: {names}", grid=grid))
    assert got.zooms == (0.42, 0.3, 5.0)
    np.testing.assert_allclose(got.affine, [[0.42, 0, 0, 5], [0, 0.3, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]])
    spacings = f"spacings: {' '.join(steps)}"
    assert read_volume(nrrd(tmp_path / "case.nrrd", f"units: {names}", grid=[spacings])).zooms == (
        0.42,
        0.3,
        5.0,
    )
    path = meta(tmp_path / "case.mha", f"ElementSpacing = {' '.join(steps)}", f"DistanceUnits = {unit}")
    assert read_volume(path).zooms == (0.42, 0.3, 5.0)


NRRD_FAULTS = {
    "magic": ({"fields": ()}, "no NRRD header"),
    "no spacing": ({"grid": ()}, "a header without the field 'spacings'"),
    "NaN spacings": ({"grid": ["spacings: nan nan nan"]}, "an axis of 5 values without spacing"),
    "zero spacing": ({"grid": ["spacings: 1 0 1"]}, "spacings: 1 0 1, wanted positive"),
    "negative spacing": ({"grid": ["spacings: 1 -1 1"]}, "spacings: 1 -1 1, wanted positive"),
    "infinite spacing": ({"grid": ["spacings: 1 inf 1"]}, "the affine "),
    "no directions": (
        {"fields": ["space directions: none none none"]},
        "an axis of 5 values without spacing",
    ),
    "a direction of zeros": (
        {"fields": ["space directions: (1,0,0) (0,0,0) (0,0,1)"]},
        "an affine with steps",
    ),
    "sheared": (
        {"fields": ["space directions: (1,0.5,0) (0,1,0) (0,0,1)"]},
        "an affine with the sheared axes",
    ),
    "NaN direction": ({"fields": ["space directions: (1,0,0) (0,nan,0) (0,0,1)"]}, "the affine .*nan"),
    "few directions": (
        {"fields": ["space directions: (1,0,0) (0,1,0)"]},
        "space directions: .* 3, one for each",
    ),
    "flat directions": (
        {"fields": ["space directions: (1,0) (0,1) (1,1)"]},
        "3 spatial axes in a space of 2",
    ),
    "text": ({"fields": ["space directions: (1,0,0) (0,x,0) (0,0,1)"]}, "cannot be read .*'x'"),
    "a space without directions": (
        {"grid": ["space: RAS", "spacings: 1 1 1"]},
        "a space without space directions",
    ),
    "an unknown unit": ({"fields": ['space units: "s" "s" "s"']}, r"the units \['s', 's', 's'\]"),
    "several units": (
        {"fields": ['space units: "mm" "mm" "m"']},
        "the units .* wanted one of um, mm, cm or m",
    ),
    "origin of another kind": ({"fields": ["axis mins: 1 2 3"]}, "axismins: 1 2 3"),
    "channels": (
        {"fields": ["dimension: 4", "sizes: 3 5 4 1", "space directions: none (1,0,0) (0,1,0) (0,0,1)"]},
        "an axis of 3 values without spacing",
    ),
    "two sizes": ({"fields": ["Sizes: 5 3 4"]}, "two values of sizes, '5 4 3' and '5 3 4'"),
    "no sizes": ({"fields": ["sizes: 5 4"]}, "sizes: 5 4, wanted 3 numbers"),
    "zero size": ({"fields": ["sizes: 5 0 3"]}, r"shape \(5, 0, 3\), wanted at least one voxel"),
    "negative sizes": ({"fields": ["sizes: -5 -4 3"]}, r"shape \(-5, -4, 3\), wanted at least one voxel"),
    "a size of a bomb": ({"fields": ["sizes: 99999 99999 99999"]}, "GiB in memory, wanted at most 4 GiB"),
    "block type": ({"fields": ["type: block"]}, "type: block, wanted real numbers"),
    "no order of bytes": ({"fields": ["type: short", "sizes: 5 2 3"]}, "without the field 'endian'"),
    "text of numbers": (
        {"encoding": "ascii", "voxels": b"1 2 3"},
        "the encoding 'ascii', wanted raw, gzip or",
    ),
    "text in binary": ({"encoding": "ascii", "voxels": bytes(range(256)) * 999}, "the encoding 'ascii'"),
    "short": ({"voxels": VOXELS[:-1]}, "59 bytes of voxels, wanted the 60"),
    "long": ({"voxels": VOXELS + b"x"}, "more bytes of voxels, wanted the 60"),
    "no gzip": ({"encoding": "gzip"}, "cannot be read .*BadGzipFile"),
    "cut off": ({"encoding": "gzip", "voxels": gzip.compress(VOXELS)[:-4]}, "cannot be read .*EOFError"),
    "a compressed bomb": ({"encoding": "bz2", "voxels": bz2.compress(bytes(10**7))}, "more bytes of voxels"),
    "a long line": ({"fields": ["content: " + "x" * 5_000_000]}, "a header of more than 1 MiB"),
    "many lines": ({"fields": [f"field {n}: {n}" for n in range(70_000)]}, "a header of more than 1 MiB"),
    "a mask of skipped lines": ({"fields": ["line skip: 3"]}, "lineskip: 3, wanted 0"),
    "a file of another folder": ({"fields": ["data file: ../case.raw"]}, r"voxels in the file '../case.raw'"),
    "a file of the system": ({"fields": ["data file: /etc/passwd"]}, r"voxels in the file '/etc/passwd'"),
    "a file of Windows": ({"fields": ["data file: C:case.raw"]}, "voxels in the file 'C:case.raw'"),
    "files by a pattern": ({"fields": ["data file: x%03d.raw 1 3 1 2"]}, r"voxels in several files \(x%03d"),
    "files by a list": ({"fields": ["data file: LIST"]}, r"voxels in several files \(LIST\)"),
}


@pytest.mark.parametrize(("change", "message"), NRRD_FAULTS.values(), ids=NRRD_FAULTS)
def test_a_fault_of_nrrd_is_named(tmp_path: Path, change: dict, message: str) -> None:
    path = nrrd(tmp_path / "case.nrrd", *change.pop("fields", ()), **change)
    if message == "no NRRD header":
        path.write_bytes(path.read_bytes()[1:])
    refused(path, message)


META_FAULTS = {
    "no spacing": (["ElementSpacing ="], "elementspacing: , wanted 3 numbers"),
    "negative spacing": (["ElementSpacing = -1 1 1"], "ElementSpacing = -1 1 1, wanted positive numbers"),
    "zero spacing": (["ElementSpacing = 0 1 1"], "ElementSpacing = 0 1 1, wanted positive numbers"),
    "NaN spacing": (["ElementSpacing = 1 nan 1"], "ElementSpacing = 1 nan 1, wanted positive numbers"),
    "text": (["ElementSpacing = 1 mm 1"], "cannot be read .*'mm'"),
    "no image": (["ObjectType = Mesh"], "objecttype: Mesh, wanted image"),
    "text of numbers": (["BinaryData = False"], "binarydata: False, wanted true"),
    "scaled": (["ElementToIntensityFunctionSlope = 2"], "elementtointensityfunctionslope: 2, wanted 1"),
    "header size": (["HeaderSize = 7"], "headersize: 7, wanted 0 or -1"),
    "channels": (["ElementNumberOfChannels = 3"], "values of 3 numbers"),
    "type": (["ElementType = MET_STRING"], "ElementType = MET_STRING, wanted real numbers"),
    "axes": (["NDims = 4"], "4 axes, wanted 2 or 3"),
    "no axes": (["NDims = x"], "cannot be read .*'x'"),
    "sizes": (["DimSize = 5 4"], "dimsize: 5 4, wanted 3 numbers"),
    "zero size": (["DimSize = 5 0 3"], r"shape \(5, 0, 3\)"),
    "a bomb": (["DimSize = 99999 99999 99999"], "GiB in memory, wanted at most 4 GiB"),
    "two places": (["Offset = 1 2 3", "Position = 3 2 1"], "two values of offset, '1 2 3' and '3 2 1'"),
    "sheared": (["TransformMatrix = 1 1 0 0 1 0 0 0 1"], "an affine "),
    "unit": (["DistanceUnits = inch"], r"the units \['inch'\]"),
    "a long line": (["Comment = " + "x" * 5_000_000], "a header of more than 1 MiB"),
    "what a terminal would obey": (
        ["ElementType = \x1b[2J" + "x" * 9999],
        r"ElementType = \\x1b\[2Jx+\.\.\., wanted",
    ),
    "no zlib": (["CompressedData = True"], r"cannot be read \(error: Error -3"),
}


@pytest.mark.parametrize(("fields", "message"), META_FAULTS.values(), ids=META_FAULTS)
def test_a_fault_of_metaimage_is_named(tmp_path: Path, fields: Sequence[str], message: str) -> None:
    refused(meta(tmp_path / "case.mha", *fields), message)


@pytest.mark.parametrize(("data", "message"), [
    *((name, "voxels in the file .*, wanted a file in the folder of the header")
      for name in ("/etc/passwd", "../case.raw", "a/../../case.raw", r"..\case.raw", r"C:\case.raw", "")),
    *((name, r"voxels in several files \(")
      for name in ("%s%n%n%n 1 6 1", "x%03d.raw 1 3 1", "LIST", "list 2D")),
    (".", "a folder, wanted a regular file"),
    ("none.raw", "cannot be read .*FileNotFoundError"),
    ("a\0b", "cannot be read .*null"),
])  # fmt: skip
def test_a_metaimage_names_one_file_of_its_folder(tmp_path: Path, data: str, message: str) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "case.raw").write_bytes(VOXELS)
    refused(meta(tmp_path / "below" / "case.mhd", data=data), message)


def test_compressed_metaimages_are_whole(tmp_path: Path) -> None:
    stream = zlib.compress(VOXELS)
    fields = ["CompressedData = True", f"CompressedDataSize = {len(stream)}"]
    same_as_itk(meta(tmp_path / "case.mha", *fields, voxels=stream))
    refused(meta(tmp_path / "case.mha", *fields, voxels=stream[:-2]), "cannot be read .*cut off")
    refused(meta(tmp_path / "case.mha", *fields, voxels=zlib.compress(bytes(10**7))), "more bytes of voxels")


def test_headers_without_an_end(tmp_path: Path) -> None:
    path = tmp_path / "case.mha"
    path.write_bytes(b"NDims = 3\n")
    refused(path, "a header without the field")
    path.write_bytes(b"NDims = 3\n" + np.random.default_rng(0).bytes(2**21))
    refused(path, "two values of ")  # of a field without a name


def refused(path: Path, message: str) -> None:
    with pytest.raises(
        (ValueError, OSError), match=rf"(?s)^{re.escape(str(path.parent))}.*: got .*{message}"
    ) as caught:
        read_volume(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < len(str(path)) + 400


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_file_with_the_voxels_is_a_source(tmp_path: Path, ending: str) -> None:
    image = SimpleITK.GetImageFromArray(np.zeros((3, 4, 5), np.uint8))
    path = tmp_path / f"case{ending}"
    SimpleITK.WriteImage(image, str(path))
    assert sources(path) == sorted(tmp_path.iterdir())


def test_data_below_the_folder(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "listed case.raw").write_bytes(VOXELS)
    path = meta(tmp_path / "case.mhd", data="raw/listed case.raw", voxels=b"")
    assert read_volume(path).voxels.tobytes(order="F") == VOXELS
    assert sources(path) == [path, tmp_path / "raw" / "listed case.raw"]
