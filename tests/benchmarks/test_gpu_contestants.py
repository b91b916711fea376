"""The contestants that only `make gpu` has, tried on the CPU."""

import pytest

from benchmarks import gpu_contestants
from surfloss.bench import contestants, run
from surfloss.bench.contestants import Contestant
from surfloss.bench.workloads import Workload
from tests.support.cupy import install


@pytest.mark.parametrize("name", ["cupyx", "cucim", "monai"])
def test_loss_is_the_references(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "monai":
        pytest.importorskip("monai.losses")
    install(monkeypatch)
    (contestant,) = [peer for peer in gpu_contestants.choose("cpu", None) if peer.name == name]
    workload = Workload("loss", (6, 12, 17), "blobs")
    wanted = contestants.ours("reference").prepare(workload, 1)()
    call = contestant.prepare(workload, 1)
    for _ in range(2):
        assert run.difference(Workload("loss", (4, 8, 8), "blobs"), call(), wanted) < 1e-5


def test_every_backend_of_a_gpu_takes_part_as_called_and_as_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Contestant, "absent", lambda self: None)
    monkeypatch.setattr(contestants, "fastest_backend", lambda device: "cuda")
    names = [c.name for c in gpu_contestants.choose("cuda", ["triton", "cuda"])]
    own = ["surfloss/cuda", "surfloss/cuda graph", "surfloss/triton", "surfloss/triton graph"]
    assert names == [*own, "cupyx", "cucim", "monai", "scipy"]
    assert [c.name for c in gpu_contestants.choose("cuda", None)][:3] == [*own[:2], "cupyx"]
