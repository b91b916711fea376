"""Jobs as processes on this machine: side by side, killed, out of room, without their driver."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch

from surfloss.nnunet.executors import LocalExecutor, cpu_workers, gpu_workers
from surfloss.nnunet.jobs import Job, complete
from surfloss.nnunet.run_folder import RunFolder
from tests.nnunet import standin
from tests.nnunet.conftest import MINI

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunFolder]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # where the workers find the jobs that stand in
    run = RunFolder(tmp_path / "run", MINI)
    with run.opened():
        yield run


def wait_until(true: Callable[[], object], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(process: int) -> bool:
    """Whether there is such a process, other than a dead one that nobody has asked about."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_jobs_run_side_by_side_each_in_its_worker(run: RunFolder) -> None:
    """Each waits for the other; and sees the device that is its own."""
    tell = partial(standin.tell_environment, names=("CUDA_VISIBLE_DEVICES",))
    workers = [{"CUDA_VISIBLE_DEVICES": "3"}, {"CUDA_VISIBLE_DEVICES": "5"}]
    with LocalExecutor(run, workers) as executor:
        assert complete(run, [Job("a", tell), Job("b", tell)], executor) == []
    assert sorted(path.read_text() for path in run.folder.glob("*.environment")) == ["3", "5"]


def test_a_killed_worker_is_replaced_and_its_job_goes_on(run: RunFolder) -> None:
    jobs = [
        Job("train/a", partial(standin.count_and_die, steps=5, at=3)),
        Job("b", standin.work, ("train/a",)),
    ]
    with LocalExecutor(run, [{}]) as executor:
        assert complete(run, jobs, executor) == []
    record = run.record("train/a")
    assert record is not None
    assert (record.resumed_at, record.done, record.state) == (3, 5, "finished")


def test_what_ends_badly_is_reported_and_the_rest_goes_on(run: RunFolder) -> None:
    fill = partial(standin.fill_disk, room=1000)
    jobs = [Job("killed", standin.die), Job("full", fill), Job("free", standin.work)]
    with LocalExecutor(run, [{}, {}]) as executor:
        failures = complete(run, jobs, executor, retries=0)
    reasons = {failure.job: failure.reason for failure in failures}
    full = f"OSError: [Errno 27] File too large: '{run.folder}'"
    assert reasons.pop("killed").startswith("its process was killed, or could not begin: see ")
    assert reasons == {"full": full}
    assert run.finished("free")


def test_a_job_that_cannot_be_pickled_is_a_failure(run: RunFolder) -> None:
    jobs = [Job("locked", partial(standin.work, steps=threading.Lock())), Job("free", standin.work)]  # type: ignore[arg-type]
    with LocalExecutor(run, [{}]) as executor:
        [failure] = complete(run, jobs, executor, retries=0)
    assert failure.reason == "could not be submitted: TypeError: cannot pickle '_thread.lock' object"
    assert run.finished("free")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="asks /proc about processes")
def test_the_death_of_submitits_process_ends_the_job(run: RunFolder) -> None:
    """It stands between the driver and the job."""
    killed: list[int] = []

    def kill(_: set[str]) -> None:
        record = run.record("sleep")
        if not killed and record and record.steps:
            killed.extend((record.steps, record.resumed_at))
            os.kill(int(executor._started["sleep"].job_id), signal.SIGKILL)

    with LocalExecutor(run, [{}]) as executor:
        jobs = [Job("sleep", standin.sleep_with_child)]
        [failure] = complete(run, jobs, executor, retries=0, on_change=kill)
    assert failure.reason.startswith("its process was killed")
    wait_until(lambda: not any(map(alive, killed)), 10)


def test_a_full_disk_is_told_though_nothing_can_be_written(run: RunFolder) -> None:
    """Neither the record nor the log has room for the error; the folder is named all the same."""
    jobs = [Job("full", partial(standin.fill_disk, room=0))]
    with LocalExecutor(run, [{}]) as executor:
        [failure] = complete(run, jobs, executor, retries=0)
    assert failure.reason == f"OSError: [Errno 27] File too large: '{run.folder}'"
    assert failure.log.read_bytes() == b""
    record = run.record("full")
    assert record is not None
    assert (record.state, record.error) == ("running", None)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="asks /proc about processes")
