"""What `surfloss reproduce` and `surfloss compare` share: options, and the doing and showing of jobs."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from rich.table import Column, Table

from surfloss._check import fail
from surfloss.cli._terminal import Console, progress_bars, say

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from surfloss.nnunet.jobs import Executor, FailedJob, Job
    from surfloss.nnunet.run_folder import Record, RunFolder

_STAGES = "prepare, plan, train, predict, ensemble, evaluate, report"

Out: TypeAlias = Annotated[Path, typer.Option(help="Folder of the run; an interrupted run in it goes on.")]
LeaveOut: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="Name of a case of the data that shall not count; repeatable.")
]
Device: TypeAlias = Annotated[str, typer.Option(help="Where networks run: cpu or cuda.")]
Until: TypeAlias = Annotated[str, typer.Option(help=f"Last stage to run, of {_STAGES}.")]
Workers: TypeAlias = Annotated[
    int | None, typer.Option(help="Jobs at a time; by default one a processor (at most 4) or a GPU.")
]
Gpus: TypeAlias = Annotated[str | None, typer.Option(help="GPUs to use, as 0,1; by default all visible.")]
GpusPerTraining: TypeAlias = Annotated[
    int, typer.Option(help="GPUs that share a training's batch (nnU-Net's own data parallelism).")
]
ExecutorName: TypeAlias = Annotated[str, typer.Option(help="Where jobs run: local (this machine) or slurm.")]
SlurmPartition: TypeAlias = Annotated[str | None, typer.Option(help="Slurm's partition.")]
SlurmTime: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Time limit of a job, as sbatch takes it, 24:00:00 without it; a training goes on after it "
        "in another."
    ),
]
SlurmOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="KEY=VALUE for submitit's Slurm executor, as account=x or cpus_per_task=8."),
]
Retries: TypeAlias = Annotated[int, typer.Option(min=0, help="How often a job that failed is tried again.")]
DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Print the jobs and how far each is, and do none.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the paths and tables as JSON.")]


@dataclass(frozen=True)
class Where:
    """Where jobs run, in the words of the options."""

    executor: str
    workers: int | None
    gpus: str | None
    slurm_partition: str | None
    slurm_time: str | None
    slurm_option: list[str] = field(default_factory=list)

    def start(self, run: RunFolder) -> Executor:
        """
        Raises:
            ValueError: if options contradict each other.
        """
        from surfloss.nnunet.executors import LocalExecutor, SlurmExecutor, cpu_workers, gpu_workers

        slurm_options = self._slurm_options()
        if self.executor == "slurm":
            if self.workers is not None or self.gpus is not None:
                fail("workers, gpus", "a choice of them", "none with Slurm, which has its own")
            return SlurmExecutor(run, slurm_options)
        if self.executor != "local":
            fail("executor", repr(self.executor), "local or slurm")
        if slurm_options:
            names = ", ".join(f"slurm_{key}" for key in slurm_options)
            fail(names, "a value", "none without --executor slurm")
        if run.device == "cuda":
            return LocalExecutor(run, gpu_workers(self.gpus, run.gpus_per_training, self.workers))
        if self.gpus is not None:
            fail("gpus", repr(self.gpus), "none without --device cuda")
        return LocalExecutor(run, cpu_workers(self.workers))

    def _slurm_options(self) -> dict[str, Any]:
        given: dict[str, Any] = {"partition": self.slurm_partition, "time": self.slurm_time}
        for option in self.slurm_option:
            key, separator, value = option.partition("=")
            if not (key and separator):
                fail("slurm_option", repr(option), "KEY=VALUE")
            given[key] = int(value) if value.isdecimal() else value
        return {key: value for key, value in given.items() if value is not None}


def do_jobs(run: RunFolder, until: str, where: Where, retries: int, dry_run: bool, as_json: bool) -> bool:
    """Do the jobs of a run, or with `dry_run` show them; returns whether there is a new report.

    Raises:
        ValueError: if an option is wrong, or the run's folder or data.
        typer.Exit: if a job failed.
    """
    from surfloss.nnunet.jobs import STAGES, complete, list_jobs

    if until not in STAGES:
        fail("until", repr(until), f"one of {', '.join(STAGES)}")
    jobs = list_jobs(run, until)
    if run.data:
        source = run.read_source()
        tested = "validation" if run.experiment.follows_paper else "test"
        counts = f"{len(source.training)} training and {len(source.test)} {tested} cases"
        say(f"{counts} in {run.data}")
        if source.passed_over:
            say(f"Passed over: {'; '.join(source.passed_over)}")
    if dry_run:
        print_plan(run, jobs, as_json)
        return False
    executor = where.start(run)
    with run.opened(), executor as does, progress_bars() as bars:
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
        told = {"out": str(run.folder), "finished": until}
        typer.echo(json.dumps(told) if as_json else f"Finished: {until}")
    return until == "report"


def print_tables(run: RunFolder, as_json: bool) -> None:
    """Print the tables of a run, and where its report is."""
    from surfloss.nnunet.results import tables

    page = run.report / "report.html"
    if as_json:
        as_dicts = {table.title: [asdict(row) for row in table.rows] for table in tables(run)}
        typer.echo(json.dumps({"report": str(page), "tables": as_dicts}, indent=2))
        return
    console = Console()
    for found in tables(run):
        paper = any(row.paper for row in found.rows)
        table = Table(
            Column("model", overflow="fold"),
            *(metric.heading for metric in found.metrics),
            "null cases",
            title=found.title + " (paper above, ours below)" * paper,
        )
        for row in found.rows:
            cells = [f"{its}\n{ours}" for its, ours in row.pairs] if paper else row.ours
            table.add_row(row.title, *cells, f"{row.null}/{row.cases}")
            table.add_section()
        console.print(table)
    console.print(f"Report: {page}", soft_wrap=True)


class Display:
    """A bar for all jobs and one for each that runs; a line for each that has ended."""

    def __init__(self, run: RunFolder, jobs: Sequence[Job], bars: Progress) -> None:
        self._run, self._bars = run, bars
        self._names = [job.name for job in jobs]
        self._left = {name: run.record(name) for name in self._names}  # by a run that was killed
        self._all = bars.add_task("all jobs", total=len(jobs))
        self._shown: dict[str, TaskID] = {}

    def __call__(self, submitted: set[str]) -> None:
        """Show what has changed, given the jobs that are running or wait for a worker."""
        for name in submitted:
            record = self._run.record(name)
            if record and record != self._left[name]:
                if name not in self._shown:
                    self._shown[name] = self._bars.add_task(name)
                told, total = f"{name}{_left(record)}", record.steps or None
                self._bars.update(self._shown[name], description=told, completed=record.done, total=total)
            elif name in self._shown:
                self._end(name, "failed, and is tried again")
        for name in self._shown.keys() - submitted:
            record = self._run.record(name)
            self._end(name, _state(record) if record and record.state == "finished" else "failed")
        done = sum(name not in submitted and self._run.finished(name) for name in self._names)
        self._bars.update(self._all, completed=done)

    def _end(self, name: str, how: str) -> None:
        self._bars.remove_task(self._shown.pop(name))
        self._bars.console.print(f"{name}: {how}")


def print_failures(run: RunFolder, jobs: Sequence[Job], failures: Sequence[FailedJob], as_json: bool) -> None:
    """Say what failed and why, and what was not done because of it."""
    failed = {failure.job for failure in failures}
    left = [job.name for job in jobs if job.name not in failed and not run.finished(job.name)]
    if as_json:
        rows: list[dict[str, Any]] = [asdict(failure) | {"log": str(failure.log)} for failure in failures]
        typer.echo(json.dumps({"out": str(run.folder), "failed": rows, "not_done": left}, indent=2))
        return
    for failure in failures:
        times = "once" if failure.attempts == 1 else f"{failure.attempts} times"
        say(f"Failed {times}: {failure.job}: {failure.reason}")
        say(f"  Log: {failure.log}")
    if left:
        say(f"Not done for want of them: {', '.join(left)}")


def print_plan(run: RunFolder, jobs: Sequence[Job], as_json: bool) -> None:
    """Print every job, what it needs, how far it is, and the time that its record knows."""
    records = [run.record(job.name) for job in jobs]
    if as_json:
        rows = [
            {"name": job.name, "needs": job.needs, "state": record.state if record else "to do"}
            | {key: getattr(record, key, None) for key in ("done", "steps", "seconds", "seconds_left")}
            for job, record in zip(jobs, records, strict=True)
        ]
        head = {"out": str(run.folder), "preset": run.experiment.name, "device": run.device}
        typer.echo(json.dumps({**head, "jobs": rows}, indent=2))
        return
    table = Table(Column("job", overflow="fold"), Column("needs", overflow="fold"), "state")
    for job, record in zip(jobs, records, strict=True):
        table.add_row(job.name, _needs(job), _state(record))
    to_do = sum(job.always or not run.finished(job.name) for job in jobs)
    console = Console()
    console.print(table)
    console.print(f"{len(jobs)} jobs, {to_do} to do on {run.device}.", soft_wrap=True)


def _needs(job: Job) -> str:
    """What a job needs in a few words: all folds of a model as one, and many sets of anything too."""
    kinds = Counter(re.sub(r"fold_\d+$", "*", name) for name in job.needs)
    if len(kinds) > 3:
        return ", ".join(sorted({f"{name.split('/')[0]}/*" for name in job.needs}))
    return ", ".join(kinds if max(kinds.values(), default=0) > 1 else job.needs)


def _state(record: Record | None) -> str:
    """How far a job is, as far as is known: the time left at its own rate, or how long it took."""
    if record is None:
        return "to do"
    if record.state == "running":
        return f"begun, {record.done} of {record.steps}{_left(record)}"
    return f"finished after {_duration(record.seconds)}" if record.state == "finished" else record.state


def _left(record: Record) -> str:
    return "" if record.seconds_left is None else f", {_duration(record.seconds_left)} left"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
