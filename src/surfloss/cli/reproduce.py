"""`surfloss reproduce`: the paper's experiment, from the data to the report."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from surfloss._check import fail
from surfloss.cli._jobs import Display, print_failures, print_plan
from surfloss.cli._terminal import Console, check_packages, exit_on_bad_input, progress_bars, say, stop

if TYPE_CHECKING:
    from surfloss.nnunet.jobs import Executor
    from surfloss.nnunet.run_folder import RunFolder

_STAGES = "prepare, plan, train, predict, ensemble, evaluate, report"


def reproduce(
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run in it goes on.")],
    preset: Annotated[str, typer.Option(help="Size of the experiment: tiny, small or paper.")] = "tiny",
    data: Annotated[
        Path | None, typer.Option(help="INSTANCE2022's folder; without it the preset's phantom.")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Name of a case of the data that shall not count; repeatable.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where networks run: cpu or cuda.")] = "cpu",
    until: Annotated[str, typer.Option(help=f"Last stage to run, of {_STAGES}.")] = "report",
    workers: Annotated[
        int | None, typer.Option(help="Jobs at a time; by default one a processor (at most 4) or a GPU.")
    ] = None,
    gpus: Annotated[str | None, typer.Option(help="GPUs to use, as 0,1; by default all visible.")] = None,
    gpus_per_training: Annotated[
        int, typer.Option(help="GPUs that share a training's batch (nnU-Net's own data parallelism).")
    ] = 1,
    executor: Annotated[str, typer.Option(help="Where jobs run: local (this machine) or slurm.")] = "local",
    slurm_partition: Annotated[str | None, typer.Option(help="Slurm's partition.")] = None,
    slurm_time: Annotated[
        str | None,
        typer.Option(
            help="Time limit of a job, as sbatch takes it, 24:00:00 without it; a training goes on after it "
            "in another."
        ),
    ] = None,
    slurm_option: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE for submitit's Slurm executor, as account=x or cpus_per_task=8."),
    ] = None,
    retries: Annotated[int, typer.Option(min=0, help="How often a job that failed is tried again.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the jobs and how far each is, and do none.")
    ] = False,
    min_dice: Annotated[
        float, typer.Option(help="Exit with 1 if a model's mean Dice on the validation cases is below this.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths and tables as JSON.")] = False,
) -> None:
    """Train, predict, evaluate and report the paper's models through nnU-Net v2."""
    check_packages("reproduce", "nnunetv2", "matplotlib", "jinja2", "submitit", extra="nnunet")
    from surfloss.nnunet.experiments import EXPERIMENTS
    from surfloss.nnunet.jobs import STAGES, complete, list_jobs
    from surfloss.nnunet.run_folder import RunFolder

    if preset not in EXPERIMENTS:
        stop(f"preset: got {preset!r}, wanted one of {', '.join(EXPERIMENTS)}")
    if until not in STAGES:
        stop(f"until: got {until!r}, wanted one of {', '.join(STAGES)}")
    with exit_on_bad_input():
        run = RunFolder(out, EXPERIMENTS[preset], data, device, gpus_per_training, leave_out or ())
        jobs = list_jobs(run, until)
        if data:
            training, validation = run.split_cases(data)
            counts = f"{len(training)} training and {len(validation)} validation cases"
            say(f"{counts} in {data}")
        if dry_run:
            print_plan(run, jobs, as_json)
            return
        options = _slurm_options(slurm_partition, slurm_time, slurm_option or [])
        where = _executor(run, executor, workers, gpus, options)
        with run.opened(), where as does, progress_bars() as bars:
            shows = Display(run, jobs, bars)
            failures = complete(run, jobs, does, retries, shows)
            last = jobs[-1]
            if failures and last.stage == "report" and any(run.finished(name) for name in last.needs):
                # What there is is reported all the same.
                failures += complete(run, [replace(last, needs=())], does, 0, shows)
    if failures:
        print_failures(run, jobs, failures, as_json)
        raise typer.Exit(1)
    if until != "report":
        typer.echo(
            json.dumps({"out": str(run.folder), "finished": until}) if as_json else f"Finished: {until}"
        )
        return
    from surfloss.nnunet.results import mean_dice

    _print_tables(run, as_json)
    if failed := [name for name, dice in mean_dice(run).items() if dice < min_dice]:
        say(f"Mean Dice below {min_dice}: {', '.join(failed)}")
        raise typer.Exit(1)


def _executor(
    run: RunFolder, name: str, workers: int | None, gpus: str | None, slurm_options: dict[str, Any]
) -> Executor:
    from surfloss.nnunet.executors import LocalExecutor, SlurmExecutor, cpu_workers, gpu_workers

    if name == "slurm":
        if workers is not None or gpus is not None:
            fail("workers, gpus", "a choice of them", "none with Slurm, which has its own")
        return SlurmExecutor(run, slurm_options)
    if name != "local":
        fail("executor", repr(name), "local or slurm")
    if slurm_options:
        fail(", ".join(f"slurm_{key}" for key in slurm_options), "a value", "none without --executor slurm")
    if run.device == "cuda":
        return LocalExecutor(run, gpu_workers(gpus, run.gpus_per_training, workers))
    if gpus is not None:
        fail("gpus", repr(gpus), "none without --device cuda")
    return LocalExecutor(run, cpu_workers(workers))


def _slurm_options(partition: str | None, time: str | None, others: list[str]) -> dict[str, Any]:
    given: dict[str, Any] = {"partition": partition, "time": time}
    for option in others:
        key, separator, value = option.partition("=")
        if not (key and separator):
            fail("slurm_option", repr(option), "KEY=VALUE")
        given[key] = int(value) if value.isdecimal() else value
    return {key: value for key, value in given.items() if value is not None}


def _print_tables(run: RunFolder, as_json: bool) -> None:
    from surfloss.nnunet.results import METRICS, tables

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
