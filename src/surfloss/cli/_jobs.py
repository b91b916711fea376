"""How `surfloss reproduce` shows its jobs: those that run, those that failed, and what there is to do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from surfloss.cli._terminal import progress_bars

if TYPE_CHECKING:
    from rich.progress import TaskID

    from surfloss.nnunet.jobs import Failure, Job
    from surfloss.nnunet.run import Run


class Display:
    """A bar for all jobs and one for each that runs; a line for each that has ended."""

    def __init__(self, run: Run, jobs: Sequence[Job]) -> None:
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
        for name in self._shown.keys() - submitted:
            self._bars.remove_task(self._shown.pop(name))
            record = self._run.record(name)
            how = f"{record.state} after {record.seconds:.0f} s" if record else "ended"
            self._bars.console.print(f"{name}: {how}", highlight=False)
        done = sum(name not in submitted and self._run.finished(name) for name in self._names)
        self._bars.update(self._all, completed=done)


def print_failures(run: Run, jobs: Sequence[Job], failures: Sequence[Failure], as_json: bool) -> None:
    """Say what failed and why, and what was not done because of it."""
    failed = {failure.job for failure in failures}
    left = [job.name for job in jobs if job.name not in failed and not run.finished(job.name)]
    if as_json:
        rows: list[dict[str, Any]] = [asdict(failure) | {"log": str(failure.log)} for failure in failures]
        typer.echo(json.dumps({"out": str(run.folder), "failed": rows, "not_done": left}, indent=2))
        return
    for failure in failures:
        times = "once" if failure.attempts == 1 else f"{failure.attempts} times"
        typer.echo(f"Failed {times}: {failure.job}: {failure.reason}\n  Log: {failure.log}", err=True)
    if left:
        typer.echo(f"Not done for want of them: {', '.join(left)}", err=True)


def print_plan(run: Run, jobs: Sequence[Job], workers: int | None, as_json: bool) -> None:
    raise NotImplementedError
