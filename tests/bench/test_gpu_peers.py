"""The contestants of a GPU, tried on the CPU: batches, the libraries on CuPy, and the command."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from surfloss.bench import contestants, run
from surfloss.bench.adapters import edt_edt
from surfloss.bench.contestants import Contestant
from surfloss.bench.machine import Machine
from surfloss.bench.workloads import Size, Workload
from surfloss.cli import app
from tests.support import oracles
from tests.support.cupy import install

SIZE, ITEMS = (5, 12, 14), 3
SPACING = (5.0, 0.42, 0.42)
GPU_PEERS = [peer for peer in contestants.PEERS if peer.device == "cuda"]


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def on_cpu(contestant: Contestant) -> Contestant:
    return replace(contestant, device="cpu")


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("size", [SIZE, (1, 12, 14)], ids=str)
@pytest.mark.parametrize(
    "contestant",
    [contestants.ours("reference"), *(on_cpu(p) for p in GPU_PEERS if "edt" in p.tasks)],
    ids=lambda c: c.name,
)
def test_distances_of_a_batch(contestant: Contestant, size: Size) -> None:
    batch = Workload("edt", size, "random", SPACING, ITEMS)
    masks, spacing = batch.batch()
    got = np.asarray(contestant.prepare(batch, 1)())
    wanted = np.stack([oracles.scipy_two_sided(mask, spacing) for mask in masks])
    assert got.shape == ((ITEMS, *size) if size[0] > 1 else (ITEMS, *size[1:]))
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    single = Workload("edt", SIZE, "random", SPACING)
    assert np.asarray(contestant.prepare(single, 1)()).shape == SIZE


def test_the_peers_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Contestant, "absent", lambda self: None)
    names = [c.name for c in contestants.choose(None, ["cpu"], "cuda")]
    assert names == ["surfloss/cpu", "cupyx", "cucim", "monai", "scipy"]
    with pytest.raises(ValueError, match="peers: got 'edt', wanted some of cupyx, cucim, monai, scipy"):
        contestants.choose(["edt"], ["cpu"], "cuda")


def test_a_backend_of_another_device_is_refused() -> None:
    with pytest.raises(
        ValueError, match="backends: got 'cpu', wanted backends that run here: it runs on cpu"
    ):
        contestants.choose([], ["cpu"], "cuda")


def test_a_comparison_in_batches_is_kept_row_by_row() -> None:
    plan = [Workload("edt", SIZE, "random", items=2), Workload("edt", SIZE, "blobs", without=("gone",))]
    taking_part = [contestants.ours("reference"), Contestant("gone", "json", {"edt": edt_edt}, "")]
    kept: list[int] = []
    result = run.compare(
        plan, taking_part, threads=1, seconds=0.01, keep=lambda result: kept.append(len(result.rows))
    )
    assert kept == [1, 2]
    batch, single = result.rows
    assert batch.items == 2
    assert batch.results["gone"].disagrees == "not finite", "the adapter without batches gives one item"
    assert set(single.results) == {"surfloss/reference"}
    json.dumps(result.to_dict(), allow_nan=False)


def test_large_volumes_need_a_fast_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = Workload("edt", SIZE, "random", items=2)
    assert run._reference(workload, "cuda").name == "surfloss/reference"
    monkeypatch.setattr(run, "_QUICK", 10)
    monkeypatch.setattr(Contestant, "absent", lambda self: None)
    assert run._reference(workload, "cuda").name == "surfloss/cpu"
    assert run._reference(workload, "cpu").name == "surfloss/reference"
    monkeypatch.setattr(Contestant, "absent", lambda self: "not built")
    assert run._reference(workload, "cuda").name == "surfloss/reference"


def test_the_command_needs_the_device_it_is_told() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for device, message in (
        ("cuda", "Error: device: got 'cuda', wanted a GPU: PyTorch"),
        ("tpu", "Error: device: got 'tpu', wanted cpu or cuda"),
    ):
        done = CliRunner().invoke(app, ["bench", "--device", device])
        assert done.exit_code == 2
        assert done.stderr.startswith(message)
        assert len(done.stderr.strip().splitlines()) == 1


def test_the_command_takes_a_gpus_contestants(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The device is the CPU here, and has the other's name where peers are chosen."""
    own = [contestants.ours("reference")]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(
        contestants, "choose", lambda names, backends, device: own if device == "cuda" else []
    )
    options = ["--device", "cuda", "--size", "8,16,16", "--mask", "blobs", "--seconds", "0.01"]
    options += ["--threads", "1", "--json", str(tmp_path / "out.json")]
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["bench", "contour", *options])
    assert done.exit_code == 0, done.stderr
    assert "Contour loss" in done.stdout
    (cell,) = json.loads((tmp_path / "out.json").read_text())["cells"]
    assert cell["results"]["surfloss/reference"]["difference"] == 0


def test_a_gpu_is_named_with_its_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"{device} 1")
    monkeypatch.setattr("torch.version.cuda", "13.0")
    gpu = Machine.here("cuda").gpu
    assert (gpu.name, gpu.cuda) == ("cuda 1", "13.0")
