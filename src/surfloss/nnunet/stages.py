"""The stages of the reproduction, in order. Each is a list of jobs; finished jobs are not done again.

nnU-Net's classes are driven in this process: its search for a trainer by name imports every trainer that it
ships, and so needs packages that the reproduction does not.
"""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from surfloss._check import fail
from surfloss._files import write_text, written_whole
from surfloss.metrics import evaluate_folders
from surfloss.nnunet import convert
from surfloss.nnunet.presets import Model
from surfloss.nnunet.run import Run, fold_seed, read_json

Progress = Callable[[str, int, int], None]
"""Told what is being worked on, how many steps it has, and how many of them are done."""

CONFIGURATIONS = ("2d", "3d_fullres")


def run_stages(run: Run, progress: Progress, until: str = "report") -> None:
    """Run the stages up to and including `until`; a finished job is skipped, an interrupted one goes on."""
    with _environment(run.environment()):
        for name, stage in STAGES.items():
            stage(run, progress)
            if name == until:
                return


def prepare(run: Run, progress: Progress) -> None:
    """Bring the data (or the phantom, where none is given) into nnU-Net's raw layout."""
    if run.finished("prepare"):
        return
    with run.job("prepare"):
        source = run.data
        if source is None:
            from surfloss.phantom import write_dataset

            assert run.preset.phantom is not None
            source = run.folder / "phantom"
            phantom = run.preset.phantom
            write_dataset(source, phantom.cases, phantom.size, phantom.seed)
        training, validation = convert.split_cases(source, run.preset.validation_cases)
        done = _Counter(progress, "prepare", len(training) + len(validation))
        convert.convert(training, validation, run.raw, done)


def plan(run: Run, progress: Progress) -> None:
    """nnU-Net's fingerprint, plans and preprocessing, and the folds of the cross-validation."""
    if run.finished("plan"):
        return
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    with run.job("plan"):
        # What an interrupted job left is not known to be whole.
        shutil.rmtree(run.preprocessed, ignore_errors=True)
        done = _Counter(progress, "plan", 3)
        processes = os.cpu_count() or 1
        api.extract_fingerprint_dataset(
            run.dataset_id, num_processes=processes, check_dataset_integrity=True, show_progress_bar=False
        )
        done()
        api.plan_experiment_dataset(run.dataset_id)
        write_text(run.plans, json.dumps(_narrowed(read_json(run.plans), run), indent=2))
        done()
        api.preprocess_dataset(
            run.dataset_id, configurations=CONFIGURATIONS, num_processes=[processes], show_progress_bar=False
        )
        names = sorted(path.name.removesuffix(".nii.gz") for path in (run.raw / "labelsTr").glob("*.nii.gz"))
        folds = generate_crossval_split(names, seed=12345, n_splits=run.preset.folds)
        write_text(run.preprocessed / "splits_final.json", json.dumps(folds, indent=2))
        done()


def train(run: Run, progress: Progress) -> None:
    """Train every model on every fold, going on from the last checkpoint of an interrupted training."""
    # On a CPU, augmentation in the trainer's own process is as fast as in workers (planning refuses 0).
    augmentation = {"nnUNet_n_proc_DA": "0"} if run.device == "cpu" else {}
    for model in run.preset.models:
        for fold in range(run.preset.folds):
            job = f"train/{model.name}/fold_{fold}"
            if not run.finished(job):
                with run.job(job), _environment(augmentation):
                    _train(run, model, fold, partial(progress, job, run.preset.epochs))


def predict(run: Run, progress: Progress) -> None:
    """Predict the validation cases with each model's folds averaged, and each fold's own held-out cases."""
    folds = read_json(run.preprocessed / "splits_final.json")
    images = sorted((run.raw / "imagesTs").glob("*.nii.gz"))
    for model in run.preset.models:
        predict_cases = _Predictor(run, model)
        job = f"predict/{model.name}"
        if not run.finished(job):
            with run.job(job):
                done = _Counter(progress, job, len(images))
                predict_cases(range(run.preset.folds), images, run.predictions(model.name), done)
        job = f"cross_validate/{model.name}"
        if not run.finished(job):
            with run.job(job):
                done = _Counter(progress, job, sum(len(fold["val"]) for fold in folds))
                for index, fold in enumerate(folds):
                    held_out = [run.raw / "imagesTr" / f"{name}_0000.nii.gz" for name in fold["val"]]
                    predict_cases([index], held_out, run.predictions(f"cross_validation/{model.name}"), done)


