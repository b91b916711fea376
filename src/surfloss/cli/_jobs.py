"""How `surfloss reproduce` shows its jobs: those that run, those that failed, and what there is to do."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Column, Table

from surfloss.cli._terminal import Console, say

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from surfloss.nnunet.jobs import FailedJob, Job
    from surfloss.nnunet.run_folder import Record, RunFolder


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
