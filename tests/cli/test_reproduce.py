"""`surfloss reproduce`: what it refuses, and that it starts and shows what it was asked for."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from surfloss._files import write_text
from surfloss.cli import app
from surfloss.cli._jobs import Display
from surfloss.cli._terminal import progress_bars
from surfloss.nnunet.jobs import Job
from surfloss.nnunet.run_folder import Record, RunFolder
from tests.nnunet import standin
from tests.nnunet.conftest import MINI


def reproduce(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["reproduce", *arguments])
    return result.exit_code, result.stderr


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["reproduce", *arguments])
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "huge"], "preset: got 'huge', wanted one of tiny, small, paper"),
        (["--until", "lunch"], "until: got 'lunch', wanted one of prepare, plan, train"),
        (["--device", "abacus"], "device: got 'abacus', wanted cpu or cuda"),
        (["--preset", "paper"], "data: got no folder, wanted the data set's folder"),
        (["--data", "nowhere"], "nowhere, which is no folder, wanted INSTANCE2022's folder"),
        (["--workers", "0"], "workers: got 0, wanted a whole number of at least 1"),
        (["--executor", "cloud"], "executor: got 'cloud', wanted local or slurm"),
        (["--gpus", "0"], "gpus: got '0', wanted none without --device cuda"),
        (["--gpus-per-training", "2"], "gpus_per_training: got 2, wanted 1 on a CPU"),
        (["--slurm-partition", "x"], "slurm_partition: got a value, wanted none without --executor slurm"),
        (["--executor", "slurm", "--workers", "2"], "wanted none with Slurm"),
        (["--slurm-option", "account"], "slurm_option: got 'account', wanted KEY=VALUE"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    code, error = reproduce("--out", str(tmp_path / "run"), *arguments)
    assert code == 2
    assert message in " ".join(error.split())
    assert "Traceback" not in error


def test_a_folder_of_another_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surfloss.nnunet.experiments.EXPERIMENTS", {"tiny": MINI})
    assert reproduce("--out", str(tmp_path), "--until", "prepare")[0] == 0
    monkeypatch.undo()
    code, error = reproduce("--out", str(tmp_path), "--until", "prepare")
    assert code == 2
    assert "a run with other settings" in " ".join(error.split())


def test_it_stops_after_the_asked_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surfloss.nnunet.experiments.EXPERIMENTS", {"tiny": MINI})
    assert reproduce("--out", str(tmp_path), "--until", "prepare")[0] == 0
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["prepare.json"]


def test_a_failure_is_told_with_its_log_and_what_it_stops(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged file, found when every case is read; and nothing is tried twice for it."""
    monkeypatch.setattr("surfloss.nnunet.experiments.EXPERIMENTS", {"tiny": MINI})
    (dataset / "data" / "002.nii.gz").write_bytes(b"not a volume")
    arguments = ["--out", str(tmp_path / "run"), "--data", str(dataset), "--until", "plan"]
    code, error = reproduce(*arguments)
    assert code == 1
    said = " ".join(error.split())
    assert f"2 training and 2 validation cases in {dataset}" in said
    assert "Failed once: prepare: ValueError: data: got bad cases: 002: " in said
    assert f"Log: {tmp_path / 'run' / 'logs' / 'prepare.log'}" in said
    assert "Not done for want of them: plan" in said
    result = CliRunner().invoke(app, ["reproduce", *arguments, "--json"])
    assert result.exit_code == 1
    shown = json.loads(result.stdout)
    assert [failure["job"] for failure in shown["failed"]] == ["prepare"]
    assert shown["not_done"] == ["plan"]


def test_what_there_is_is_reported_beside_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    jobs = [
        Job("evaluate/a", standin.work),
        Job("evaluate/b", partial(standin.fail, error=ValueError("no"))),
        Job("report", standin.work, ("evaluate/a", "evaluate/b"), always=True),
    ]
    monkeypatch.setattr("surfloss.nnunet.jobs.list_jobs", lambda run, until: jobs)
    code, error = reproduce("--out", str(tmp_path / "run"), "--workers", "2")
    assert code == 1
    assert "Failed once: evaluate/b: ValueError: no" in error
    assert (tmp_path / "run" / "done.txt").read_text().split() == ["evaluate/a", "report"]


