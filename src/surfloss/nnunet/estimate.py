"""How long the jobs of a run will take, and how much room they need, before they are done.

Where jobs of the same kind are finished in the run, their recorded times answer. Otherwise the time follows
from the size of the networks and of the data, at a speed that was measured on a CPU and is assumed for a GPU.
"""

import heapq
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from statistics import mean

from surfloss.nnunet.experiments import Experiment, Model
from surfloss.nnunet.jobs import Job
from surfloss.nnunet.run_folder import Record, RunFolder, read_json


@dataclass(frozen=True)
class Estimate:
    """How long a job will take, and how that is known."""

    seconds: float
    basis: str  # "recorded", "measured" (on another machine) or "assumed"


@dataclass(frozen=True)
class Speed:
    """Of training: seconds a step are `start + voxels * (each + features * (linear + features * square))`."""

    basis: str
    start: float
    each: float  # augmentation, and what does not depend on the network
    linear: float
    square: float

    def step(self, voxels: int, features: int) -> float:
        """Seconds of a training step on so many voxels, with so many features at full resolution."""
        return voxels * self.each + self.network(voxels, features)

    def network(self, voxels: int, features: int) -> float:
        """The network's part of it, forward and backward."""
        return self.start + voxels * features * (self.linear + features * self.square)


SPEEDS = {
    # One thread of a server's x86-64 CPU with AVX-512, which had other work too: fitted to the processor time
    # of nnU-Net's own steps at 8, 16 and 32 features in 2-D and 3-D (within 50 %).
    "cpu": Speed("measured", start=0.0, each=2e-7, linear=1.5e-7, square=5e-9),
    # A data-center GPU under autocast with processors enough for its augmentation: not measured.
    "cuda": Speed("assumed", start=0.03, each=0.0, linear=1.2e-9, square=0.0),
}
_FORWARD = 0.28  # of forward and backward
_PROCESS = 5.0  # seconds until a process has imported what it needs
_PREPARATION = 2e-6  # seconds a voxel, for each of conversion and preprocessing
_PLANNING = 10.0


@dataclass(frozen=True)
class _Planned:
    """What nnU-Net plans for a configuration."""

    batch_size: int
    patch: tuple[int, ...]
    parameters: int  # of the network with 32 features at full resolution

    @property
    def voxels(self) -> int:
        return self.batch_size * math.prod(self.patch)


# What nnU-Net 2.8 plans for grids like the presets', for the estimate before a run has planned.
_PLANNED = {
    ("tiny", "2d"): _Planned(6, (64, 64), 7_766_344),
    ("tiny", "3d_fullres"): _Planned(2, (16, 64, 64), 16_137_416),
    ("small", "2d"): _Planned(12, (256, 256), 33_471_820),
    ("small", "3d_fullres"): _Planned(2, (16, 160, 160), 30_338_954),
    ("paper", "2d"): _Planned(12, (512, 512), 46_324_558),
    ("paper", "3d_fullres"): _Planned(2, (16, 320, 320), 43_528_780),
}
_INSTANCE = (130, (30, 512, 512))  # INSTANCE2022: labeled cases, and a usual one's size


def estimate(run: RunFolder, jobs: Sequence[Job], threads: int = 1) -> dict[str, Estimate]:
    """Seconds of each job, from its start to its end; of a finished one, what it took.

    Args:
        threads: of each job on a CPU.
    """
    records = {job.name: record for job in jobs if (record := run.record(job.name))}
    finished = [record for record in records.values() if record.state == "finished"]
    return {job.name: _recorded(job, finished, run.device) or _computed(run, job, threads) for job in jobs}


def wall_seconds(jobs: Sequence[Job], seconds: dict[str, float], workers: int) -> float:
    """How long so many workers take for jobs of so many seconds, each started as soon as it can be."""
    graph = TopologicalSorter({job.name: job.needs for job in jobs})
    graph.prepare()
    waiting: list[str] = []
    running: list[tuple[float, str]] = []
    now = 0.0
    while graph.is_active():
        waiting += graph.get_ready()
        while waiting and len(running) < workers:
            name = waiting.pop(0)
            heapq.heappush(running, (now + seconds[name], name))
        now, name = heapq.heappop(running)
        graph.done(name)
    return now


