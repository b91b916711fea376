"""Jobs as processes on this machine, a few at a time.

`python -m surfloss.nnunet.local` is such a process. Its standard input is a connection to the driver: it
reads a run and a job there, does the job, and tells the error that ends it. It ends at once when the driver
dies and the connection with it.
"""

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from surfloss._check import fail, whole
from surfloss.nnunet.jobs import Job, perform
from surfloss.nnunet.run_folder import RunFolder, hold, in_one_line, processors

_LONGEST_ERROR = 10_000  # bytes that the driver is told of


def cpu_workers(workers: int | None = None) -> list[dict[str, str]]:
    """The environment of each worker on a CPU: the threads are divided among them.

    Args:
        workers: how many; None for one a processor, at most 4 (a training wants 1 GB of memory and more).
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


@dataclass
class _Worker:
    """A process that does a job."""

    process: "subprocess.Popen[bytes]"
    connection: socket.socket
    environment: dict[str, str]

    def end(self) -> str:
        """End what is left of the process and of those that it started; returns how it ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        code = self.process.wait()
        with self.connection, suppress(BlockingIOError, ConnectionError):
            if told := self.connection.recv(_LONGEST_ERROR, socket.MSG_DONTWAIT):
                return told.decode(errors="replace")
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


class LocalExecutor:
    """Does jobs in processes on this machine, as many at a time as there are `workers`.

    Leaving its `with` block ends those that still run.
    """

    def __init__(self, run: RunFolder, workers: list[dict[str, str]]) -> None:
        """Have `run`'s jobs done by processes, each with the additional environment of a worker."""
        self._run = run
        self._idle = list(reversed(workers))
        self._waiting: deque[Job] = deque()
        self._running: dict[str, _Worker] = {}

    def __enter__(self) -> "LocalExecutor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._running.values():
            worker.end()

    def submit(self, job: Job) -> None:
        self._run.forget(job.name)
        self._waiting.append(job)
        self._start()

    def ended(self) -> list[tuple[str, str]]:
        ended = []
        for name, worker in list(self._running.items()):
            if worker.process.poll() is not None:
                ended.append((name, worker.end()))
                self._idle.append(worker.environment)
                del self._running[name]
        self._start()
        return ended

    def processes(self) -> dict[str, int]:
        """The process of each running job."""
        return {name: worker.process.pid for name, worker in self._running.items()}

    def _start(self) -> None:
        while self._waiting and self._idle:
            job, environment = self._waiting.popleft(), self._idle.pop()
            log = self._run.log(job.name)
            log.parent.mkdir(parents=True, exist_ok=True)
            ours, its = socket.socketpair()
            # What is printed by compiled code and by nnU-Net's own processes goes to the log this way. All of
            # them inherit the open file, and the lock on it that keeps other drivers out.
            with its, log.open("a+b") as file:
                hold(file)
                process = subprocess.Popen(
                    [sys.executable, "-m", __name__],
                    stdin=its.fileno(),
                    stdout=file,
                    stderr=file,
                    env=os.environ | environment,
                    start_new_session=True,  # with whatever it starts, it can be ended as one
                )
            self._running[job.name] = _Worker(process, ours, environment)
            with suppress(ConnectionError):  # it has died already, and is found so
                ours.sendall(pickle.dumps((self._run, job)))


def _end_with_driver() -> None:
    with suppress(ConnectionError):
        os.read(sys.stdin.fileno(), 1)  # nothing comes but the end
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    its_run, its_job = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_driver, daemon=True).start()
    try:
        perform(its_run, its_job)
    except BaseException as its_error:
        # A full disk has no room for it in the record and the log.
        os.write(sys.stdin.fileno(), in_one_line(its_error).encode(errors="replace")[:_LONGEST_ERROR])
        raise
