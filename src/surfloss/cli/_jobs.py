"""How `surfloss reproduce` shows its jobs: those that run, those that failed, and what there is to do."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Column, Table

from surfloss._check import whole
from surfloss.cli._terminal import Console, progress_bars, say

if TYPE_CHECKING:
    from rich.progress import TaskID

    from surfloss.nnunet.jobs import FailedJob, Job
    from surfloss.nnunet.run_folder import RunFolder


class Display:
    """A bar for all jobs and one for each that runs; a line for each that has ended."""

    def __init__(self, run: RunFolder, jobs: Sequence[Job]) -> None:
        self._run = run
        self._names = [job.name for job in jobs]
        self._bars = progress_bars()
        self._all = self._bars.add_task("all jobs", total=len(jobs))
        self._shown: dict[str, TaskID] = {}

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, submitted: set[str]) -> None:
        """Show what has changed, given the jobs that are running or wait for a worker."""
        for name in submitted:
            if record := self._run.record(name):
                if name not in self._shown:
                    self._shown[name] = self._bars.add_task(name)
                self._bars.update(self._shown[name], completed=record.done, total=record.steps or None)
            elif name in self._shown:
                self._end(name, "failed, and is tried again")
        for name in self._shown.keys() - submitted:
            record = self._run.record(name)
            good = record is not None and record.state == "finished"
            self._end(name, f"finished after {record.seconds:.0f} s" if record and good else "failed")
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


def print_plan(run: RunFolder, jobs: Sequence[Job], workers: int | None, as_json: bool) -> None:
    """Print every job, what it needs, whether it is done, and estimates of time and disk."""
    from surfloss.nnunet.estimate import disk_bytes, estimate, wall_seconds
    from surfloss.nnunet.run_folder import processors

    # A GPU that is not here has one worker.
    default = min(4, processors()) if run.device == "cpu" else 1
    count = default if workers is None else whole("workers", workers, 1)
    estimates = estimate(run, jobs, max(1, processors() // count))
    left = {
        job.name: 0.0 if run.finished(job.name) and not job.always else estimates[job.name].seconds
        for job in jobs
    }
    bases = sorted({estimates[name].basis for name, value in left.items() if value})
    seconds, size = round(wall_seconds(jobs, left, count)), disk_bytes(run)
    if as_json:
        rows = [
            {"name": job.name, "needs": job.needs, "state": _state(run, job)}
            | {"seconds": round(estimates[job.name].seconds), "basis": estimates[job.name].basis}
            for job in jobs
        ]
        head = {"out": str(run.folder), "preset": run.experiment.name, "device": run.device, "workers": count}
        known = {"seconds_left": seconds, "bases": bases, "disk_bytes": size}
        typer.echo(json.dumps({**head, **known, "jobs": rows}, indent=2))
        return
    name, needs, time = (
        Column("job", overflow="fold"),
        Column("needs", overflow="fold"),
        Column("time", justify="right"),
    )
    table = Table(name, needs, "state", time, "")
    for job in jobs:
        expected = estimates[job.name]
        table.add_row(job.name, _needs(job), _state(run, job), _duration(expected.seconds), expected.basis)
    to_do = sum(value > 0 for value in left.values())
    console = Console()
    console.print(table)
    console.print(
        f"{len(jobs)} jobs, {to_do} to do. On {run.device}, {count} at a "
        f"time: about {_duration(seconds)} ({', '.join(bases)}). "
        f"On disk in the end: about {_size(size)}.",
        soft_wrap=True,
    )


def _needs(job: Job) -> str:
    """What a job needs in a few words: all folds of a model as one, and many sets of anything too."""
    kinds = Counter(re.sub(r"fold_\d+$", "*", name) for name in job.needs)
    if len(kinds) > 3:
        return ", ".join(sorted({f"{name.split('/')[0]}/*" for name in job.needs}))
    return ", ".join(kinds if max(kinds.values(), default=0) > 1 else job.needs)


def _state(run: RunFolder, job: Job) -> str:
    record = run.record(job.name)
    if record is None:
        return "to do"
    if record.state == "running":
        return f"begun, {record.done} of {record.steps}"
    return record.state


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
