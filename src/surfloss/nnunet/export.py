"""Copies of trained models for people without surfloss.

The networks are plain nnU-Net's; only the name of the trainer, by which nnU-Net looks for a class, stands in
their way. In the copy that name is nnU-Net's own:

    python -m surfloss.nnunet.export nnUNetTrainerHausdorff__nnUNetPlans__3d_fullres exported
    nnUNetv2_predict_from_modelfolder -i IMAGES -o PREDICTIONS -m exported -f 0
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

import torch

from surfloss._check import fail
from surfloss._files import written_whole
from surfloss.nnunet.checkpoints import read_checkpoint
from surfloss.nnunet.run_folder import read_json

_DESCRIPTIONS = ("plans.json", "dataset.json")


def export_model(model: Path, out: Path, checkpoint: str = "checkpoint_final.pth") -> list[str]:
    """Copy a trained model in such a form that nnU-Net predicts with it where surfloss is not installed.

    What only a training needs is left out: the optimizer, the log and the schedule of the surface term. The
    copy holds tensors and plain values, so that it can be loaded with `weights_only=True`.

    Args:
        model: nnU-Net's folder of a trainer, with `plans.json`, `dataset.json` and `fold_0` and so on.
        out: the new folder, which must not exist yet.
        checkpoint: which file of each fold is taken.

    Returns:
        The names of the folds.

    Raises:
        ValueError: if `model` is no such folder, its network is not that of nnU-Net's plans, or `out` exists.
    """
    if out.exists():
        fail("out", f"{out}, which exists", "a new folder")
    if missing := [name for name in _DESCRIPTIONS if not (model / name).is_file()]:
        fail("model", f"{model} without {' and '.join(missing)}", "nnU-Net's folder of a trained model")
    if Path(checkpoint).name != checkpoint:
        fail("checkpoint", repr(checkpoint), "the name of a file in the folder of a fold")
    files = sorted(model.glob(f"fold_*/{checkpoint}"))
    if not files:
        fail("model", f"{model}, where no fold has {checkpoint}", "a folder with finished folds")
    with written_whole(out) as copy:
        for file in files:
            target = copy / file.parent.name / checkpoint
            target.parent.mkdir(parents=True)
            torch.save(_plain(model, file), target)
        for name in _DESCRIPTIONS:
            shutil.copyfile(model / name, copy / name)
    return [file.parent.name for file in files]


def _plain(model: Path, file: Path) -> dict[str, Any]:
    """What nnU-Net's predictor reads of a checkpoint, under the name of nnU-Net's own trainer."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    checkpoint = read_checkpoint(file)
    dataset, plans = read_json(model / "dataset.json"), PlansManager(read_json(model / "plans.json"))
    name = checkpoint["init_args"]["configuration"]
    configuration = plans.get_configuration(name)
    channels = determine_num_input_channels(plans, configuration, dataset)
    heads = plans.get_label_manager(dataset).num_segmentation_heads
    network = nnUNetTrainer.build_network_architecture(plans, configuration, channels, heads, False)
    try:
        network.load_state_dict(checkpoint["network_weights"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        fail("model", f"{file}: {reason}", "the network that nnU-Net builds from plans.json")
    return {
        "network_weights": checkpoint["network_weights"],
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": name, "fold": checkpoint["init_args"]["fold"]},
        "inference_allowed_mirroring_axes": checkpoint["inference_allowed_mirroring_axes"],
    }


def main(arguments: list[str] | None = None) -> None:
    """`python -m surfloss.nnunet.export`."""
    parser = argparse.ArgumentParser(
        prog="python -m surfloss.nnunet.export",
        description="Copy a trained model so that nnUNetv2_predict loads it without surfloss.",
    )
    parser.add_argument("model", type=Path, help="nnU-Net's folder TRAINER__PLANS__CONFIGURATION")
    parser.add_argument("out", type=Path, help="the new folder")
    parser.add_argument("--checkpoint", default="checkpoint_final.pth", help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        folds = export_model(options.model, options.out, options.checkpoint)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    numbers = " ".join(fold.removeprefix("fold_") for fold in folds)
    name = "" if options.checkpoint == "checkpoint_final.pth" else f" -chk {options.checkpoint}"
    print(f"nnUNetv2_predict_from_modelfolder -i IMAGES -o PREDICTIONS -m {options.out} -f {numbers}{name}")


if __name__ == "__main__":
    main()
