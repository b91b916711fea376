"""A picture of a dataset."""

import os
from pathlib import Path

import numpy as np


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
    import nibabel as nib
    from matplotlib.figure import Figure

    folder = Path(dataset)
    paths = sorted((folder / "data").glob("*.nii.gz"))[:cases]
    figure = Figure(figsize=(14, 2 * len(paths)), facecolor="black")
    axes = figure.subplots(len(paths), 7, squeeze=False)
    for row, path in zip(axes, paths, strict=True):
        image, label = (
            np.asanyarray(nib.load(folder / part / path.name).dataobj).T for part in ("data", "label")
        )
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
