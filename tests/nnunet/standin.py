"""Jobs that stand in for real ones: they take no time, and fail or are killed as a test asks for."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

from surfloss.nnunet.run_folder import Progress, RunFolder


def work(run: RunFolder, progress: Progress, steps: int = 1) -> None:
    """Do some steps at once, and note that it was done."""
    progress.begin(steps)
    for _ in range(steps):
        progress.advance()
    with (run.folder / "done.txt").open("a") as file:
        file.write(f"{progress.job}\n")


def count(run: RunFolder, progress: Progress, steps: int, pause: float = 0.0) -> None:
    """Like a training: goes on from its checkpoint."""
    checkpoint = run.folder / f"{progress.job.replace('/', '_')}.checkpoint"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    progress.begin(steps, done)
    for step in range(done, steps):
        time.sleep(pause)
        checkpoint.write_text(str(step + 1))
        progress.advance()


def count_and_die(run: RunFolder, progress: Progress, steps: int, at: int) -> None:
    """A training whose process is killed, once."""
    first = _first(run, progress)
    count(run, progress, at if first else steps)
    if first:
        os.kill(os.getpid(), signal.SIGKILL)


def die(run: RunFolder, progress: Progress) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(run: RunFolder, progress: Progress, error: Exception, times: int = 1000) -> None:
    """Raise the error so many times, then succeed."""
    tries = run.folder / f"{progress.job.replace('/', '_')}.tries"
    before = int(tries.read_text()) if tries.exists() else 0
    tries.write_text(str(before + 1))
    print("about to fail")
    if before < times:
        raise error
    work(run, progress)


def tell_environment(run: RunFolder, progress: Progress, names: tuple[str, ...]) -> None:
    """Write down what the process sees, and wait until another has done so too."""
    seen = [os.environ.get(name, "") for name in names]
    (run.folder / f"{progress.job}.environment").write_text(" ".join(seen))
    deadline = time.monotonic() + 30
    while len(list(run.folder.glob("*.environment"))) < 2:
        assert time.monotonic() < deadline, "ran alone"
        time.sleep(0.05)


def fill_disk(run: RunFolder, progress: Progress, room: int) -> None:
    """Meet the limit of what may be written, as on a full disk that has room for so many more bytes."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    (run.folder / "large").write_bytes(bytes(10_000))


def sleep_with_child(run: RunFolder, progress: Progress) -> None:
    """Start a process, as nnU-Net does for preprocessing, and wait."""
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(120,))
    child.start()
    assert child.pid is not None
    progress.begin(child.pid, os.getpid())  # tells the numbers of both
    time.sleep(120)


def drive(folder: Path) -> None:
    """What a driver in a process of its own does, for a test that kills it."""
    from surfloss.nnunet.executors import LocalExecutor
    from surfloss.nnunet.jobs import Job, complete
    from tests.nnunet.conftest import MINI

    run = RunFolder(folder, MINI)
    with run.opened(), LocalExecutor(run, [{}]) as executor:
        complete(run, [Job("sleep", sleep_with_child)], executor)


def _first(run: RunFolder, progress: Progress) -> bool:
    mark = run.folder / f"{progress.job.replace('/', '_')}.started"
    first = not mark.exists()
    mark.touch()
    return first