def disk_bytes(run: RunFolder) -> int:
    """What the finished run will take on disk, about; the data set itself not included."""
    cases, size = _cases(run.experiment)
    voxels = cases * math.prod(size)
    # Compressed: the phantom or nothing, the raw data set, and two preprocessed ones of 32-bit values.
    data = (2 if run.data is None and run.experiment.phantom else 1) * voxels + 2 * 2 * voxels
    # The last and the best checkpoint, each with the parameters and their momentum in 4 bytes.
    networks = (
        sum(2 * 2 * 4 * _parameters(run, model) for model in run.experiment.models) * run.experiment.folds
    )
    probabilities = len(run.experiment.ensemble) * 4 * run.experiment.validation_cases * math.prod(size)
    return data + networks + probabilities


def _recorded(job: Job, finished: list[Record], device: str) -> Estimate | None:
    """From the job itself, or from others that differ in the fold."""
    same = [record for record in finished if record.job == job.name]
    kind = re.sub(r"fold_\d+$", "", job.name)
    alike = [r for r in finished if re.sub(r"fold_\d+$", "", r.job) == kind and r.device == device]
    # An attempt that went on from a checkpoint took its share of the steps.
    times = [
        r.seconds * r.steps / max(1, r.done - r.resumed_at) if r.steps else r.seconds for r in same or alike
    ]
    return Estimate(mean(times), "recorded") if times else None


def _computed(run: RunFolder, job: Job, threads: int) -> Estimate:
    preset, speed = run.experiment, SPEEDS[run.device]
    cases, size = _cases(preset)
    held_out = preset.validation_cases
    share = threads if run.device == "cpu" else 1
    if job.stage == "prepare":
        seconds = cases * math.prod(size) * _PREPARATION
    elif job.stage == "plan":
        seconds = _PLANNING + cases * math.prod(size) * _PREPARATION
    elif job.on_device:
        model = next(model for model in preset.models if model.name in job.name.split("/"))
        if job.stage == "train":
            seconds = _training(run, model, speed) / share
        elif "cross_validation" in job.name:
            seconds = (cases - held_out) / preset.folds * _prediction(run, model, speed) / share
        else:
            seconds = held_out * preset.folds * _prediction(run, model, speed) / share
    else:
        seconds = 0.0
    basis = speed.basis if job.on_device else SPEEDS["cpu"].basis
    return Estimate(_PROCESS + seconds, basis)


def _training(run: RunFolder, model: Model, speed: Speed) -> float:
    preset, planned, features = run.experiment, _planned(run, model), _features(run)
    validation = planned.voxels * speed.each + _FORWARD * speed.network(planned.voxels, features)
    epoch = (
        preset.iterations * speed.step(planned.voxels, features) + preset.validation_iterations * validation
    )
    return preset.epochs * epoch


def _prediction(run: RunFolder, model: Model, speed: Speed) -> float:
    """Seconds for a case with one network: every half-overlapping patch, in every mirror image."""
    _, size = _cases(run.experiment)
    patch = _planned(run, model).patch
    plane = size[-len(patch) :]
    steps = (max(0, math.ceil((n - p) / (p / 2))) + 1 for n, p in zip(plane, patch, strict=True))
    slices = math.prod(size) // math.prod(plane)
    passes: int = slices * math.prod(steps) * 2 ** len(patch)
    return passes * _FORWARD * speed.network(math.prod(patch), _features(run))


def _cases(preset: Experiment) -> tuple[int, tuple[int, ...]]:
    return (preset.phantom.cases, preset.phantom.size) if preset.phantom else _INSTANCE


def _features(run: RunFolder) -> int:
    return run.experiment.base_features or 32


def _parameters(run: RunFolder, model: Model) -> int:
    return _planned(run, model).parameters * _features(run) ** 2 // 32**2


def _planned(run: RunFolder, model: Model) -> _Planned:
    """From the run's plans where there are any, else what is expected of a grid like the preset's."""
    size = _cases(run.experiment)[1]
    unknown = _Planned(2, size[-2:] if model.configuration == "2d" else size, 31_000_000)
    expected = _PLANNED.get((run.experiment.name, model.configuration), unknown)
    if not run.plans.exists():
        return expected
    plan = read_json(run.plans)["configurations"][model.configuration]
    return _Planned(plan["batch_size"], tuple(plan["patch_size"]), expected.parameters)
