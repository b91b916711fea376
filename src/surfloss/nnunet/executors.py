"""Jobs in processes that submitit starts: on this machine, or on a cluster that Slurm schedules."""

import getpass
import hashlib
import math
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

import submitit
from submitit.core.utils import environment_variables
from submitit.helpers import Checkpointable

from surfloss._check import fail, whole
from surfloss.nnunet.jobs import Executor, Job, perform
from surfloss.nnunet.run_folder import RunFolder, hold, in_one_line, processors

_LONGEST_ERROR = 10_000  # bytes that the driver is told of
_MOST_MINUTES = 5_000_000  # of a job on this machine: submitit would end it after two
_TIME_LIMIT = "24:00:00"  # of a job of Slurm's; submitit itself would ask for five minutes
_MOST_REQUEUES = 100  # of a training whose time is up, and that goes on from its checkpoint

# Slurm's states of a job that will not run again; those that it may leave for the queue are not among them.
_ENDED = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")
)


@dataclass
class _Task(Checkpointable):  # type: ignore[misc]
    """What a process does: a job. When Slurm's time is up, submitit puts it back into the queue."""

    run: RunFolder
    job: Job

    def __call__(self) -> None:
        perform(self.run, self.job)


@dataclass
class _LocalTask(_Task):
    """A job on this machine: its process ends with the driver, and tells the driver what ends it.

    That is ours because the process of submitit that stands between the two outlives a killed driver, ends
    nothing that the job has started, and tells errors through a file, for which a full disk has no room.
    The standard input is the connection to the driver.
    """

    environment: dict[str, str]

    def __call__(self) -> None:
        os.setsid()  # with whatever it starts, it can be ended as one
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ignored by submitit, and so by what would be forked
        os.write(0, f"{os.getpid()}\n".encode())
        # What is printed by compiled code and by nnU-Net's own processes goes to the log this way. All of
        # them inherit the open file, and the lock on it that keeps other drivers out.
        with self.run.log(self.job.name).open("ab") as log:
            hold(log)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        if select.select([0], [], [], 0)[0]:
            _end_with_driver()  # which was killed before the log was held; the next one may be at work
        threading.Thread(target=_end_with_driver, daemon=True).start()
        os.environ.update(self.environment)  # submitit itself names GPUs by numbers only, and no UUIDs
        try:
            super().__call__()
        except BaseException as error:
            os.write(0, in_one_line(error).encode(errors="replace")[:_LONGEST_ERROR])
            raise


def _end_with_driver() -> None:
    with suppress(ConnectionError):
        os.read(0, 1)  # nothing comes but the end
    os.killpg(0, signal.SIGKILL)


class LocalExecutor(Executor):
    """Does jobs in processes on this machine, as many at a time as there are `workers`.

    Leaving its `with` block ends those that still run.
    """

    def __init__(self, run: RunFolder, workers: list[dict[str, str]]) -> None:
        """Have `run`'s jobs done by processes, each with the additional environment of a worker."""
        super().__init__(run, at_a_time=len(workers))
        self._idle = list(reversed(workers))
        self._busy: dict[str, tuple[dict[str, str], socket.socket]] = {}

    def __enter__(self) -> Self:
        folder = self._run.folder / "local"
        shutil.rmtree(folder, ignore_errors=True)  # of a driver before this one
        self._executor = submitit.LocalExecutor(folder)
        self._executor.update_parameters(timeout_min=_MOST_MINUTES, stderr_to_stdout=True)
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._busy):
            self._release(name)
        for job in self._started.values():
            job.wait()

    def _start(self, job: Job) -> "submitit.Job[None]":
        self._run.forget(job.name)
        self._run.log(job.name).parent.mkdir(parents=True, exist_ok=True)
        environment = self._idle[-1]
        ours, its = socket.socketpair()
        with its, _as_input(its), environment_variables(**environment):
            started = self._executor.submit(_LocalTask(self._run, job, environment))
        self._busy[job.name] = self._idle.pop(), ours
        return started

    def _end(self, name: str) -> str | None:
        job = self._started[name]
        if not job.done():
            return None
        return self._release(name) or f"its process was killed, or could not begin: see {job.paths.stdout}"

    def _release(self, name: str) -> str:
        """End what is left of a job's processes and free its worker; returns the error that it has told."""
        process, error = self._told(name)
        environment, connection = self._busy.pop(name)
        connection.close()
        if process:
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
        self._idle.append(environment)
        return error

    def _told(self, name: str) -> tuple[int, str]:
        """The number of a job's process, 0 before it has begun, and the error that has ended it."""
        told = b""
        with suppress(BlockingIOError, ConnectionError):
            told = self._busy[name][1].recv(2 * _LONGEST_ERROR, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        process, _, error = told.decode(errors="replace").partition("\n")
        return int(process or 0), error


@contextmanager
def _as_input(connection: socket.socket) -> Iterator[None]:
    """Have processes that are started meanwhile inherit a connection as their standard input.

    Ctrl-C does not reach them: the driver ends them.
    """
    before = os.dup(0)
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        os.dup2(connection.fileno(), 0)
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)


def cpu_workers(workers: int | None = None) -> list[dict[str, str]]:
    """The environment of each worker on a CPU: the threads are divided among them.

    Args:
        workers: how many; None for one per processor, at most 4 (a training wants 1 GB of memory and more).
    """
    count = min(4, processors()) if workers is None else whole("workers", workers, 1)
    # What the user has set is kept, so that several runs can share a machine.
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, processors() // count))
    return [{"OMP_NUM_THREADS": threads}] * count


