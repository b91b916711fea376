"""Small data sets in the challenge's layout, and the smallest run."""

import json
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nibabel
import numpy as np
import pytest

from surfloss._files import write_text
from surfloss.nnunet.experiments import DICE_CE_2D, HAUSDORFF_3D, Ensemble, Experiment, PhantomSettings
from surfloss.nnunet.jobs import Job, perform
from surfloss.nnunet.run_folder import Progress, Record, RunFolder

AFFINE = np.diag([0.5, 0.5, 5.0, 1.0])


def save(path: Path, array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any] = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def perform_here(run: RunFolder, job: Job) -> None:
    """Do a job in this process, and leave the environment as it was."""
    with patch.dict(os.environ):
        perform(run, job)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Four good cases: 001 to 004."""
    folder = tmp_path / "instance"
    rng = np.random.default_rng(0)
    for number in range(1, 5):
        label = np.zeros((12, 10, 4), np.uint8)
        label[3:7, 4:8, 1:3] = 1
        image = rng.normal(30, 40, label.shape) + 40 * label
        save(folder / "data" / f"{number:03}.nii.gz", image.astype(np.float32))
        save(folder / "label" / f"{number:03}.nii.gz", label)
    return folder


MINI = Experiment(
    name="mini",
    models=(DICE_CE_2D, HAUSDORFF_3D),
    ensembles=(Ensemble("ensemble", "Dice+CE, Hausdorff", (DICE_CE_2D.name, HAUSDORFF_3D.name)),),
    folds=2,
    epochs=2,
    iterations=2,
    validation_iterations=1,
    validation_cases=2,
    save_every=1,
    base_features=4,
    batch_size_2d=2,
    phantom=PhantomSettings(cases=6, size=(8, 48, 48), seed=1),
)
"""The smallest run that goes through every stage."""


def write_plans(run: RunFolder) -> None:
    """nnU-Net's plans and data set description for the mini run, without planning."""
    shared = {
        "preprocessor_name": "DefaultPreprocessor",
        "normalization_schemes": ["RescaleTo01Normalization"],
        "use_mask_for_norm": [False],
        "batch_size": 2,
    }
    configurations = {}
    for name, dims in (("2d", 2), ("3d_fullres", 3)):
        convolution = f"torch.nn.modules.conv.Conv{dims}d"
        configurations[name] = shared | {
            "data_identifier": f"nnUNetPlans_{name}",
            "patch_size": [8, 16, 16][-dims:],
            "spacing": [5.0, 1.0, 1.0][-dims:],
            "batch_dice": dims == 2,
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                "arch_kwargs": {
                    "n_stages": 3,
                    "features_per_stage": [4, 8, 16],
                    "conv_op": convolution,
                    "kernel_sizes": [[3] * dims] * 3,
                    "strides": [[1] * dims, [2] * dims, [2] * dims],
                    "n_conv_per_stage": [1, 1, 1],
                    "n_conv_per_stage_decoder": [1, 1],
                    "conv_bias": True,
                    "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
                    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                    "dropout_op": None,
                    "dropout_op_kwargs": None,
                    "nonlin": "torch.nn.LeakyReLU",
                    "nonlin_kwargs": {"inplace": True},
                },
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
        }
    plans = {
        "dataset_name": run.dataset_name,
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": configurations,
    }
    dataset = {
        "channel_names": {"0": "rescale_to_0_1"},
        "labels": {"background": 0, "hemorrhage": 1},
        "numTraining": 4,
        "file_ending": ".nii.gz",
    }
    write_text(run.plans, json.dumps(plans))
    write_text(run.raw / "dataset.json", json.dumps(dataset))
    (run.preprocessed / "nnUNetPlans_2d").mkdir(parents=True)
    (run.preprocessed / "nnUNetPlans_3d_fullres").mkdir(parents=True)
    for name in ("2d", "3d_fullres"):
        (run.preprocessed / f"nnUNetPlans_{name}" / "001.b2nd").touch()


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    return Progress(tmp_path / "record.json", Record("train/x"))


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run whose plans are written by hand, so that a trainer can be built without planning."""
    run = RunFolder(tmp_path / "run", MINI)
    write_plans(run)
    for name, value in run.environment().items():
        monkeypatch.setenv(name, value)
    return run


@pytest.fixture
def preprocessed(planned: RunFolder, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run on a CPU with four cases and two folds, without nnU-Net's preprocessing."""
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    names = ["001", "002", "003", "004"]
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        label = np.zeros((1, 10, 24, 24), np.int16)
        label[:, 3:7, 8:15, 6 + number : 14] = 1
        image = (rng.normal(0.3, 0.2, label.shape) + 0.3 * label).astype(np.float32)
        properties = {"class_locations": {1: np.argwhere(label)}, "spacing": [5.0, 1.0, 1.0]}
        for configuration in ("2d", "3d_fullres"):
            file = planned.preprocessed / f"nnUNetPlans_{configuration}" / name
            file.with_suffix(".b2nd").unlink(missing_ok=True)
            shape = image.shape
            nnUNetDatasetBlosc2.save_case(image, label, properties, str(file), shape, shape, shape, shape)
    folds = [{"train": names[:2], "val": names[2:]}, {"train": names[2:], "val": names[:2]}]
    write_text(planned.preprocessed / "splits_final.json", json.dumps(folds))
    write_text(planned.preprocessed / "dataset_fingerprint.json", "{}")
    return planned
