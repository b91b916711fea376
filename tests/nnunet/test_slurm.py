"""Jobs through a real Slurm of one node: done, cancelled, killed, found again, out of time."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from surfloss.cli import app
from surfloss.nnunet.executors import SlurmExecutor, list_queue
from surfloss.nnunet.jobs import Job, complete
from surfloss.nnunet.run_folder import RunFolder
from tests.nnunet import cluster, standin
from tests.nnunet.conftest import MINI

ROOT = Path(__file__).parents[2]
QUICK = {"poll": 0.5, "settle": 2}
OPTIONS = {"partition": "main", "time": "10", "cpus_per_task": 1}

needs_slurm = pytest.mark.skipif(bool(cluster.missing()), reason=str(cluster.missing()))


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("slurm")
    with pytest.MonkeyPatch.context() as patched, ExitStack() as stack:
        try:
            environment = stack.enter_context(cluster.one_node(folder))
        except RuntimeError as error:
            pytest.skip(f"Slurm does not start here: {error}")
        # Slurm hands the environment on to its jobs: there they find those that stand in.
        for name, value in (environment | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}).items():
            patched.setenv(name, value)
        yield


@pytest.fixture
def run(slurm: None, tmp_path: Path) -> Iterator[RunFolder]:
    run = RunFolder(tmp_path / "run", MINI)
    with run.opened():
        yield run


def running() -> list[str]:
    listed = list_queue()
    assert listed is not None
    return [number for number, (_, state) in listed.items() if state == "RUNNING"]


@needs_slurm
def test_a_cancelled_job_is_submitted_again_and_goes_on(run: RunFolder) -> None:
    """With one that needs it, one that fails for good, and one that needs that."""
    cancelled = False

    def cancel(_: set[str]) -> None:
        nonlocal cancelled
        record = run.record("train/a")
        if not cancelled and record and record.done >= 2:
            cancelled = True
            subprocess.run(["scancel", *running()], check=True)

    jobs = [
        Job("train/a", partial(standin.count, steps=40, pause=0.3)),
        Job("b", standin.work, ("train/a",)),
        Job("picky", partial(standin.fail, error=ValueError("no"))),
        Job("c", standin.work, ("picky",)),
    ]
    failures = complete(run, jobs[:2], SlurmExecutor(run, OPTIONS, **QUICK), on_change=cancel)
    assert failures == []
    record = run.record("train/a")
    assert record is not None
    assert record.resumed_at >= 2
    assert record.done == 40
    assert run.finished("b")
    [failure] = complete(run, jobs[2:], SlurmExecutor(run, OPTIONS, **QUICK))
    assert (failure.job, failure.reason) == ("picky", "ValueError: no")
    assert run.record("c") is None


@needs_slurm
def test_a_killed_process_is_replaced(run: RunFolder) -> None:
    jobs = [Job("train/a", partial(standin.count_and_die, steps=4, at=2))]
    assert complete(run, jobs, SlurmExecutor(run, OPTIONS, **QUICK)) == []
    record = run.record("train/a")
    assert record is not None
    assert (record.resumed_at, record.done) == (2, 4)


@needs_slurm
def test_a_new_driver_finds_what_the_last_one_submitted(run: RunFolder) -> None:
    """One that was killed between submitting a job and its end."""
    job = Job("train/a", partial(standin.count, steps=20, pause=0.3))
    old = SlurmExecutor(run, OPTIONS)
    old.submit(job)
    assert old.ended() == []
    new = SlurmExecutor(run, OPTIONS, **QUICK)
    assert complete(run, [job], new) == []
    listed = list_queue()
    assert listed is not None
    assert [name for name, _ in listed.values()].count(f"{new._prefix}/train/a") == 1
    record = run.record("train/a")
    assert record is not None
    assert record.resumed_at == 0


@needs_slurm
def test_a_job_whose_time_is_up_goes_back_into_the_queue(run: RunFolder) -> None:
    """Slurm sends the signal itself; here it is sent early."""
    sent = False

    def signal_once(_: set[str]) -> None:
        nonlocal sent
        record = run.record("train/a")
        if not sent and record and record.done >= 2:
            sent = True
            for number in running():
                subprocess.run(["scancel", "--signal=USR2", number], check=True)

    executor = SlurmExecutor(run, OPTIONS, **QUICK)
    job = Job("train/a", partial(standin.count, steps=40, pause=0.3))
    assert complete(run, [job], executor, retries=0, on_change=signal_once) == []
    assert sent
    record = run.record("train/a")
    assert record is not None
    assert record.resumed_at >= 2


@needs_slurm
def test_the_command_submits_to_it(slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surfloss.nnunet.experiments.EXPERIMENTS", {"tiny": MINI})
    options = ["--executor", "slurm", "--slurm-partition", "main", "--slurm-option", "cpus_per_task=1"]
    command = ["reproduce", "--out", str(tmp_path / "run"), "--until", "prepare", *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.stderr
    assert RunFolder(tmp_path / "run", MINI).finished("prepare")
    assert "/prepare" in next((tmp_path / "run" / "slurm").glob("*submission.sh")).read_text()


class TestWithoutACluster:
    """With commands that only pretend."""

    @pytest.fixture
    def commands(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        for name in ("sbatch", "srun", "squeue"):
            self.command(tmp_path / "bin", name, "exit 1")
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        return tmp_path / "bin"

    def command(self, folder: Path, name: str, script: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    def test_a_training_asks_for_its_gpus_and_the_rest_for_none(self, commands: Path, tmp_path: Path) -> None:
        self.command(
            commands, "sbatch", 'cat "$1" >> "$(dirname "$0")/submitted"; echo "Submitted batch job 7"'
        )
        self.command(commands, "squeue", "exit 0")
        run = RunFolder(tmp_path / "run", MINI, device="cuda", gpus_per_training=2)
        executor = SlurmExecutor(run, {"partition": "gpu", "time": "1-12", "account": "lab"}, poll=0)
        executor.submit(Job("train/a", standin.work, on_device=True))
        assert executor.ended() == []
        script = (commands / "submitted").read_text()
        for line in (
            "--gpus-per-node=2",
            "--partition=gpu",
            "--account=lab",
            "--time=1-12",
            "--cpus-per-task=4",
        ):
            assert f"#SBATCH {line}\n" in script
        assert "/train/a\n" in script
        (commands / "submitted").unlink()
        executor.submit(Job("evaluate/a", standin.work))
        executor.ended()
        assert "gpus-per-node" not in (commands / "submitted").read_text()

    @pytest.mark.parametrize(("options", "limit"), [(None, "24:00:00"), ({"time": 90}, "90")])
    def test_a_job_may_take_a_day_unless_told_otherwise(
        self, commands: Path, tmp_path: Path, options: dict[str, int] | None, limit: str
    ) -> None:
        self.command(
            commands, "sbatch", 'cat "$1" >> "$(dirname "$0")/submitted"; echo "Submitted batch job 7"'
        )
        self.command(commands, "squeue", "exit 0")
        executor = SlurmExecutor(RunFolder(tmp_path / "run", MINI), options, poll=0)
        executor.submit(Job("a", standin.work))
        assert executor.ended() == []
        limits = [line for line in (commands / "submitted").read_text().splitlines() if "--time" in line]
        assert limits == [f"#SBATCH --time={limit}"]

    def test_a_silent_controller_is_no_news(self, commands: Path, tmp_path: Path) -> None:
        """A job is not taken for dead because Slurm does not answer."""
        self.command(commands, "sbatch", 'echo "Submitted batch job 7"')
        self.command(commands, "squeue", "exit 0")
        executor = SlurmExecutor(RunFolder(tmp_path / "run", MINI), poll=0, settle=0)
        executor.submit(Job("a", standin.work))
        assert executor.ended() == []
        self.command(commands, "squeue", "echo 'slurm_load_jobs error: Socket timed out' >&2; exit 1")
        assert executor.ended() == []
        self.command(commands, "squeue", "exit 0")
        assert executor.ended() == [("a", "Slurm's job 7: gone from the queue")]

    def test_nothing_is_submitted_while_slurm_is_silent(self, commands: Path, tmp_path: Path) -> None:
        """It may have the job from a driver before this one."""
        self.command(commands, "sbatch", 'touch "$(dirname "$0")/submitted"; echo "Submitted batch job 7"')
        executor = SlurmExecutor(RunFolder(tmp_path / "run", MINI), poll=0)
        executor.submit(Job("a", standin.work))
        assert executor.ended() == []
        assert not (commands / "submitted").exists()
        self.command(commands, "squeue", f"echo '5|PENDING|{executor._prefix}/a'")
        assert executor.ended() == []
        assert not (commands / "submitted").exists()
        assert executor._started["a"].job_id == "5"

    def test_slurm_is_not_asked_all_the_time(self, commands: Path, tmp_path: Path) -> None:
        self.command(commands, "squeue", 'echo asked >> "$(dirname "$0")/asked"')
        executor = SlurmExecutor(RunFolder(tmp_path / "run", MINI), poll=1000)
        for _ in range(5):
            executor.ended()
        assert (commands / "asked").read_text() == "asked\n"

    def test_a_refused_submission_is_a_failure(self, commands: Path, tmp_path: Path) -> None:
        self.command(commands, "sbatch", "echo 'invalid partition specified: gup' >&2; exit 1")
        self.command(commands, "squeue", "exit 0")
        run = RunFolder(tmp_path / "run", MINI)
        jobs = [Job("a", standin.work)]
        [failure] = complete(run, jobs, SlurmExecutor(run, {"partition": "gup"}, poll=0), pause=0)
        assert failure.attempts == 2
        assert "could not be submitted" in failure.reason
        assert "invalid partition specified: gup" in failure.reason

    def test_unknown_options_are_refused(self, commands: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="Unavailable parameter"):
            SlurmExecutor(RunFolder(tmp_path / "run", MINI), {"partitoin": "gpu"})

    def test_a_machine_without_slurm(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ValueError, match="executor: got slurm without sbatch, srun, squeue"):
            SlurmExecutor(RunFolder(tmp_path / "run", MINI))
