"""The study's real data: `DIR/NAME/images` and `DIR/NAME/labels`, with one file each per case.

- hippocampus: Medical Segmentation Decathlon, task 4 (medicaldecathlon.com, CC BY-SA 4.0). Unpack
  `Task04_Hippocampus.tar`; its `imagesTr` and `labelsTr` are the two folders.
- nuclei: 2018 Data Science Bowl, stage 1 (bbbc.broadinstitute.org/BBBC038, CC0). Use the gray images of
  256 x 256 pixels as 8-bit PNG, and merge the masks of each image into one 16-bit PNG with 0 for the
  background and one number per nucleus.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from surfloss._check import fail
from surfloss._volumes import read_volume, volumes

Voxels = npt.NDArray[Any]


@dataclass(frozen=True)
class Layout:
    """The file layout of a data set.

    Attributes:
        endings: extensions of its files.
        read: reads a file's voxels and spacing in mm.
        dims: number of axes of a case.
        labels: the largest label. None if labels are instance numbers, which are all read as 1.
        source: where to download it.
    """

    endings: tuple[str, ...]
    read: Callable[[Path], tuple[Voxels, tuple[float, ...]]]
    dims: int
    labels: int | None
    source: str


@dataclass(frozen=True)
class Files:
    """The two files of a case."""

    name: str
    image: Path
    label: Path


def _nifti(path: Path) -> tuple[Voxels, tuple[float, ...]]:
    volume = read_volume(path)
    return volume.voxels, volume.zooms


def _png(path: Path) -> tuple[Voxels, tuple[float, ...]]:
    """Read a gray image; a pixel is the unit of length."""
    with Image.open(path) as picture:
        if picture.mode not in ("L", "I", "I;16"):
            fail(str(path), f"mode {picture.mode!r}", "a gray image, 8 or 16 bits")
        return np.asarray(picture), (1.0, 1.0)


LAYOUTS = {
    "hippocampus": Layout(
        (".nii.gz",), _nifti, 3, 2, "task 4 of the Medical Segmentation Decathlon, medicaldecathlon.com"
    ),
    "nuclei": Layout(
        (".png",), _png, 2, None, "stage 1 of the 2018 Data Science Bowl, bbbc.broadinstitute.org/BBBC038"
    ),
}


def cases_in(folder: Path, data: str) -> list[Files]:
    """List the pairs of files of a data set, after reading and checking every file.

    Args:
        folder: the user's folder, which contains a folder with the name of the data set.
        data: one of `LAYOUTS`.

    Raises:
        ValueError: naming all faults at once: a missing folder or partner file, an unreadable file, image and
            label of different size or spacing, a wrong number of axes, unknown labels.
    """
    layout = LAYOUTS[data]
    wanted = f"{data}/images and {data}/labels ({layout.source})"
    sides = []
    for side in ("images", "labels"):
        place = folder / data / side
        if not place.is_dir():
            fail("--data", f"no folder {place}", wanted)
        sides.append(dict(volumes(place, layout.endings)))  # skips hidden files
    images, labels = sides
    faults = [f"{path}: no label" for name, path in images.items() if name not in labels]
    faults += [f"{path}: no image" for name, path in labels.items() if name not in images]
    pairs = [Files(name, path, labels[name]) for name, path in images.items() if name in labels]
    for files in pairs:
        faults += _faults(files, layout)
    if not (pairs or faults):
        fail("--data", f"no {' or '.join(layout.endings)} in {folder / data}", wanted)
    if faults:
        fail("--data", f"{len(faults)} faults in {folder / data}\n  " + "\n  ".join(faults), wanted)
    return pairs


def _faults(files: Files, layout: Layout) -> list[str]:
    try:
        (image, step), (label, label_step) = layout.read(files.image), layout.read(files.label)
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises SyntaxError on a broken PNG
        return [f"{files.name}: {error}"]
    found = []
    if image.ndim != layout.dims:
        found.append(f"{files.image}: {image.ndim} axes, wanted {layout.dims}")
    if image.shape != label.shape:
        found.append(f"{files.label}: shape {label.shape}, the image's is {image.shape}")
    if not np.allclose(step, label_step, rtol=1e-3):
        found.append(f"{files.label}: spacing {label_step}, the image's is {step}")
    if not np.isfinite(image).all():
        found.append(f"{files.image}: voxels that are not finite")
    known = range(layout.labels + 1) if layout.labels else None
    values = np.unique(label)
    unknown = [v for v in values.tolist() if v != int(v) or v < 0 or (known and v not in known)]
    if unknown:
        whole = f"whole numbers from 0{f' to {layout.labels}' if layout.labels else ''}"
        found.append(f"{files.label}: labels {unknown[:5]}, wanted {whole}")
    return found
