"""The trainers: their loss, deep supervision, log, checkpoint, and how nnU-Net finds them."""

import dataclasses
import json
import math
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from surfloss._files import write_text
from surfloss.nnunet import trainers
from surfloss.nnunet.experiments import CONTOUR_3D, DICE_CE_2D, HAUSDORFF_3D, HAUSDORFF_PAPER_3D, Model
from surfloss.nnunet.networks import make_trainer
from surfloss.nnunet.run_folder import RunFolder, read_json

ITERATIONS, EPOCHS = 3, 2


@pytest.fixture
def run(planned: RunFolder) -> RunFolder:
    return planned


def trainer(run: RunFolder, model: Model) -> Any:
    made = make_trainer(run, model, 0)
    made.num_epochs, made.num_iterations_per_epoch = EPOCHS, ITERATIONS
    made.initialize()
    return made


def batch(made: Any, seed: int = 0) -> dict[str, Any]:
    """A patch with a lesion in each item, at every resolution of deep supervision."""
    patch = made.configuration_manager.patch_size
    generator = torch.Generator().manual_seed(seed)
    target = torch.zeros(2, 1, *patch)
    target[(..., *(slice(size // 4, size // 2 + 1) for size in patch))] = 1
    scales = [[1 / s for s in scale] for scale in made._get_deep_supervision_scales()]
    targets = [target[(..., *(slice(None, None, round(s)) for s in scale))] for scale in scales]
    return {"data": torch.randn(2, 1, *patch, generator=generator) + target, "target": targets}


@pytest.mark.parametrize("name", trainers.__all__)
def test_the_loss_is_dice_ce_plus_the_weighted_surface_term(run: RunFolder, name: str) -> None:
    configuration = "3d_fullres" if "DA5" in name else "2d"
    made = trainer(run, Model("x", "x", configuration, name))
    inputs = batch(made)
    outputs = made.network(inputs["data"])
    weights = made.loss.weight_factors
    assert weights[-1] == 0
    np.testing.assert_allclose(
        weights[:-1], 0.5 ** np.arange(len(weights) - 1) / sum(0.5 ** np.arange(len(weights) - 1))
    )
    expected = 0.0
    for weight, output, target in zip(weights, outputs, inputs["target"], strict=False):
        if weight:
            terms = made.compound.terms(output, target)
            expected += weight * sum(made.compound.weights[n] * term for n, term in terms.items())
    torch.testing.assert_close(made.loss(outputs, inputs["target"]), expected)
    assert set(made.compound.schedules) == ({"dice_ce"} if "DiceCE" in name else {"dice_ce", "surface"})


def test_dice_ce_is_the_loss_of_nnunet(run: RunFolder) -> None:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    for configuration in ("2d", "3d_fullres"):  # with Dice over the batch, and over the items
        made = trainer(run, dataclasses.replace(DICE_CE_2D, configuration=configuration))
        inputs = batch(made)
        outputs = [output.detach() for output in made.network(inputs["data"])]
        theirs = nnUNetTrainer._build_loss(made)
        torch.testing.assert_close(made.loss(outputs, inputs["target"]), theirs(outputs, inputs["target"]))


@pytest.mark.parametrize("name", trainers.__all__)
def test_the_only_resolution_of_a_two_stage_network_counts(run: RunFolder, name: str) -> None:
    """nnU-Net leaves the lowest resolution out, and so divides 0 by 0 where there is no other."""
    configuration = "3d_fullres" if "DA5" in name else "2d"
    plans = read_json(run.plans)
    arguments = plans["configurations"][configuration]["architecture"]["arch_kwargs"]
    arguments |= {"n_stages": 2, "n_conv_per_stage_decoder": [1]}
    for key in ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage"):
        arguments[key] = arguments[key][:2]
    write_text(run.plans, json.dumps(plans))
    made = trainer(run, Model("x", "x", configuration, name))
    assert made.loss.weight_factors == (1.0,)
    assert math.isfinite(made.train_step(batch(made))["loss"])
    assert all(bool(weights.isfinite().all()) for weights in made.network.parameters())


@pytest.mark.parametrize("name", trainers.__all__)
def test_regions_with_an_ignore_label(run: RunFolder, name: str) -> None:
    made, inputs = with_ignored_regions(run, name)
    outputs = [output.detach().requires_grad_() for output in made.network(inputs["data"])]
    loss = made.loss(outputs, inputs["target"])
    loss.backward()
    for output, target in zip(outputs[:-1], inputs["target"], strict=False):
        ignored = target[:, -1:].expand_as(output)
        assert output.grad[ignored].abs().max() == 0
        assert output.grad[~ignored].abs().max() > 0
    # What lies below the ignored voxels is of no account.
    for target in inputs["target"]:
        target[:, :-1] |= target[:, -1:]
    torch.testing.assert_close(made.loss(outputs, inputs["target"]), loss)
    assert math.isfinite(made.train_step(inputs)["loss"])
    assert math.isfinite(made.validation_step(inputs)["loss"])


def test_dice_ce_of_regions_with_an_ignore_label_is_that_of_nnunet(run: RunFolder) -> None:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    made, inputs = with_ignored_regions(run, "nnUNetTrainerDiceCE")
    gradients, values = [], []
    for loss in (made.loss, nnUNetTrainer._build_loss(made)):
        outputs = [output.detach().requires_grad_() for output in made.network(inputs["data"])]
        values.append(loss(outputs, inputs["target"]))
        gradients.append(torch.autograd.grad(values[-1], outputs[:-1]))
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(gradients[0], gradients[1])


def with_ignored_regions(run: RunFolder, name: str) -> tuple[Any, dict[str, Any]]:
    """A trainer of two nested regions, and a batch in the form in which nnU-Net's augmentation makes it."""
    dataset = read_json(run.raw / "dataset.json") | {
        "labels": {"background": 0, "lesion": [1, 2], "core": 2, "ignore": 3},
        "regions_class_order": [1, 2],
    }
    write_text(run.raw / "dataset.json", json.dumps(dataset))
    made = trainer(run, Model("x", "x", "3d_fullres" if "DA5" in name else "2d", name))
    inputs = batch(made)
    for i, lesion in enumerate(inputs["target"]):
        core = lesion.clone()
        core[..., : lesion.shape[-1] // 3] = 0
        ignored = torch.zeros_like(lesion)
        ignored[..., : lesion.shape[-2] // 3, :] = 1
        inputs["target"][i] = torch.cat([lesion * (1 - ignored), core * (1 - ignored), ignored], 1).bool()
    return made, inputs


def test_each_epoch_logs_term_weight_and_ratio(run: RunFolder) -> None:
    made = trainer(run, HAUSDORFF_3D)
    steps = [made.train_step(batch(made, seed)) for seed in range(ITERATIONS)]
    made.logger.log("train_losses", 0.0, 0)
    made.logger.local_logger.my_fantastic_logging["train_losses"].clear()
    made.on_train_epoch_end(steps)
    log = made.logger.get_checkpoint()
    # The weight rises from 0 to 1e-3 over the first half of the training, a step an iteration.
    warmup = EPOCHS * ITERATIONS // 2
    assert [step["surface_weights"] for step in steps] == pytest.approx([1e-3 * t / warmup for t in range(3)])
    assert log["surface_weights"] == [steps[-1]["surface_weights"]]
    assert log["surface_terms"] == [pytest.approx(np.mean([step["surface_terms"] for step in steps]))]
    assert log["gradient_ratios"] == [0.0]  # taken in the first iteration, at weight 0
    assert made.compound.weights["surface"] == pytest.approx(1e-3)


def test_the_logged_term_is_that_of_the_full_resolution(run: RunFolder) -> None:
    made = trainer(run, CONTOUR_3D)
    inputs = batch(made)
    made.network.train()
    with torch.no_grad():
        expected = made.compound.terms(made.network(inputs["data"])[0], inputs["target"][0])["surface"]
    assert made.train_step(inputs)["surface_terms"] == pytest.approx(float(expected), rel=1e-5)


def test_without_a_surface_term_there_is_nothing_to_log(run: RunFolder) -> None:
    made = trainer(run, DICE_CE_2D)
    made.on_train_epoch_end([made.train_step(batch(made))])
    assert math.isnan(made.logger.get_checkpoint()["surface_terms"][0])


def test_the_paper_setting_is_constant_from_the_start(run: RunFolder) -> None:
    made = trainer(run, HAUSDORFF_PAPER_3D)
    ratio = made.train_step(batch(made))["gradient_ratios"]
    assert made.compound.weights == {"dice_ce": 1.0, "surface": 1e-3}
    assert ratio > 0


def test_the_schedule_travels_in_the_checkpoint(run: RunFolder, tmp_path: Path) -> None:
    made = trainer(run, HAUSDORFF_3D)
    for seed in range(2):
        made.train_step(batch(made, seed))
    path = str(tmp_path / "checkpoint.pth")
    made.save_checkpoint(path)
    assert [file.name for file in tmp_path.glob("checkpoint*")] == ["checkpoint.pth"]
    restored = trainer(run, HAUSDORFF_3D)
    restored.load_checkpoint(path)
    assert restored.compound.weights == made.compound.weights
    assert restored.compound.weights["surface"] > 0
    assert restored.seed == made.seed  # drawn at random, so that it is another one in every training
    torch.testing.assert_close(restored.network.state_dict(), made.network.state_dict())


def test_a_training_goes_on_for_more_epochs(run: RunFolder, tmp_path: Path) -> None:
    """`nnUNetv2_train ... --c` of a trainer that has more epochs than before."""
    made = trainer(run, HAUSDORFF_3D)
    for seed in range(ITERATIONS):
        made.train_step(batch(made, seed))
    path = str(tmp_path / "checkpoint.pth")
    made.save_checkpoint(path)
    longer = make_trainer(run, HAUSDORFF_3D, 0)
    longer.num_epochs, longer.num_iterations_per_epoch = 10 * EPOCHS, ITERATIONS
    with pytest.warns(UserWarning, match=r"LinearWarmup\(.*steps=30.* goes on after 3 steps") as warned:
        longer.load_checkpoint(path)
    assert len(warned) == 1
    assert longer.current_epoch == 1
    assert longer.compound.weights["surface"] == pytest.approx(1e-3 * 3 / 30)
    longer.train_step(batch(longer))


def test_a_checkpoint_of_another_surface_term_is_refused(run: RunFolder, tmp_path: Path) -> None:
    path = str(tmp_path / "checkpoint.pth")
    trainer(run, CONTOUR_3D).save_checkpoint(path)
    with pytest.raises(ValueError, match=r"state: got .*Constant.*, wanted a state saved by LinearWarmup"):
        trainer(run, HAUSDORFF_3D).load_checkpoint(path)


def test_a_failed_save_keeps_the_last_checkpoint(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(run, HAUSDORFF_3D)
    path = tmp_path / "checkpoint.pth"
    made.save_checkpoint(str(path))
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise RuntimeError("unexpected pos 64 vs 0")  # what PyTorch's writer says then

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match=r"checkpoint\.pth could not be written: unexpected pos"):
        made.save_checkpoint(str(path))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if file.name != "run"] == ["checkpoint.pth"]


def test_a_foreign_checkpoint_is_refused(run: RunFolder, tmp_path: Path) -> None:
    made = trainer(run, HAUSDORFF_3D)
    torch.save({"trainer_name": "nnUNetTrainer"}, tmp_path / "foreign.pth")
    with pytest.raises(
        ValueError, match="checkpoint: got one of nnUNetTrainer, wanted one of nnUNetTrainerDA5"
    ):
        made.load_checkpoint(str(tmp_path / "foreign.pth"))


@pytest.mark.parametrize("name", trainers.__all__)
def test_nnunet_finds_the_trainers_in_their_folder(name: str) -> None:
    """The part of nnU-Net's search that `nnUNet_extTrainer` leads to."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    folder = str(Path(trainers.__file__).parent)
    found = recursive_find_python_class(
        folder, name, None, base_folder=folder, cleanup_imports_from_base_folder=True
    )
    assert found is not None
    assert issubclass(found, nnUNetTrainer)
    assert found.__name__ == name


def test_the_pages_own_trainer(run: RunFolder) -> None:
    """Another weight, schedule and length, in the lines that docs/nnunet.md shows."""
    page = (Path(__file__).parents[2] / "docs" / "nnunet.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    plans, dataset = read_json(run.plans), read_json(run.raw / "dataset.json")
    plans["continue_training"] = False
    own = names["nnUNetTrainerHausdorffMine"]
    made = own(plans, "3d_fullres", 0, dataset, torch.device("cpu"))
    made.num_iterations_per_epoch = 2
    made.initialize()
    assert made.num_epochs == 250
    assert made.compound.weights["surface"] == 0
    made.train_step(batch(made))
    assert made.compound.weights["surface"] == pytest.approx(2e-3 / 125)  # of 500 steps a quarter warms up
    assert made.my_init_kwargs.keys() == {"plans", "configuration", "fold", "dataset_json", "device"}


def test_the_whole_search_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through all of nnU-Net's own trainers; the one that needs a vision library of its own is left out."""
    unneeded = "nnunetv2.training.nnUNetTrainer.primus.primus_trainers"
    monkeypatch.setitem(sys.modules, unneeded, ModuleType(unneeded))
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    monkeypatch.setenv("nnUNet_extTrainer", str(Path(trainers.__file__).parent))
    found = recursive_find_trainer_class_by_name("nnUNetTrainerDA5Hausdorff")
    assert found.__name__ == "nnUNetTrainerDA5Hausdorff"
