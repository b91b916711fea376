"""The trainer of docs/loss-maps.md: maps from nnU-Net's loader, in this process and from workers."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from surfloss.nnunet.run_folder import RunFolder, read_json
from surfloss.transforms import TargetDistance

PAGE = Path(__file__).parents[2] / "docs" / "loss-maps.md"
CLASSES = 2


@pytest.fixture
def trainer(preprocessed: RunFolder) -> Any:
    (block,) = re.findall(r"```python\n([^`]*class nnUNetTrainer.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    plans = read_json(preprocessed.plans) | {"continue_training": False}
    dataset = read_json(preprocessed.raw / "dataset.json")
    made = names["nnUNetTrainerHausdorffMaps"](plans, "3d_fullres", 0, dataset, torch.device("cpu"))
    made.num_epochs, made.num_iterations_per_epoch = 2, 2
    made.initialize()
    return made


@pytest.mark.parametrize("processes", ["0", "2"])
def test_maps_reach_the_loss(trainer: Any, processes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_n_proc_DA", processes)
    training, validation = trainer.get_dataloaders()
    try:
        for _ in range(2):
            batch = next(training)
            outputs = [output.detach() for output in trainer.network(batch["data"])]
            labels = [target[:, :1] for target in batch["target"]]
            for target, own in zip(batch["target"], labels, strict=True):
                assert torch.equal(target[:, 1:], TargetDistance(num_classes=CLASSES)(own))
            torch.testing.assert_close(trainer.loss(outputs, batch["target"]), trainer.loss(outputs, labels))
            assert math.isfinite(trainer.train_step(batch)["loss"])
        batch = next(validation)
        assert batch["target"][0].shape[1] == 1
        assert math.isfinite(trainer.validation_step(batch)["loss"])
    finally:
        for loader in (training, validation):
            if hasattr(loader, "_finish"):
                loader._finish()
