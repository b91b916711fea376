"""`surfloss phantom`: a synthetic dataset of head CTs with hemorrhage."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from surfloss._files import written_whole
from surfloss.cli._terminal import (
    Console,
    check_outputs,
    check_picture,
    exit_on_bad_input,
    progress_bars,
    three_numbers,
)


def phantom(
    out: Annotated[Path, typer.Option(help="New folder, or one where the same dataset was begun.")],
    cases: Annotated[int, typer.Option(help="How many cases.")] = 16,
    size: Annotated[str, typer.Option(help="Slices,rows,columns.")] = "16,64,64",
    seed: Annotated[int, typer.Option(help="Of the dataset; case 7 is the same however many there are.")] = 0,
    spacing: Annotated[
        str | None, typer.Option(help="mm along z,y,x; without it 150 x 215 x 215 mm whatever the size.")
    ] = None,
    preview: Annotated[Path | None, typer.Option(help="Picture of the first cases to draw (PNG).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
) -> None:
    """Write synthetic head CTs with hemorrhage as NIfTI, in the layout of INSTANCE2022 (data/ and label/).

    The challenge's own size is 30,512,512 (5 x 0.42 x 0.42 mm). Whole cases that are already there are kept.
    """
    from surfloss.phantom import contact_sheet, write_dataset

    with exit_on_bad_input():
        check_picture("preview", preview, extra="nnunet")
        check_outputs(out / "phantom.json", preview)
        mm = None if spacing is None else three_numbers("spacing", spacing, float)
        with progress_bars() as display:

            def advance(_: str) -> None:
                task = display.task_ids[0] if display.task_ids else display.add_task("phantom", total=cases)
                display.advance(task)

            names = write_dataset(
                out, cases, three_numbers("size", size, int), seed, spacing=mm, on_case=advance
            )
        if preview is not None:
            with written_whole(preview) as unfinished:
                contact_sheet(out, unfinished)
        summary = summarize(out, names)
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    shape, voxel = (" x ".join(f"{v:g}" for v in summary[key]) for key in ("size", "spacing"))
    table = Table("case", "bleeds", "ml", "each, ml", title=f"{shape} voxels of {voxel} mm (z, y, x)")
    for row in summary["cases"]:
        each = ", ".join(f"{v:.2f}" for v in row["lesions_ml"])
        table.add_row(row["case"], str(len(row["lesions_ml"])), f"{row['volume_ml']:.2f}", each)
    console = Console()
    console.print(table)
    console.print(f"Written to {out}", soft_wrap=True)


def summarize(out: Path, names: list[str]) -> dict[str, Any]:
    """What the label files hold, ready for JSON; lesions touch by faces, edges or corners."""
    import numpy as np
    from scipy import ndimage

    from surfloss._volumes import read_volume

    rows = []
    for name in names:
        volume = read_volume(out / "label" / f"{name}.nii.gz")
        labels, _ = ndimage.label(volume.voxels, np.ones((3, 3, 3)))
        voxel_ml = math.prod(volume.zooms) / 1000
        lesions = sorted((np.bincount(labels.ravel())[1:] * voxel_ml).tolist(), reverse=True)
        rows.append({"case": name, "volume_ml": sum(lesions), "lesions_ml": lesions})
    size, spacing = (list(numbers[::-1]) for numbers in (volume.voxels.shape, volume.zooms))
    return {"folder": str(out), "size": size, "spacing": spacing, "voxel_ml": voxel_ml, "cases": rows}
