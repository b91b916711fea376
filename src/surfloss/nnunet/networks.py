"""The stages of a run that run networks: training, and prediction of whole cases.

nnU-Net's classes are driven directly: its search for a trainer by name imports every trainer that it ships,
and so needs packages that a run does not.
"""

import json
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surfloss._check import fail
from surfloss._files import write_text, written_whole
from surfloss.losses import HausdorffDTLoss
from surfloss.nnunet.checkpoints import read_checkpoint
from surfloss.nnunet.convert import ENDING
from surfloss.nnunet.experiments import Model
from surfloss.nnunet.run_folder import CROSS_VALIDATION, Progress, RunFolder, fold_seed, read_json


def train(run: RunFolder, progress: Progress, model: Model, fold: int) -> None:
    """Train a model on a fold, going on from the last checkpoint of an interrupted training.

    Raises:
        ValueError: if there is no such device, or its GPUs are more than the samples of a batch.
        RuntimeError: if the losses cannot run there.
    """
    check_device(run.device)
    if run.device == "cpu":
        # Augmentation in the trainer's own process is as fast there as in workers (planning refuses 0).
        os.environ |= {"nnUNet_n_proc_DA": "0"}
    gpus = run.gpus_per_training
    if gpus == 1:
        _train(run, progress, model, fold)
        return
    batch_size = read_json(run.plans)["configurations"][model.configuration]["batch_size"]
    if gpus > batch_size:
        fail("gpus_per_training", gpus, f"at most the {batch_size} samples of a batch of {model.name}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # nnU-Net's own data parallelism: each process a GPU and a share of the batch, the gradients averaged.
    arguments = (run, progress, model, fold, port)
    torch.multiprocessing.spawn(train_rank, arguments, nprocs=gpus)  # type: ignore[attr-defined,no-untyped-call]


def train_rank(rank: int, run: RunFolder, progress: Progress, model: Model, fold: int, port: int) -> None:
    """One of the processes that share a training; the first tells of its progress and writes its files."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.cuda.set_device(rank)
    torch.distributed.init_process_group("nccl", rank=rank, world_size=run.gpus_per_training)
    try:
        _train(run, progress, model, fold, rank)
    finally:
        torch.distributed.destroy_process_group()


def predict(run: RunFolder, progress: Progress, model: Model, fold: int | None = None) -> None:
    """Predict the test cases with the average of the model's folds; cases already there are kept.

    With a fold, predict the cases on which its network was not trained.
    """
    folds: Iterable[int] = range(run.experiment.folds) if fold is None else [fold]
    if fold is None:
        part, images = "", run.raw / "imagesTs"
        cases = sorted(path.name.removesuffix(ENDING) for path in (run.raw / "labelsTs").glob(f"*{ENDING}"))
    else:
        part, images = CROSS_VALIDATION, run.raw / "imagesTr"
        cases = read_json(run.preprocessed / "splits_final.json")[fold]["val"]
    out = run.predictions(part + model.name)
    averaged = {name for ensemble in run.experiment.ensembles for name in ensemble.members}
    with_probabilities = part == run.part and model.name in averaged
    channels = len(read_json(run.raw / "dataset.json")["channel_names"])
    progress.begin(len(cases))
    predictor = _predictor(run, model, folds)
    files = predictor.plans_manager.image_reader_writer_class()
    for name in cases:
        if not (out / f"{name}{ENDING}").exists():
            paths = [str(images / f"{name}_{channel:04}{ENDING}") for channel in range(channels)]
            voxels, properties = files.read_images(paths)
            prediction = predictor.predict_single_npy_array(
                voxels, properties, save_or_return_probabilities=with_probabilities
            )
            if with_probabilities:
                prediction, probabilities = prediction
                with written_whole(out / f"{name}.npz") as unfinished:
                    np.savez_compressed(unfinished, probabilities=probabilities)
            # The segmentation comes last: it tells that the case is whole.
            with written_whole(out / f"{name}{ENDING}") as unfinished:
                files.write_seg(prediction, str(unfinished), properties)
        progress.advance()


def check_device(device: str) -> None:
    """Find out at once whether networks and distance transforms run there."""
    if device == "cuda" and not torch.cuda.is_available():
        fail("device", "cuda", "a GPU that PyTorch can use, or cpu")
    nothing = torch.zeros(1, 1, 1, 1, device=device)
    HausdorffDTLoss(include_background=True)(nothing, nothing)


def make_trainer(run: RunFolder, model: Model, fold: int) -> Any:
    """nnU-Net's trainer of a model, not yet initialized."""
    from surfloss.nnunet import trainers

    plans = read_json(run.plans) | {"continue_training": False}
    dataset = read_json(run.raw / "dataset.json")
    trainer_class = getattr(trainers, model.trainer)
    return trainer_class(plans, model.configuration, fold, dataset, torch.device(run.device))


def _train(run: RunFolder, progress: Progress, model: Model, fold: int, rank: int = 0) -> None:
    seed = fold_seed(run.experiment, model, fold)
    torch.manual_seed(seed)  # of the first weights; the trainer seeds each epoch
    trainer = make_trainer(run, model, fold)
    trainer.seed = seed
    trainer.num_epochs = run.experiment.epochs
    trainer.num_iterations_per_epoch = run.experiment.iterations
    trainer.num_val_iterations_per_epoch = run.experiment.validation_iterations
    trainer.save_every = run.experiment.save_every
    trainer.initial_lr = run.experiment.initial_lr
    trainer.initialize()
    for group in trainer.optimizer.param_groups:
        group["momentum"] = run.experiment.momentum
    folder = Path(trainer.output_folder)
    for checkpoint in ("checkpoint_final.pth", "checkpoint_latest.pth"):
        if (folder / checkpoint).exists():
            trainer.load_checkpoint(str(folder / checkpoint))
            break
    if rank == 0:
        progress.begin(run.experiment.epochs, trainer.current_epoch)
        trainer.epoch_callback = lambda _: progress.advance()
    if trainer.current_epoch < trainer.num_epochs:
        trainer.run_training()
    if rank == 0:
        log = {key: np.asarray(values).tolist() for key, values in trainer.logger.get_checkpoint().items()}
        write_text(run.training_log(model, fold), json.dumps(log, indent=2))


def _predictor(run: RunFolder, model: Model, folds: Iterable[int]) -> Any:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    results = run.results / run.dataset_name / f"{model.trainer}__nnUNetPlans__{model.configuration}"
    files = [results / f"fold_{fold}" / "checkpoint_final.pth" for fold in folds]
    checkpoints = [read_checkpoint(file, run.device) for file in files]
    trainer = make_trainer(run, model, 0)
    trainer.initialize()
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(
        device=torch.device(run.device), use_mirroring=run.experiment.mirroring, allow_tqdm=False
    )
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [checkpoint["network_weights"] for checkpoint in checkpoints],
        trainer.dataset_json,
        model.trainer,
        checkpoints[0]["inference_allowed_mirroring_axes"],
    )
    return predictor
