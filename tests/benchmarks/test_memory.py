"""Peak memory of what is known, and None where it cannot be measured."""

from pathlib import Path

import pytest
import torch

import surfloss.bench.memory
from benchmarks import memory
from benchmarks.published import peak_extra_bytes
from surfloss.bench import contestants
from surfloss.bench.contestants import Contestant
from surfloss.bench.memory import measurable
from surfloss.bench.result import Outcome, Row
from surfloss.bench.timing import Times
from surfloss.bench.workloads import VOXELS, Workload

SCIPY = next(peer for peer in contestants.PEERS if peer.name == "scipy")


@pytest.mark.skipif(not measurable(), reason="this kernel does not reset a process's peak")
def test_peak_memory_of_what_is_known() -> None:
    workload = Workload("edt", (64, 128, 128), "random")
    volume = 4 * workload.voxels.size
    # SciPy keeps 2 transforms in float64 and int32 indices; two of its results alone are 4 volumes.
    assert 4 * volume < memory.peak_extra_bytes(SCIPY, workload, 1) < 16 * volume
    broken = Contestant("broken", "json", {}, "")
    assert memory.peak_extra_bytes(broken, workload, 1) is None


def test_memory_is_unknown_where_the_kernel_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(surfloss.bench.memory, "_RESET", tmp_path / "none")
    assert memory.peak_extra_bytes(SCIPY, Workload("edt", (2, 4, 4), "random"), 1) is None
    assert memory.gpu_peak(lambda: torch.ones(9), "cpu") is None
    (cupyx,) = (peer for peer in contestants.PEERS if peer.name == "cupyx")
    assert memory.peak_extra_bytes(cupyx, Workload("edt", (2, 4, 4), "random"), 1) is None


def test_single_blobs_are_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "peak_extra_bytes", lambda contestant, workload, threads: 7)

    def weighed(mask: str, items: int, outcome: Outcome) -> int | None:
        row = Row("edt", [2, 4, 4], [*VOXELS], mask, 32, {"scipy": outcome})
        memory.weigh(row, Workload("edt", (2, 4, 4), mask, items=items), [SCIPY], 1)
        return peak_extra_bytes(row, "scipy")

    timed = Outcome(times=Times(1.0, 1.0, 1.0, 1))
    assert weighed("blobs", 1, timed) == 7
    assert weighed("noise", 1, timed) is None
    assert weighed("blobs", 2, timed) is None
    assert weighed("blobs", 1, Outcome(failed="it did")) is None