def test_a_killed_driver_takes_its_workers_with_it(tmp_path: Path) -> None:
    """And leaves a folder that the next driver may take at once."""
    folder = tmp_path / "run"
    code = f"from pathlib import Path; from tests.nnunet import standin; standin.drive(Path({str(folder)!r}))"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT) as driver:
        run = RunFolder(folder, MINI)

        def child() -> int:
            record = run.record("sleep")
            return record.steps if record else 0

        wait_until(child)
        assert alive(child())
        with (
            pytest.raises(ValueError, match=r"out: got .*run, in which another process runs jobs"),
            run.opened(),
        ):
            pass
        driver.kill()
    wait_until(lambda: not alive(child()), 10)
    with run.opened():
        assert not run.finished("sleep")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="asks /proc about processes")
def test_a_run_is_held_until_the_last_process_of_a_job_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Driver and worker are killed before either can end what the worker has started."""
    folder = tmp_path / "run"
    run = RunFolder(folder, MINI)
    monkeypatch.setattr("surfloss.nnunet.run_folder._PATIENCE", 0)
    code = f"from pathlib import Path; from tests.nnunet import standin; standin.drive(Path({str(folder)!r}))"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as driver:
        wait_until(lambda: (record := run.record("sleep")) and record.steps)
        record = run.record("sleep")
        assert record is not None
        child, worker = record.steps, record.resumed_at
        driver.send_signal(signal.SIGSTOP)
        os.kill(worker, signal.SIGKILL)
        driver.kill()
    wait_until(lambda: not alive(worker))
    assert alive(child)
    held = r"out: got .*run, in which processes of sleep outlive a killed driver, wanted a folder of its own"
    with pytest.raises(ValueError, match=held), run.opened():
        pass
    os.kill(child, signal.SIGKILL)

    def is_free() -> bool:
        with suppress(ValueError), run.opened():
            return True
        return False

    wait_until(is_free)


def test_leaving_ends_what_runs(run: RunFolder) -> None:
    class Enough(Exception):
        pass

    def interrupt(_: set[str]) -> None:
        if (record := run.record("sleep")) and record.steps:
            raise Enough

    with pytest.raises(Enough), LocalExecutor(run, [{}]) as executor:
        complete(run, [Job("sleep", standin.sleep_with_child)], executor, on_change=interrupt)
    record = run.record("sleep")
    assert record is not None
    wait_until(lambda: not alive(record.steps), 10)


class TestWorkers:
    def test_threads_are_divided(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr("surfloss.nnunet.executors.processors", lambda: 12)
        assert cpu_workers() == [{"OMP_NUM_THREADS": "3"}] * 4
        assert cpu_workers(2) == [{"OMP_NUM_THREADS": "6"}] * 2
        assert cpu_workers(40)[0] == {"OMP_NUM_THREADS": "1"}

    def test_what_the_user_set_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert cpu_workers(1) == [{"OMP_NUM_THREADS": "2"}]

    @pytest.mark.parametrize("workers", [0, -1])
    def test_too_few(self, workers: int) -> None:
        with pytest.raises(ValueError, match="workers: got"):
            cpu_workers(workers)


class TestGPUs:
    @pytest.fixture(autouse=True)
    def four_gpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)

    def seen(self, *arguments: object) -> list[str]:
        return [worker["CUDA_VISIBLE_DEVICES"] for worker in gpu_workers(*arguments)]  # type: ignore[arg-type]

    def test_one_each(self) -> None:
        assert self.seen() == ["0", "1", "2", "3"]
        assert self.seen("1, 3") == ["1", "3"]

    def test_several_share_a_training(self) -> None:
        assert self.seen(None, 2) == ["0,1", "2,3"]
        assert self.seen("0,1,2", 2) == ["0,1"]

    def test_several_workers_share_a_gpu(self) -> None:
        assert self.seen("0,1", 1, 4) == ["0", "1", "0", "1"]

    def test_the_processes_of_augmentation_are_divided(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("nnUNet_n_proc_DA", raising=False)
        monkeypatch.setattr("surfloss.nnunet.executors.processors", lambda: 16)
        assert [worker["nnUNet_n_proc_DA"] for worker in gpu_workers()] == ["4"] * 4
        assert gpu_workers("0")[0]["nnUNet_n_proc_DA"] == "12"

    def test_what_is_visible_is_divided(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa,GPU-bb")
        assert self.seen() == ["GPU-aa", "GPU-bb"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("0,0",), "gpus: got '0,0', wanted each GPU once"),
            (("0,1", 3), "gpus_per_training: got 3, wanted at most the 2 GPUs 0, 1"),
        ],
    )
    def test_refused(self, arguments: tuple[object, ...], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            gpu_workers(*arguments)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="device: got cuda, wanted a GPU that PyTorch can use"):
        gpu_workers()
