"""The trainer of docs/loss-maps.md: maps from nnU-Net's loader, in this process and from workers."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from surfloss.nnunet.run_folder import RunFolder, read_json
from surfloss.transforms import TargetDistance
from surfloss.transforms.batchgenerators import TargetDistanceTransform, WithTargetDistance
from tests.nnunet.test_trainers import with_ignored_regions

PAGE = Path(__file__).parents[2] / "docs" / "loss-maps.md"
CLASSES = 2

pytestmark = pytest.mark.filterwarnings("ignore:the gradient of 'surface':UserWarning")


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
    made.compound.step()  # the weight rises from 0
    made.compound.scale("surface", 1e3)  # so that the term is seen in the sum
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
            assert not torch.isclose(
                trainer.loss(outputs, _halved(batch["target"])), trainer.loss(outputs, labels)
            )
            assert math.isfinite(trainer.train_step(batch)["loss"])
        batch = next(validation)
        assert batch["target"][0].shape[1] == 1
        assert math.isfinite(trainer.validation_step(batch)["loss"])
    finally:
        for loader in (training, validation):
            if hasattr(loader, "_finish"):
                loader._finish()


def test_regions_with_an_ignore_label(planned: RunFolder) -> None:
    made, inputs = with_ignored_regions(planned, "nnUNetTrainerHausdorffPaper")
    append = TargetDistanceTransform(include_background=True, ignore_channel=True)
    targets = [torch.stack([append(segmentation=one)["segmentation"] for one in t]) for t in inputs["target"]]
    assert [t.shape[1] for t in targets] == [5] * len(targets)
    outputs = [output.detach() for output in made.network(inputs["data"])]
    made.compound.scale("surface", 1e3)  # so that the term is seen in the sum
    right = made.loss(outputs, inputs["target"])
    made.loss.loss = WithTargetDistance(made.loss.loss, "surface", target_channels=3)
    torch.testing.assert_close(made.loss(outputs, targets), right)
    assert not torch.isclose(made.loss(outputs, _halved(targets, 3)), right)
    assert math.isfinite(made.train_step(inputs | {"target": targets})["loss"])


def _halved(targets: list[torch.Tensor], first: int = 1) -> list[torch.Tensor]:
    """Other maps, with which the loss is another one."""
    return [torch.cat([target[:, :first], target[:, first:] / 2], 1) for target in targets]