def ensemble(run: Run, progress: Progress) -> None:
    """Average the probabilities of the ensemble's models and take the likelier label."""
    if run.finished("ensemble") or not run.preset.ensemble:
        return
    from nnunetv2.ensembling.ensemble import merge_files
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    with run.job("ensemble"):
        plans = PlansManager(str(run.plans))
        labels = plans.get_label_manager(read_json(run.raw / "dataset.json"))
        members = [run.predictions(name) for name in run.preset.ensemble]
        cases = sorted(path.name.removesuffix(".npz") for path in members[0].glob("*.npz"))
        done = _Counter(progress, "ensemble", len(cases))
        for case in cases:
            files = [str(member / f"{case}.npz") for member in members]
            with written_whole(run.predictions("ensemble") / f"{case}.nii.gz") as unfinished:
                truncated = str(unfinished).removesuffix(".nii.gz")
                merge_files(files, truncated, ".nii.gz", plans.image_reader_writer_class(), labels)
            done()


def evaluate(run: Run, progress: Progress) -> None:
    """Measure every set of predictions against the true labels."""
    sets = dict.fromkeys(run.evaluated(), run.raw / "labelsTs")
    sets |= {f"cross_validation/{model.name}": run.raw / "labelsTr" for model in run.preset.models}
    for name, truth in sets.items():
        job = f"evaluate/{name}"
        if not run.finished(job):
            with run.job(job):
                progress(job, 1, 0)
                result = evaluate_folders(run.predictions(name), truth, tolerance=run.preset.tolerance)
                for case in result["cases"]:
                    if case["problem"]:
                        got = f"a problem ({case['problem']['message']})"
                        fail(f"case {case['case']} of {name}", got, "an evaluation of every case")
                write_text(run.metrics(name), json.dumps(result, indent=2, allow_nan=False))
                progress(job, 1, 1)


def report(run: Run, progress: Progress) -> None:
    """Write the report; always, since it is quick and its layout may be newer than the run."""
    from surfloss.nnunet.report import write_report

    with run.job("report"):
        progress("report", 1, 0)
        write_report(run)
        progress("report", 1, 1)


STAGES: dict[str, Callable[[Run, Progress], None]] = {
    "prepare": prepare,
    "plan": plan,
    "train": train,
    "predict": predict,
    "ensemble": ensemble,
    "evaluate": evaluate,
    "report": report,
}


