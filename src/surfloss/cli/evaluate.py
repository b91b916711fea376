"""`surfloss evaluate`: a folder of predictions against a folder of targets."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from surfloss.cli._terminal import exit_on_bad_input


def evaluate(
    prediction_dir: Annotated[Path, typer.Argument(metavar="PRED_DIR", help="Folder of predicted masks.")],
    target_dir: Annotated[
        Path, typer.Argument(metavar="TARGET_DIR", help="Folder of true masks under the same file names.")
    ],
    tolerance: Annotated[float, typer.Option(help="Tolerance of the surface Dice in mm.")] = 0.42,
    out: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write all values of all cases to this file.")
    ] = None,
) -> None:
    """Evaluate binary NIfTI masks (.nii.gz, .nii) with the metrics of INSTANCE2022 and more.

    Undefined values, such as a distance to an empty mask, are counted and left out of the means; in the JSON
    file they are null. Exits with 2 if a folder, a file or a case is not as it should be.
    """
    from surfloss._files import write_text
    from surfloss.metrics import evaluate_folders

    with exit_on_bad_input():
        with Console(stderr=True).status("evaluating") as status:
            result = evaluate_folders(
                prediction_dir,
                target_dir,
                tolerance=tolerance,
                progress=lambda case: status.update(f"{case} done"),
            )
        if out is not None:
            write_text(out, json.dumps(result, indent=2, allow_nan=False) + "\n")
    if result["unmatched"]:
        typer.echo(f"Note: no target for {', '.join(result['unmatched'])}", err=True)
    Console().print(_table(result))


def _table(result: dict[str, Any]) -> Table:
    table = Table("metric", "mean ± std", "median", "cases", "null", title=f"{len(result['cases'])} cases")
    for column in table.columns[1:]:
        column.justify = "right"
    for metric, values in result["summary"].items():
        mean, median = "-", "-"
        if values["count"]:
            mean = f"{values['mean']:.4g} ± {values['std']:.4g}"
            median = f"{values['median']:.4g}"
        table.add_row(metric, mean, median, str(values["count"]), str(values["null"]))
    return table
