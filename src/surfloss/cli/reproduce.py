"""`surfloss reproduce`: the paper's experiment, from the data to the report."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import TaskID
from rich.table import Column, Table

from surfloss.cli._terminal import exit_on_bad_input, progress_bars, stop

if TYPE_CHECKING:
    from surfloss.nnunet.run import Run

_STAGES = "prepare, plan, train, predict, ensemble, evaluate, report"


def reproduce(
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run in it goes on.")],
    preset: Annotated[str, typer.Option(help="Size of the experiment: tiny or paper.")] = "tiny",
    data: Annotated[
        Path | None, typer.Option(help="Folder with data/ and label/; without it the preset's phantom.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where networks run: cpu or cuda.")] = "cpu",
    until: Annotated[str, typer.Option(help=f"Last stage to run, of {_STAGES}.")] = "report",
    min_dice: Annotated[
        float, typer.Option(help="Exit with 1 if a model's mean Dice on the validation cases is below this.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths and tables as JSON.")] = False,
) -> None:
    """Train, predict, evaluate and report the paper's models through nnU-Net v2."""
    needed = ("nnunetv2", "matplotlib", "jinja2")
    if missing := [name for name in needed if not importlib.util.find_spec(name)]:
        stop(f"{', '.join(missing)} not installed: pip install 'surfloss[nnunet]'")
    from surfloss.nnunet.presets import PRESETS
    from surfloss.nnunet.run import Run
    from surfloss.nnunet.stages import STAGES, run_stages

    if preset not in PRESETS:
        stop(f"preset: got {preset!r}, wanted one of {', '.join(PRESETS)}")
    if until not in STAGES:
        stop(f"until: got {until!r}, wanted one of {', '.join(STAGES)}")
    with exit_on_bad_input():
        run = Run(out, PRESETS[preset], data, device)
        with progress_bars() as display:
            tasks: dict[str, TaskID] = {}

            def show(job: str, total: int, done: int) -> None:
                if job not in tasks:
                    tasks[job] = display.add_task(job)
                display.update(tasks[job], completed=done, total=total)

            run_stages(run, show, until)
    if until != "report":
        typer.echo(
            json.dumps({"out": str(run.folder), "finished": until}) if as_json else f"Finished: {until}"
        )
        return
    from surfloss.nnunet.report import mean_dice

    _print_tables(run, as_json)
    if failed := [name for name, dice in mean_dice(run).items() if dice < min_dice]:
        typer.echo(f"Mean Dice below {min_dice}: {', '.join(failed)}", err=True)
        raise typer.Exit(1)


def _print_tables(run: Run, as_json: bool) -> None:
    from surfloss.nnunet.report import METRICS, tables

    page = run.report / "report.html"
    if as_json:
        as_dicts = {title: [asdict(row) for row in rows] for title, rows in tables(run).items()}
        typer.echo(json.dumps({"report": str(page), "tables": as_dicts}, indent=2))
        return
    console = Console()
    for title, rows in tables(run).items():
        headings = (metric.heading for metric in METRICS)
        table = Table(
            Column("model", overflow="fold"),
            *headings,
            "null cases",
            title=f"{title} (paper above, ours below)",
        )
        for row in rows:
            cells = (f"{paper}\n{ours}" for paper, ours in row.pairs)
            table.add_row(row.title, *cells, f"{row.null}/{row.cases}")
            table.add_section()
        console.print(table)
    console.print(f"Report: {page}", soft_wrap=True)
