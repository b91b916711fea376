"""One comparison: who disagrees, fails or is absent is said and not timed; memory and slopes are right."""

import json

import pytest
import torch

from surfloss.bench import cases, machine, memory, peers, plan, run
from surfloss.bench.cases import Case
from surfloss.bench.peers import Contestant


class Wrong(Contestant):
    """Nearly right: one voxel is off."""

    def prepare(self, task: str, case: Case, threads: int):
        right = peers.ours("reference").prepare(task, case, threads)()
        right[0, 0, 0] *= 1.001
        return lambda: right


class Failing(Contestant):
    def prepare(self, task: str, case: Case, threads: int):
        raise MemoryError("too large\nfor me")


def test_only_right_answers_are_timed() -> None:
    contestants = [
        peers.ours("reference"),
        Wrong("wrong", "", "json", ("edt",), ""),
        Failing("failing", "", "json", ("edt",), ""),
        Contestant("missing", "scipy", "no_such_library", ("edt",), ""),
        Contestant("elsewhere", "monai", "json", ("loss",), ""),
    ]
    told: list[str] = []
    cells = [plan.drawn("edt", (4, 9, 8), mask, cases.HEAD_CT) for mask in ("blobs", "random")]
    result = run.compare(cells, contestants, threads=1, seconds=0.01, notice=told.append)
    assert [row["mask"] for row in result["cells"]] == ["blobs", "random"]
    for row in result["cells"]:
        assert set(row["results"]) == {"surfloss/reference", "wrong", "failing"}
        assert row["results"]["wrong"] == {"disagrees": pytest.approx(1e-3, rel=1e-2)}
        assert row["results"]["failing"] == {"failed": "MemoryError: too large"}
        own = row["results"]["surfloss/reference"]
        assert own["difference"] == 0
        assert own["ratio"] == 1
        assert 0 < own["p20_s"] <= own["median_s"] <= own["p80_s"]
    assert result["absent"] == {"missing": "not installed"}
    assert "edt 4x9x8 blobs" in told
    json.dumps(result, allow_nan=False)


def test_the_record_says_where_and_with_what() -> None:
    before = torch.get_num_threads()
    try:
        result = run.compare([], peers.choose(), threads=1, seconds=1)
        assert torch.get_num_threads() == before, "the caller's number of threads is put back"
    finally:
        torch.set_num_threads(before)
    assert result["threads"] == 1
    assert result["baseline"] == f"surfloss/{peers.fastest_backend()}"
    assert {"python", "surfloss", "torch", "numpy", "scipy"} <= set(result["versions"])
    assert result["machine"]["cpu"]
    assert result["machine"]["cores"] >= 1
    assert result["commit"] is None or len(result["commit"].rstrip("+")) == 40
    json.dumps(result, allow_nan=False)


def test_commit_of_a_package_that_no_checkout_tracks(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "surfloss" / "bench" / "machine.py"))
    assert machine.commit() is None


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
    assert machine.slug({"cpu": cpu, "cores": cores}) == name
    gpu = {"gpu": {"name": "NVIDIA H100 80GB HBM3"}}
    assert machine.slug({"cpu": cpu, "cores": cores} | gpu) == "gpu-nvidia-h100-80gb-hbm3"


@pytest.mark.skipif(not memory.measurable(), reason="this kernel does not reset a process's peak")
def test_peak_memory_of_what_is_known() -> None:
    case = cases.make((64, 128, 128), "random")
    volume = 4 * case.voxels.size
    # SciPy keeps 2 transforms in float64 and int32 indices; two of its results alone are 4 volumes.
    scipy = next(peer for peer in peers.PEERS if peer.name == "scipy")
    assert 4 * volume < memory.peak_extra_bytes(scipy, "edt", case, 1) < 16 * volume
    broken = Contestant("broken", "no_adapter", "json", ("edt",), "")
    assert memory.peak_extra_bytes(broken, "edt", case, 1) is None


def test_memory_is_unknown_where_the_kernel_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(memory, "_RESET", tmp_path / "none")
    assert memory.peak_extra_bytes(peers.ours("reference"), "edt", cases.make((2, 4, 4), "random"), 1) is None


def test_slopes_of_known_powers() -> None:
    def row(side: int, mask: str, **seconds: float) -> dict:
        results = {name: {"median_s": value} for name, value in seconds.items()}
        return {"task": "edt", "mask": mask, "size": [side] * 3, "voxels": side**3, "results": results}

    rows = [row(n, "blobs", linear=1e-9 * n**3, square=1e-9 * n**6) for n in (128, 64, 256)]
    rows += [row(n, "noise", linear=1.0) for n in (64, 128)]  # two points are no line
    rows += [row(32, "blobs", linear=99.0)]  # overheads, not the transform
    rows += [row(64, "noise", linear=1.0) | {"size": [32, 64, 128]}]
    found = {(s["mask"], s["contestant"]): s for s in run.slopes(rows)}
    assert set(found) == {("blobs", "linear"), ("blobs", "square")}
    assert found["blobs", "linear"]["slope"] == pytest.approx(1)
    assert found["blobs", "square"]["slope"] == pytest.approx(2)
    assert found["blobs", "linear"]["sides"] == [64, 128, 256]
