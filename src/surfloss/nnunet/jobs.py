"""A run as a graph of jobs: what there is to do, what needs what, and the doing in that order."""

import math
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Self

from surfloss.nnunet import networks, stages
from surfloss.nnunet.experiments import Model
from surfloss.nnunet.run_folder import CROSS_VALIDATION, Progress, RunFolder, in_one_line

STAGES = ("prepare", "plan", "train", "predict", "ensemble", "evaluate", "report")


@dataclass(frozen=True)
class Job:
    """A unit of work that is done by one process, goes on where it was interrupted, and can be pickled."""

    name: str  # its stage, then what of it: "train/dice_ce_2d/fold_0"
    work: Callable[[RunFolder, Progress], None]
    needs: tuple[str, ...] = ()
    on_device: bool = False  # runs networks, on a GPU where there is one
    always: bool = False  # quick, and done again by every run

    @property
    def stage(self) -> str:
        return self.name.split("/", maxsplit=1)[0]


def list_jobs(run: RunFolder, until: str = STAGES[-1]) -> list[Job]:
    """Every job of the run up to and including the stage `until`, each after those that it needs."""
    experiment = run.experiment
    jobs = [Job("prepare", stages.prepare), Job("plan", stages.plan, ("prepare",))]
    for model in experiment.models:
        jobs += _model_jobs(run, model)
    for ensemble in experiment.ensembles:
        name = f"ensemble/{run.part}{ensemble.name}"
        members = [job for member in ensemble.members for job in _predictions(run, member)]
        jobs.append(Job(name, partial(stages.ensemble, ensemble=ensemble), tuple(members)))
        jobs.append(_evaluation(run.part + ensemble.name, name))
    evaluations = tuple(job.name for job in jobs if job.stage == "evaluate")
    jobs.append(Job("report", stages.report, evaluations, always=True))
    return [job for job in jobs if STAGES.index(job.stage) <= STAGES.index(until)]


def _model_jobs(run: RunFolder, model: Model) -> Iterator[Job]:
    folds = range(run.experiment.folds)
    held_out = CROSS_VALIDATION + model.name
    trained = [f"train/{model.name}/fold_{fold}" for fold in folds]
    predicted = _fold_predictions(run, model.name)
    for fold in folds:
        train = partial(networks.train, model=model, fold=fold)
        yield Job(trained[fold], train, ("plan",), on_device=True)
        predict = partial(networks.predict, model=model, fold=fold)
        yield Job(predicted[fold], predict, (trained[fold],), on_device=True)
    if run.experiment.has_test:
        predict = partial(networks.predict, model=model)
        yield Job(f"predict/{model.name}", predict, tuple(trained), on_device=True)
        yield _evaluation(model.name, f"predict/{model.name}")
    yield _evaluation(held_out, *predicted)


def _fold_predictions(run: RunFolder, model: str) -> list[str]:
    return [f"predict/{CROSS_VALIDATION}{model}/fold_{fold}" for fold in range(run.experiment.folds)]


def _predictions(run: RunFolder, model: str) -> list[str]:
    """The jobs that predict what models are compared on."""
    return [f"predict/{model}"] if run.experiment.has_test else _fold_predictions(run, model)


def _evaluation(name: str, *needs: str) -> Job:
    return Job(f"evaluate/{name}", partial(stages.evaluate, name=name), needs)


def perform(run: RunFolder, job: Job) -> None:
    """Do a job in this process, whose environment is nnU-Net's from now on.

    The job's end, and its error, are in the run's record of it.
    """
    os.environ.update(run.environment())
    with run.recorded(job.name) as progress:
        job.work(run, progress)


class Executor:
    """Where jobs are done: each in a process of its own, which calls `perform`.

    A class that derives from it starts the processes, at most so many at a time.
    """

    def __init__(self, run: RunFolder, at_a_time: float = math.inf) -> None:
        self._run, self._at_a_time = run, at_a_time
        self._waiting: deque[Job] = deque()
        self._started: dict[str, Any] = {}  # name of a job -> its process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the jobs that still run to themselves."""

    def submit(self, job: Job) -> None:
        """Have a job done as soon as there is room for it."""
        self._waiting.append(job)

    def ended(self) -> list[tuple[str, str]]:
        """The jobs that have ended since the last call, and how their process ended; without waiting."""
        ended = [(name, how) for name in self._started if (how := self._end(name))]
        for name, _ in ended:
            del self._started[name]
        while self._waiting and len(self._started) < self._at_a_time:
            job = self._waiting.popleft()
            try:
                self._started[job.name] = self._start(job)
            except Exception as error:  # of pickling, of the disk, of a cluster
                ended.append((job.name, f"could not be submitted: {in_one_line(error)}"))
        return ended

    def _start(self, job: Job) -> Any:
        """Start the process of a job."""
        raise NotImplementedError

    def _end(self, name: str) -> str | None:
        """How a job's process has ended; None as long as it may go on."""
        raise NotImplementedError


@dataclass(frozen=True)
class FailedJob:
    """A job that could not be done."""

    job: str
    attempts: int
    reason: str
    log: Path


def complete(
    run: RunFolder,
    jobs: Sequence[Job],
    executor: Executor,
    retries: int = 1,
    on_change: Callable[[set[str]], object] = lambda running: None,
    pause: float = 0.2,
) -> list[FailedJob]:
    """Have jobs done in the order of their needs; a finished one is skipped, an interrupted one goes on.

    Args:
        executor: what does them.
        retries: how often a job that failed is tried again, unless it refused its input.
        on_change: called every `pause` seconds with the names of the jobs submitted and not yet ended.
        pause: seconds between two looks at the executor.

    Returns:
        The jobs that failed. Those that need one of them were not started; all others are finished.
    """
    by_name = {job.name: job for job in jobs}
    graph = TopologicalSorter({job.name: job.needs for job in jobs})
    graph.prepare()
    attempts: Counter[str] = Counter()
    submitted: set[str] = set()
    failures: list[FailedJob] = []

    def submit(name: str) -> None:
        attempts[name] += 1
        submitted.add(name)
        executor.submit(by_name[name])

    while True:
        while ready := graph.get_ready():
            for name in ready:
                if run.finished(name) and not by_name[name].always:
                    graph.done(name)
                else:
                    submit(name)
        on_change(submitted)
        if not submitted:
            return failures
        for name, how in executor.ended():
            submitted.remove(name)
            record = run.record(name)
            if record is not None and record.state == "finished":
                graph.done(name)
            elif attempts[name] <= retries and not (record and record.refused):
                submit(name)
            else:
                reason = record.error if record and record.error else how
                failures.append(FailedJob(name, attempts[name], reason, run.log(name)))
        time.sleep(pause)