def gpu_workers(
    gpus: str | None = None, per_training: int = 1, workers: int | None = None
) -> list[dict[str, str]]:
    """The environment of each worker on GPUs: it sees no other GPUs than its own.

    Args:
        gpus: their numbers (or UUIDs), separated by commas; None for all that are visible.
        per_training: how many a worker gets.
        workers: how many; None for as many as the GPUs suffice for, more share them.
    """
    import torch

    if not torch.cuda.is_available():
        fail("device", "cuda", "a GPU that PyTorch can use, or cpu")
    visible = gpus or os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        visible = ",".join(map(str, range(torch.cuda.device_count())))
    names = [name.strip() for name in visible.split(",") if name.strip()]
    if len(set(names)) < len(names):
        fail("gpus", repr(gpus), "each GPU once")
    if len(names) < per_training:
        fail("gpus_per_training", per_training, f"at most the {len(names)} GPUs {', '.join(names)}")
    first = range(0, len(names) - per_training + 1, per_training)
    groups = [",".join(names[n : n + per_training]) for n in first]
    count = len(groups) if workers is None else whole("workers", workers, 1)
    # Of each process: nnU-Net itself starts 12, whatever else the machine does.
    augmentation = str(max(1, min(12, processors() // (count * per_training))))
    shared = {"nnUNet_n_proc_DA": os.environ.get("nnUNet_n_proc_DA", augmentation)}  # noqa: SIM112
    return [{"CUDA_VISIBLE_DEVICES": groups[n % len(groups)]} | shared for n in range(count)]


class SlurmExecutor(Executor):
    """Submits jobs to Slurm and looks into its queue for their end.

    The driver may be killed and started again on any machine that sees the folder: submitted jobs go on
    without it, and are found again in the queue by their names.
    """

    def __init__(
        self, run: RunFolder, options: dict[str, Any] | None = None, poll: float = 10.0, settle: float = 10.0
    ) -> None:
        """Have `run`'s jobs done by Slurm.

        Args:
            options: of `sbatch`, in submitit's names: partition, time (24 hours without it),
                account, cpus_per_task, mem, setup...
            poll: seconds between two questions to Slurm.
            settle: how many seconds the record of a job may take to be seen through a shared file system.

        Raises:
            ValueError: if Slurm's commands are not installed, or an option is unknown.
        """
        super().__init__(run)
        if missing := [name for name in ("sbatch", "srun", "squeue") if not shutil.which(name)]:
            fail("executor", f"slurm without {', '.join(missing)}", "a machine with Slurm's commands")
        self._poll, self._settle = poll, settle
        self._executor = submitit.SlurmExecutor(run.folder / "slurm", max_num_timeout=_MOST_REQUEUES)
        options = {"cpus_per_task": 4, "stderr_to_stdout": True, "time": _TIME_LIMIT} | (options or {})
        # In any of Slurm's forms, where submitit's own option takes minutes alone.
        options["additional_parameters"] = {"time": options.pop("time")}
        self._executor.update_parameters(**options)
        self._left: dict[str, float] = {}  # job -> when it was first seen ended
        self._asked = -math.inf
        self._queue: dict[str, tuple[str, str]] = {}
        # Jobs of other folders are in the queue too.
        self._prefix = f"surfloss-{hashlib.sha256(str(run.folder).encode()).hexdigest()[:8]}"

    def ended(self) -> list[tuple[str, str]]:
        if time.monotonic() - self._asked < self._poll:
            return []
        self._asked = time.monotonic()
        queue = list_queue()
        if queue is None:
            return []
        self._queue = queue
        return super().ended()

    def _start(self, job: Job) -> "submitit.Job[None]":
        """Submit a job unless a driver that has been killed did."""
        name = f"{self._prefix}/{job.name}"
        alive = [number for number, row in self._queue.items() if row[0] == name and row[1] not in _ENDED]
        if alive:
            return submitit.SlurmJob(self._executor.folder, alive[-1])
        self._run.forget(job.name)
        gpus = self._run.gpus_per_training if job.on_device and self._run.device == "cuda" else None
        self._executor.update_parameters(job_name=name, gpus_per_node=gpus)
        return self._executor.submit(_Task(self._run, job))

    def _end(self, name: str) -> str | None:
        # submitit itself asks sacct, which needs Slurm's accounting: a small cluster may lack it.
        number = self._started[name].job_id
        _, state = self._queue.get(number, ("", "gone from the queue"))
        if number in self._queue and state not in _ENDED:
            return None
        since = self._left.setdefault(name, time.monotonic())
        if not self._run.finished(name) and time.monotonic() - since < self._settle:
            return None
        del self._left[name]
        return f"Slurm's job {number}: {state.lower()}"


def list_queue() -> dict[str, tuple[str, str]] | None:
    """Number -> (name, state) of this user's jobs, oldest first; None while Slurm does not answer."""
    command = ["squeue", "--noheader", "--states=all", "--sort=i", f"--user={getpass.getuser()}"]
    answer = subprocess.run([*command, "--format=%i|%T|%j"], capture_output=True, text=True, check=False)
    if answer.returncode:
        return None
    rows = (line.strip().split("|", maxsplit=2) for line in answer.stdout.splitlines() if line.strip())
    return {number: (name, state) for number, state, name in rows}
