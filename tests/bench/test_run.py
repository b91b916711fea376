"""One comparison: who disagrees, fails or is absent is said and not timed; its record can be read again."""

import json
from dataclasses import replace

import pytest
import torch

from surfloss.bench import contestants, run
from surfloss.bench.adapters import monai_loss, scipy_edt
from surfloss.bench.contestants import Contestant
from surfloss.bench.machine import Gpu, Machine
from surfloss.bench.result import Result
from surfloss.bench.workloads import HEAD_CT, Workload


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
    plan = [Workload("edt", (4, 9, 8), mask, HEAD_CT) for mask in ("blobs", "random")]
    result = run.compare(plan, taking_part, threads=1, seconds=0.01, notice=told.append)
    assert [row.mask for row in result.rows] == ["blobs", "random"]
    for row in result.rows:
        assert set(row.results) == {"surfloss/reference", "wrong", "failing"}
        assert row.results["wrong"].to_dict() == {"disagrees": pytest.approx(1e-3, rel=1e-2)}
        assert row.results["failing"].to_dict() == {"failed": "MemoryError: too large"}
        own = row.results["surfloss/reference"]
        assert own.difference == 0
        assert own.ratio == 1
        assert 0 < own.times.p20_s <= own.times.median_s <= own.times.p80_s
    assert result.absent == {"missing": "not installed"}
    assert "edt 4x9x8 blobs" in told
    assert (
        Result.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False))).to_dict()
        == result.to_dict()
    )


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


@pytest.mark.parametrize(
    ("cpu", "cores", "name"),
    [
        ("AMD EPYC", 2, "cpu-amd-epyc-2-cores"),
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", 28, "cpu-intel-xeon-e5-2680-v4-28-cores"),
        ("AMD Ryzen 9 7950X 16-Core Processor", 16, "cpu-amd-ryzen-9-7950x-16-core-16-cores"),
        ("Apple M2 Pro", 10, "cpu-apple-m2-pro-10-cores"),
    ],
)
def test_names_of_machines(cpu: str, cores: int, name: str) -> None:
    machine = Machine(cpu, cores, "x86_64", [])
    assert machine.slug == name
    assert replace(machine, gpu=Gpu("NVIDIA H100 80GB HBM3")).slug == "gpu-nvidia-h100-80gb-hbm3"
