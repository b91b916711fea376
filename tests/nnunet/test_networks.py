"""What starts networks: the processes that share a training, and what is refused before one starts."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from surfloss._files import write_text
from surfloss.nnunet import networks
from surfloss.nnunet.presets import DICE_CE_2D
from surfloss.nnunet.run import Progress, Record, Run
from tests.nnunet.conftest import MINI, write_plans


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(networks, "check_device", lambda device: None)
    run = Run(tmp_path / "run", MINI, device="cuda", gpus_per_training=2)
    write_plans(run)
    return run


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    return Progress(tmp_path / "record.json", Record("train/x"))


def test_a_process_for_each_gpu(run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(torch.multiprocessing, "spawn", lambda *a, **k: started.append((a, k)))
    networks.train(run, progress, DICE_CE_2D, 1)
    [((function, arguments), options)] = started
    assert function is networks.train_rank
    assert options == {"nprocs": 2}
    *given, port = arguments
    assert given == [run, progress, DICE_CE_2D, 1]
    assert 1024 <= port < 65536


def test_a_rank_joins_the_others_and_takes_its_gpu(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NCCL itself needs GPUs; here its group is only asked for."""
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")
    called: list[Any] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda rank: called.append(("set_device", rank)))
    monkeypatch.setattr(
        torch.distributed,
        "init_process_group",
        lambda kind, **k: called.append((kind, k, os.environ["MASTER_PORT"])),
    )
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: called.append("left"))

    def train(*arguments: Any) -> None:
        called.append(arguments)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(networks, "_train", train)
    with pytest.raises(RuntimeError, match="out of memory"):
        networks.train_rank(1, run, progress, DICE_CE_2D, 0, 4321)
    assert called == [
        ("set_device", 1),
        ("nccl", {"rank": 1, "world_size": 2}, "4321"),
        (run, progress, DICE_CE_2D, 0, 1),
        "left",
    ]


def test_more_gpus_than_samples_are_refused(run: Run, progress: Progress) -> None:
    plans = json.loads(run.plans.read_text())
    plans["configurations"]["2d"]["batch_size"] = 1
    write_text(run.plans, json.dumps(plans))
    with pytest.raises(ValueError, match="gpus_per_training: got 2, wanted at most the 1 samples of a batch"):
        networks.train(run, progress, DICE_CE_2D, 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told_before_a_training() -> None:
    with pytest.raises(ValueError, match="device: got cuda, wanted a GPU that PyTorch can use"):
        networks.check_device("cuda")