def test_the_display_follows_the_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunFolder(tmp_path / "run", MINI)
    jobs = [Job("a", standin.work), Job("b", standin.work)]
    with run.opened(), progress_bars() as bars:
        show = Display(run, jobs, bars)
        show({"a", "b"})
        with run.recorded("a") as progress:
            progress.begin(4)
            progress.advance()
            show({"a", "b"})
        show({"b"})
        with pytest.raises(OSError, match="bad"), run.recorded("b"):
            raise OSError("bad")
        show({"b"})
        run.forget("b")
        show({"b"})
        with run.recorded("b"):
            show({"b"})
        show(set())
    lines = capsys.readouterr().err.splitlines()
    told = [line.split(" after")[0] for line in lines if ":" in line and "all jobs" not in line]
    assert told == ["a: finished", "b: failed, and is tried again", "b: finished"]
    assert any("all jobs" in line and "2/2" in line for line in lines)


def test_what_a_killed_run_left_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunFolder(tmp_path / "run", MINI)
    with run.opened():
        with pytest.raises(KeyboardInterrupt), run.recorded("a"):
            raise KeyboardInterrupt
        assert run.record("a") is not None  # as of a process that was killed
        with progress_bars() as bars:
            show = Display(run, [Job("a", standin.work)], bars)
            show({"a"})  # waits for a worker
            run.forget("a")  # the executor starts it
            show({"a"})
            with run.recorded("a"):
                show({"a"})
            show(set())
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("a: ")]
    assert [line.split(" after")[0] for line in told] == ["a: finished"]


class TestDryRun:
    @pytest.mark.parametrize("preset", ["tiny", "small", "paper"])
    @pytest.mark.parametrize("device", ["cpu", "cuda"])
    def test_every_preset_on_every_device(self, tmp_path: Path, preset: str, device: str) -> None:
        arguments = ["--preset", preset, "--out", str(tmp_path / "run"), "--device", device, "--dry-run"]
        shown = json.loads(printed(*arguments, "--json"))
        assert not (tmp_path / "run").exists()
        jobs = {job["name"]: job for job in shown["jobs"]}
        assert {job["state"] for job in jobs.values()} == {"to do"}
        assert jobs["train/contour_3d/fold_0"]["needs"] == ["plan"]
        assert jobs["train/contour_3d/fold_0"]["seconds_left"] is None

    def test_a_data_set_is_looked_at(self, dataset: Path, tmp_path: Path) -> None:
        (dataset / "label" / "003.nii.gz").unlink()
        arguments = ["--preset", "paper", "--out", str(tmp_path / "run"), "--data", str(dataset), "--dry-run"]
        code, error = reproduce(*arguments)
        assert code == 2
        assert "data: got bad cases: 003: no label" in error

    def test_as_a_table(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("surfloss.nnunet.experiments.EXPERIMENTS", {"tiny": MINI})
        monkeypatch.setenv("COLUMNS", "160")
        run = RunFolder(tmp_path / "run", MINI)
        with run.opened(), run.recorded("prepare"):
            pass
        with pytest.raises(OSError, match="full"), run.recorded("plan"):
            raise OSError("full")
        training = Record("train/dice_ce_2d/fold_0", "running", steps=10, resumed_at=2, done=4, seconds=120.0)
        write_text(run.folder / "state" / f"{training.job}.json", json.dumps(asdict(training)))
        said = printed("--out", str(tmp_path / "run"), "--dry-run")
        rows = {
            cells[0]: cells[1:] for line in said.splitlines() if len(cells := line.strip("│ ").split("│")) > 1
        }
        states = {name.strip(): cells[1].strip() for name, cells in rows.items()}
        assert states["prepare"] == "finished after 0 s"
        assert states["plan"] == "failed"
        assert states["train/dice_ce_2d/fold_0"] == "begun, 4 of 10, 6 min left"
        assert states["ensemble/ensemble"] == "to do"
        assert "19 jobs, 18 to do on cpu." in said
        shown = json.loads(printed("--out", str(tmp_path / "run"), "--dry-run", "--json"))
        assert {job["name"]: job["seconds_left"] for job in shown["jobs"]}[training.job] == 360


def test_without_nnunet_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, error = reproduce("--out", str(tmp_path))
    assert code == 2
    assert "pip install 'surfloss[nnunet]'" in error
