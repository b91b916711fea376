"""Phantom cases as files, in the challenge's folders, and a picture of them."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surfloss._check import SpacingLike, fail, whole
from surfloss._files import UNFINISHED, write_text, written_whole
from surfloss._volumes import read_volume
from surfloss.phantom._field import Triple
from surfloss.phantom._scan import check_grid, make_case

GENERATOR = 1
"""Goes up whenever the arrays of a seed change, so that no dataset mixes two generators."""


def write_dataset(
    out: str | os.PathLike[str],
    cases: int,
    size: Sequence[int],
    seed: int = 0,
    *,
    spacing: SpacingLike = None,
    on_case: Callable[[str], object] | None = None,
) -> list[str]:
    """Write cases as `out/data/001.nii.gz` and `out/label/001.nii.gz`, `002`, and so on.

    The images are int16 HU, the labels uint8 0/1, with spacing and units in the header and the axes of a CT
    (first to the patient's left, second to the back, third upwards). Files appear whole or not at all, and
    cases that are already there are kept, so a stopped run goes on where it was.

    Args:
        out: a new or empty folder, or one in which the same dataset was begun. `phantom.json` in it holds the
            size, spacing and seed, and may not differ.
        cases: how many. More than a first run had adds cases; fewer is refused.
        size: slices, rows and columns (z, y, x) of every case.
        seed: of the dataset; a case depends on the seed and its own number alone.
        spacing: mm along z, y, x; None as in `make_case`.
        on_case: called with a case's name once its files are there.

    Returns:
        The cases' names, in order.

    Raises:
        ValueError: on an argument that makes no dataset, or a folder that holds something else.
    """
    size, mm = check_grid(size, spacing)
    whole("cases", cases, 1)
    whole("seed", seed, 0)
    folder = Path(out)
    names = [f"{k:03d}" for k in range(1, cases + 1)]
    recipe = {"generator": GENERATOR, "seed": int(seed), "size": size, "spacing": mm}
    _begin(folder, json.dumps(recipe), names)
    for k, name in enumerate(names, start=1):
        image, label = (folder / part / f"{name}.nii.gz" for part in ("data", "label"))
        if not (image.exists() and label.exists()):
            phantom = make_case(size, spacing=mm, seed=seed, case=k)
            _write(image, phantom.image, mm)
            _write(label, phantom.label, mm)
        if on_case is not None:
            on_case(name)
    return names


def contact_sheet(
    dataset: str | os.PathLike[str],
    picture: str | os.PathLike[str],
    *,
    cases: int = 6,
    window: tuple[float, float] = (0.0, 80.0),
) -> None:
    """Draw the first cases of a dataset, a row each: the slice with most bleed, then six from base to vertex.

    Args:
        dataset: a folder with `data/` and `label/`, written by `write_dataset` or the challenge's own.
        picture: file to write; matplotlib, which must be installed, takes the format from its ending.
        cases: how many rows at most.
        window: HU shown as black and as white. The labels are outlined.
    """
    from matplotlib.figure import Figure

    folder = Path(dataset)
    paths = sorted((folder / "data").glob("*.nii.gz"))[:cases]
    figure = Figure(figsize=(14, 2 * len(paths)), facecolor="black")
    axes = figure.subplots(len(paths), 7, squeeze=False)
    for row, path in zip(axes, paths, strict=True):
        image, label = (read_volume(folder / part / path.name).voxels.T for part in ("data", "label"))
        most = int(label.sum((1, 2), dtype=np.int64).argmax())
        spread = np.linspace(0.12, 0.88, 6) * (len(image) - 1)
        for axis, k in zip(row, (most, *spread.round().astype(int)), strict=True):
            axis.imshow(image[k], cmap="gray", vmin=window[0], vmax=window[1])
            if label[k].any():
                axis.contour(label[k], [0.5], colors="red", linewidths=0.6)
            axis.axis("off")
        row[0].set_title(path.name.removesuffix(".nii.gz"), color="white", fontsize=8, pad=2)
    figure.subplots_adjust(0, 0, 1, 1 - 0.1 / len(paths), 0.01, 0.06)
    figure.savefig(picture, dpi=110)


def _begin(folder: Path, recipe: str, names: list[str]) -> None:
    """Make the folder, or see that what it holds is the same dataset and no more."""
    note = folder / "phantom.json"
    if folder.exists() and not folder.is_dir():
        fail("out", f"the file {folder}", "a folder")
    if note.exists():
        if (found := note.read_text()) != recipe:
            fail("out", f"{folder} with the dataset {found}", f"a new folder, or one with {recipe}")
        wanted = {f"{name}.nii.gz" for name in names}
        if others := sorted({path.name for path in folder.glob("*/*.nii.gz")} - wanted):
            fail("out", f"{folder} with {', '.join(others)}", f"no files but those of {len(names)} cases")
    elif folder.exists() and any(not path.name.startswith(UNFINISHED) for path in folder.iterdir()):
        fail("out", f"{folder} with other files in it", "a new or empty folder, or one where it was begun")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(note, recipe)
    for part in ("data", "label"):
        (folder / part).mkdir(exist_ok=True)


def _write(path: Path, volume: NDArray[Any], spacing: Triple) -> None:
    import nibabel as nib

    z, y, x = spacing
    # A CT's rows and columns run to the patient's left and back, NIfTI's axes to the right and front.
    affine = np.diag([-x, -y, z, 1.0])
    affine[:3, 3] = [(n - 1) / 2 * mm for n, mm in zip(volume.shape[::-1], (x, y, -z), strict=True)]
    image = nib.Nifti1Image(volume.transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    with written_whole(path) as unfinished:
        nib.save(image, unfinished)
