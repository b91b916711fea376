"""Jobs on a cluster that Slurm schedules, each submitted once those that it needs are finished.

The driver may be killed and started again on any machine that sees the folder: submitted jobs go on without
it, and are found again in Slurm's queue by their names.
"""

import getpass
import hashlib
import math
import re
import shutil
import subprocess
import time
from typing import Any

from surfloss._check import fail
from surfloss.nnunet.jobs import Job, perform
from surfloss.nnunet.run_folder import RunFolder

# The states of a job that will not run again; those that it may leave for the queue are not among them.
_ENDED = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")
)
_MOST_REQUEUES = 100  # of a training whose time is up, and that goes on from its checkpoint


class SlurmExecutor:
    """Submits jobs through submitit and looks into Slurm's queue for their end."""

    def __init__(
        self, run: RunFolder, options: dict[str, Any] | None = None, poll: float = 10.0, settle: float = 10.0
    ) -> None:
        """Have `run`'s jobs done by Slurm.

        Args:
            options: of `sbatch`, in submitit's names: partition, time, account, cpus_per_task, mem, setup...
            poll: seconds between two questions to Slurm.
            settle: how many seconds the record of a job may take to be seen through a shared file system.

        Raises:
            ValueError: if submitit or Slurm's commands are not installed, or an option is unknown.
        """
        try:
            import submitit
        except ImportError:
            fail("executor", "slurm without submitit", "an installed one: pip install 'surfloss[cluster]'")
        if missing := [name for name in ("sbatch", "srun", "squeue") if not shutil.which(name)]:
            fail("executor", f"slurm without {', '.join(missing)}", "a machine with Slurm's commands")
        self._run = run
        self._poll, self._settle = poll, settle
        self._executor = submitit.SlurmExecutor(run.folder / "slurm", max_num_timeout=_MOST_REQUEUES)
        self._options = {"cpus_per_task": 4, "stderr_to_stdout": True} | (options or {})
        if "time" in self._options:
            self._options["time"] = _minutes(self._options["time"])
        self._executor.update_parameters(**self._options)
        self._waiting: list[Job] = []
        self._submitted: dict[str, str] = {}  # job -> Slurm's number
        self._left: dict[str, float] = {}  # job -> when it was first seen ended
        self._asked = -math.inf
        # Jobs of other folders are in the queue too.
        self._prefix = f"surfloss-{hashlib.sha256(str(run.folder).encode()).hexdigest()[:8]}"

    def submit(self, job: Job) -> None:
        self._waiting.append(job)  # until Slurm says that it has none of that name

    def ended(self) -> list[tuple[str, str]]:
        if time.monotonic() - self._asked < self._poll:
            return []
        self._asked = time.monotonic()
        queue = self._queue()
        if queue is None:
            return []
        ended = [(name, how) for name in list(self._submitted) if (how := self._end(name, queue))]
        while self._waiting:
            job = self._waiting.pop(0)
            if problem := self._send(job, queue):
                ended.append((job.name, problem))
        return ended

    def _end(self, name: str, queue: dict[str, tuple[str, str]]) -> str | None:
        """How a submitted job has ended; None as long as it may go on, or its record may yet be seen."""
        number = self._submitted[name]
        _, state = queue.get(number, ("", "gone from the queue"))
        if number in queue and state not in _ENDED:
            return None
        since = self._left.setdefault(name, time.monotonic())
        if not self._run.finished(name) and time.monotonic() - since < self._settle:
            return None
        del self._submitted[name], self._left[name]
        return f"Slurm's job {number}: {state.lower()}"

    def _send(self, job: Job, queue: dict[str, tuple[str, str]]) -> str | None:
        """Submit a job unless a driver that has been killed did; returns why that was not possible."""
        name = f"{self._prefix}/{job.name}"
        alive = [number for number, row in queue.items() if row[0] == name and row[1] not in _ENDED]
        if alive:
            self._submitted[job.name] = alive[-1]
            return None
        self._run.forget(job.name)
        gpus = {"gpus_per_node": self._run.gpus_per_training} if self._needs_gpu(job) else {}
        self._executor.parameters = {}
        self._executor.update_parameters(**{**self._options, **gpus, "job_name": name})
        try:
            self._submitted[job.name] = self._executor.submit(_Task(self._run, job)).job_id
        except (RuntimeError, OSError) as error:  # of sbatch; of the disk
            return f"could not be submitted: {' '.join(str(error).split())}"
        return None

    def _needs_gpu(self, job: Job) -> bool:
        return job.on_device and self._run.device == "cuda"

    def _queue(self) -> dict[str, tuple[str, str]] | None:
        """Number -> (name, state) of this user's jobs, oldest first; None while Slurm does not answer."""
        # Not sacct, as submitit asks: it needs Slurm's accounting, which a small cluster may lack.
        command = ["squeue", "--noheader", "--states=all", "--sort=i", f"--user={getpass.getuser()}"]
        answer = subprocess.run([*command, "--format=%i|%T|%j"], capture_output=True, text=True, check=False)
        if answer.returncode:
            return None
        rows = (line.strip().split("|", maxsplit=2) for line in answer.stdout.splitlines() if line.strip())
        return {number: (name, state) for number, state, name in rows}


def _minutes(time: str) -> int:
    """Slurm's `minutes`, `hours:minutes:seconds`, `days-hours` or `days-hours:minutes:seconds` in minutes."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", str(time).strip())
    if not match or (match[3] and not match[4] and not match[1]):
        fail("slurm_time", repr(time), "minutes, hours:minutes:seconds, or days-hours:minutes:seconds")
    days, first, second, seconds = (int(part or 0) for part in match.groups())
    if match[1] or match[3]:
        return 60 * (24 * days + first) + second + (seconds > 0)
    return first


class _Task:
    """What Slurm's process does: the job; when its time is up, it is queued again and goes on."""

    def __init__(self, run: RunFolder, job: Job) -> None:
        self._run, self._job = run, job

    def __call__(self) -> None:
        perform(self._run, self._job)

    def checkpoint(self) -> Any:
        """What submitit puts back into the queue when the time is up."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(_Task(self._run, self._job))