def _narrowed(plans: dict[str, Any], run: Run) -> dict[str, Any]:
    """nnU-Net's plans with the preset's width and batch size."""
    for name in CONFIGURATIONS:
        configuration = plans["configurations"][name]
        arguments = configuration["architecture"]["arch_kwargs"]
        if run.preset.base_features:
            widths = arguments["features_per_stage"]
            arguments["features_per_stage"] = [run.preset.base_features * w // widths[0] for w in widths]
        if name == "2d" and run.preset.batch_size_2d:
            configuration["batch_size"] = run.preset.batch_size_2d
    return plans


def _train(run: Run, model: Model, fold: int, epoch_done: Callable[[int], None]) -> None:
    import torch

    seed = fold_seed(run.preset, model, fold)
    torch.manual_seed(seed)
    trainer = _trainer(run, model, fold)
    trainer.num_epochs = run.preset.epochs
    trainer.num_iterations_per_epoch = run.preset.iterations
    trainer.num_val_iterations_per_epoch = run.preset.validation_iterations
    trainer.save_every = run.preset.save_every
    trainer.initial_lr = run.preset.initial_lr
    trainer.epoch_callback = epoch_done
    trainer.initialize()
    folder = Path(trainer.output_folder)
    for checkpoint in ("checkpoint_final.pth", "checkpoint_latest.pth"):
        if (folder / checkpoint).exists():
            trainer.load_checkpoint(str(folder / checkpoint))
            break
    # nnU-Net's augmentation draws from the global generators; what is resumed must not draw the same again.
    for set_seed in (random.seed, np.random.seed, torch.manual_seed):
        set_seed((seed + trainer.current_epoch) % 2**32)
    epoch_done(trainer.current_epoch)
    if trainer.current_epoch < trainer.num_epochs:
        trainer.run_training()
    log = {key: np.asarray(values).tolist() for key, values in trainer.logger.get_checkpoint().items()}
    write_text(run.training_log(model, fold), json.dumps(log, indent=2))


def _trainer(run: Run, model: Model, fold: int) -> Any:
    import torch

    from surfloss.nnunet import trainers

    plans = read_json(run.plans) | {"continue_training": False}
    dataset = read_json(run.raw / "dataset.json")
    return getattr(trainers, model.trainer)(
        plans, model.configuration, fold, dataset, torch.device(run.device)
    )


class _Predictor:
    """Sliding-window prediction of whole cases by one model, a case at a time."""

    def __init__(self, run: Run, model: Model) -> None:
        self.run = run
        self.model = model

    def __call__(self, folds: Any, images: list[Path], out: Path, done: Callable[[], None]) -> None:
        """Predict `images` with the average of `folds`' networks; cases already there are kept."""
        import torch
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        checkpoints = [self._checkpoint(fold) for fold in folds]
        trainer = _trainer(self.run, self.model, 0)
        trainer.initialize()
        trainer.set_deep_supervision_enabled(False)
        predictor = nnUNetPredictor(device=torch.device(self.run.device), allow_tqdm=False)
        predictor.manual_initialization(
            trainer.network,
            trainer.plans_manager,
            trainer.configuration_manager,
            [checkpoint["network_weights"] for checkpoint in checkpoints],
            trainer.dataset_json,
            self.model.trainer,
            checkpoints[0]["inference_allowed_mirroring_axes"],
        )
        for image in images:
            name = image.name.removesuffix("_0000.nii.gz")
            if not (out / f"{name}.nii.gz").exists():
                self._predict(predictor, image, out, name)
            done()

    def _predict(self, predictor: Any, image: Path, out: Path, name: str) -> None:
        import torch
        from nnunetv2.inference.export_prediction import export_prediction_from_logits

        configuration = predictor.configuration_manager
        preprocessor = configuration.preprocessor_class(verbose=False)
        data, _, properties = preprocessor.run_case(
            [str(image)], None, predictor.plans_manager, configuration, predictor.dataset_json
        )
        logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
        wanted = self.model.name in self.run.preset.ensemble and out.parent.name != "cross_validation"
        # The segmentation comes last under its name: it tells that the case is whole.
        with written_whole(out / f"{name}.nii.gz") as unfinished:
            truncated = str(unfinished).removesuffix(".nii.gz")
            export_prediction_from_logits(
                logits,
                properties,
                configuration,
                predictor.plans_manager,
                predictor.dataset_json,
                truncated,
                save_probabilities=wanted,
                num_threads_torch=torch.get_num_threads(),
            )
            for ending in (".npz", ".pkl") if wanted else ():
                os.replace(f"{truncated}{ending}", out / f"{name}{ending}")

    def _checkpoint(self, fold: int) -> Any:
        import torch

        folder = self.run.results / self.run.dataset_name
        folder /= f"{self.model.trainer}__nnUNetPlans__{self.model.configuration}"
        return torch.load(
            folder / f"fold_{fold}" / "checkpoint_final.pth", map_location=self.run.device, weights_only=False
        )


class _Counter:
    """Counts the steps of one job for the progress display."""

    def __init__(self, progress: Progress, job: str, total: int) -> None:
        self._progress, self._job, self._total, self._done = progress, job, total, 0
        progress(job, total, 0)

    def __call__(self) -> None:
        self._done += 1
        self._progress(self._job, self._total, self._done)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
