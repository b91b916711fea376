"""One comparison: who disagrees, fails or is absent is said and not timed."""

import json

import pytest
import torch

from surfloss.bench import contestants, run
from surfloss.bench.adapters import monai_loss, scipy_edt
from surfloss.bench.contestants import Contestant
from surfloss.bench.result import Outcome
from surfloss.bench.workloads import Workload


class Wrong(Contestant):
    """Nearly right: one voxel is off."""

    def prepare(self, workload: Workload, threads: int):
        right = contestants.ours("reference").prepare(workload, threads)()
        right[0, 0, 0] *= 1.001
        return lambda: right


class Failing(Contestant):
    def prepare(self, workload: Workload, threads: int):
        raise MemoryError("too large\nfor me")


def test_only_right_answers_are_timed() -> None:
    taking_part = [
        contestants.ours("reference"),
        Wrong("wrong", "json", {"edt": scipy_edt}, ""),
        Failing("failing", "json", {"edt": scipy_edt}, ""),
        Contestant("missing", "no_such_library", {"edt": scipy_edt}, ""),
        Contestant("elsewhere", "json", {"loss": monai_loss}, ""),
    ]
    told: list[str] = []
    plan = [Workload("edt", (4, 9, 8), mask, (5.0, 0.42, 0.42)) for mask in ("blobs", "random")]
    result = run.compare(plan, taking_part, threads=1, seconds=0.01, notice=told.append)
    assert [row.mask for row in result.rows] == ["blobs", "random"]
    for row in result.rows:
        assert set(row.results) == {"surfloss/reference", "wrong", "failing"}
        assert row.results["wrong"] == Outcome(disagrees=pytest.approx(1e-3, rel=1e-2))
        assert row.results["failing"] == Outcome(failed="MemoryError: too large")
        own = row.results["surfloss/reference"]
        assert own.difference == 0
        assert own.ratio == 1
        assert 0 < own.times.p20_s <= own.times.median_s <= own.times.p80_s
    assert result.absent == {"missing": "not installed"}
    assert "edt 4x9x8 blobs" in told
    for cell in json.loads(json.dumps(result.to_dict(), allow_nan=False))["cells"]:
        assert set(cell["results"]["surfloss/reference"]) == {
            *("difference", "ratio", "median_s", "p20_s", "p80_s", "repeats")
        }
        assert cell["results"]["failing"] == {"failed": "MemoryError: too large"}


def test_the_record_says_where_and_with_what() -> None:
    before = torch.get_num_threads()
    try:
        result = run.compare([], contestants.choose(), threads=1, seconds=1)
        assert torch.get_num_threads() == before, "the caller's number of threads is put back"
    finally:
        torch.set_num_threads(before)
    assert result.threads == 1
    assert result.baseline == f"surfloss/{contestants.fastest_backend()}"
    assert {"python", "surfloss", "torch", "numpy", "scipy"} <= set(result.versions)
    assert result.machine.cpu
    assert result.machine.cores >= 1
    json.dumps(result.to_dict(), allow_nan=False)
