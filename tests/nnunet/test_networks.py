"""What runs networks: interrupted trainings, the processes that share one, and what is refused before."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surfloss._files import write_text
from surfloss.nnunet import networks
from surfloss.nnunet.experiments import DICE_CE_2D, HAUSDORFF_3D, Model
from surfloss.nnunet.run_folder import Progress, RunFolder, read_json
from tests.nnunet.conftest import MINI, write_plans


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setattr(networks, "check_device", lambda device: None)
    run = RunFolder(tmp_path / "run", MINI, device="cuda", gpus_per_training=2)
    write_plans(run)
    return run


def test_a_process_for_each_gpu(run: RunFolder, progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
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
    run: RunFolder, progress: Progress, monkeypatch: pytest.MonkeyPatch
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


def test_more_gpus_than_samples_are_refused(run: RunFolder, progress: Progress) -> None:
    plans = json.loads(run.plans.read_text())
    plans["configurations"]["2d"]["batch_size"] = 1
    write_text(run.plans, json.dumps(plans))
    with pytest.raises(ValueError, match="gpus_per_training: got 2, wanted at most the 1 samples of a batch"):
        networks.train(run, progress, DICE_CE_2D, 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told_before_a_training() -> None:
    with pytest.raises(ValueError, match="device: got cuda, wanted a GPU that PyTorch can use"):
        networks.check_device("cuda")


def test_no_measurement_of_time_decides_about_a_batch(preprocessed: RunFolder) -> None:
    trainer = networks.make_trainer(preprocessed, DICE_CE_2D, 0)
    trainer.initialize()
    augmentation = repr(trainer.get_dataloaders()[0].data_loader.transforms)
    assert "GaussianBlurTransform" in augmentation
    assert "benchmark = True" not in augmentation


class Stopped(Exception):
    """Stands for the death of a training."""


@pytest.mark.parametrize("model", [DICE_CE_2D, HAUSDORFF_3D], ids=lambda model: model.name)
def test_an_interrupted_training_is_the_same_training(
    preprocessed: RunFolder, progress: Progress, monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    """Bit by bit: weights, momentum, and the log but for its times."""
    networks.train(preprocessed, progress, model, 0)
    [final] = preprocessed.results.rglob("checkpoint_final.pth")
    whole = networks.read_checkpoint(final)
    whole_log = read_json(preprocessed.training_log(model, 0))
    final.unlink()

    def stop(_: Progress) -> None:
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "advance", stop)
        with pytest.raises(Stopped):
            networks.train(preprocessed, progress, model, 0)
    assert not final.exists()
    np.random.seed(0)  # whatever the process has drawn until it goes on
    torch.rand(7)
    networks.train(preprocessed, progress, model, 0)
    resumed = networks.read_checkpoint(final)
    for part in ("network_weights", "optimizer_state"):
        torch.testing.assert_close(resumed[part], whole[part], rtol=0, atol=0)
    assert (resumed["surface_loss"], resumed["seed"]) == (whole["surface_loss"], whole["seed"])
    log = read_json(preprocessed.training_log(model, 0))
    timeless = [name for name in log if "timestamps" not in name]
    np.testing.assert_equal({name: log[name] for name in timeless}, {n: whole_log[n] for n in timeless})
