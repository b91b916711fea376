"""The graph of jobs, and the doing in its order, with jobs that stand in and are done in this process."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from surfloss.nnunet.experiments import PAPER, SMALL, TINY, Experiment
from surfloss.nnunet.jobs import STAGES, Executor, Job, complete, list_jobs
from surfloss.nnunet.run_folder import RunFolder
from tests.nnunet import standin
from tests.nnunet.conftest import MINI, perform_here


class TestGraph:
    @pytest.mark.parametrize("preset", [TINY, SMALL, PAPER])
    def test_every_job_comes_after_those_it_needs(self, tmp_path: Path, preset: Experiment) -> None:
        names: list[str] = []
        for job in list_jobs(RunFolder(tmp_path, preset)):
            assert set(job.needs) <= set(names)
            names.append(job.name)
        assert len(set(names)) == len(names)
        trainings = [name for name in names if name.startswith("train/")]
        assert len(trainings) == len(preset.models) * preset.folds

    def test_what_the_mini_run_needs(self, tmp_path: Path) -> None:
        needs = {job.name: job.needs for job in list_jobs(RunFolder(tmp_path, MINI))}
        assert needs["train/hausdorff_3d/fold_1"] == ("plan",)
        assert needs["predict/hausdorff_3d"] == ("train/hausdorff_3d/fold_0", "train/hausdorff_3d/fold_1")
        held_out = "predict/cross_validation/dice_ce_2d/fold_"
        assert needs[f"{held_out}1"] == ("train/dice_ce_2d/fold_1",)
        assert needs["ensemble/ensemble"] == ("predict/dice_ce_2d", "predict/hausdorff_3d")
        assert needs["evaluate/ensemble"] == ("ensemble/ensemble",)
        assert needs["evaluate/cross_validation/dice_ce_2d"] == (f"{held_out}0", f"{held_out}1")
        assert set(needs["report"]) == {name for name in needs if name.startswith("evaluate/")}
        assert set(TopologicalSorter(needs).static_order()) == set(needs)

    def test_until_a_stage(self, tmp_path: Path) -> None:
        run = RunFolder(tmp_path, MINI)
        assert [job.name for job in list_jobs(run, "plan")] == ["prepare", "plan"]
        assert {job.stage for job in list_jobs(run, "ensemble")} == set(STAGES[:5])

    def test_networks_alone_need_the_device(self, tmp_path: Path) -> None:
        stages = {job.stage for job in list_jobs(RunFolder(tmp_path, MINI)) if job.on_device}
        assert stages == {"train", "predict"}


class Here(Executor):
    """Does one job at a time, in this process."""

    def ended(self) -> list[tuple[str, str]]:
        job = self._waiting.popleft()
        self._run.forget(job.name)
        with suppress(Exception):
            perform_here(self._run, job)
        return [(job.name, "ended")]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    run = RunFolder(tmp_path / "run", MINI)
    with run.opened():
        yield run


def done(run: RunFolder) -> list[str]:
    return (run.folder / "done.txt").read_text().split()


def test_the_order_is_that_of_the_needs(run: RunFolder) -> None:
    jobs = [Job("c", standin.work, ("a", "b")), Job("b", standin.work, ("a",)), Job("a", standin.work)]
    assert complete(run, jobs, Here(run), pause=0) == []
    assert done(run) == ["a", "b", "c"]


def test_a_finished_job_is_done_again_only_if_it_always_is(run: RunFolder) -> None:
    jobs = [Job("a", standin.work), Job("b", standin.work, ("a",), always=True)]
    complete(run, jobs, Here(run), pause=0)
    complete(run, jobs, Here(run), pause=0)
    assert done(run) == ["a", "b", "b"]


def test_a_failure_stops_only_what_needs_it(run: RunFolder) -> None:
    jobs = [
        Job("bad", partial(standin.fail, error=OSError("no more room"))),
        Job("needs_it", standin.work, ("bad",)),
        Job("needs_that", standin.work, ("needs_it",)),
        Job("free", standin.work),
        Job("after_free", standin.work, ("free",)),
    ]
    [failure] = complete(run, jobs, Here(run), pause=0)
    assert done(run) == ["free", "after_free"]
    assert (failure.job, failure.attempts, failure.reason) == ("bad", 2, "OSError: no more room")
    log = failure.log.read_text()
    assert log.count("about to fail") == 2
    assert "Traceback" in log


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (3, 3)])
def test_retries(run: RunFolder, retries: int, attempts: int) -> None:
    """A job that succeeds at its third attempt."""
    jobs = [Job("shaky", partial(standin.fail, error=OSError("shaky"), times=2))]
    failures = complete(run, jobs, Here(run), retries, pause=0)
    assert [failure.attempts for failure in failures] == ([attempts] if attempts < 3 else [])
    assert int((run.folder / "shaky.tries").read_text()) == attempts


def test_refused_input_is_not_tried_again(run: RunFolder) -> None:
    jobs = [Job("picky", partial(standin.fail, error=ValueError("data: got nonsense, wanted sense")))]
    [failure] = complete(run, jobs, Here(run), retries=5, pause=0)
    assert failure.attempts == 1
    assert failure.reason == "ValueError: data: got nonsense, wanted sense"


def test_a_failed_job_is_tried_by_the_next_run(run: RunFolder) -> None:
    jobs = [Job("shaky", partial(standin.fail, error=OSError("shaky"), times=1))]
    assert len(complete(run, jobs, Here(run), retries=0, pause=0)) == 1
    assert complete(run, jobs, Here(run), retries=0, pause=0) == []
    record = run.record("shaky")
    assert record is not None
    assert record.state == "finished"


def test_changes_are_told(run: RunFolder) -> None:
    told: list[set[str]] = []
    jobs = [Job("a", standin.work), Job("b", standin.work, ("a",))]
    complete(run, jobs, Here(run), on_change=lambda submitted: told.append(set(submitted)), pause=0)
    assert told == [{"a"}, {"b"}, set()]
