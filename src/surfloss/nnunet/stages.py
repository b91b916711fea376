"""The stages of a run that run no network. Each goes on where an interrupted one stopped."""

import json
import shutil
from pathlib import Path
from typing import Any

from surfloss._check import fail
from surfloss._files import write_text, written_whole
from surfloss.metrics import evaluate_folders
from surfloss.nnunet import convert
from surfloss.nnunet.experiments import Ensemble
from surfloss.nnunet.manifest import describe
from surfloss.nnunet.run_folder import Progress, RunFolder, processors, read_json


def prepare(run: RunFolder, progress: Progress) -> None:
    """Bring the data (or the phantom, where none is given) into nnU-Net's raw layout.

    What an interrupted attempt has converted is kept only if the data are still the same, file by file.
    """
    if run.data is None:
        from surfloss.phantom import write_dataset

        phantom = run.experiment.phantom
        assert phantom is not None
        progress.begin(2 * phantom.cases)
        write_dataset(
            run.source, phantom.cases, phantom.size, phantom.seed, on_case=lambda _: progress.advance()
        )
        source = run.read_source()
    else:
        source = run.read_source()
        progress.begin(len(source.cases))
    manifest = describe(source)
    if not run.is_made_of(manifest):
        _remove(run.raw)
        write_text(run.manifest, json.dumps(manifest, indent=2))
    convert.convert(source, run.raw, progress.advance)


def plan(run: RunFolder, progress: Progress) -> None:
    """nnU-Net's fingerprint, plans and preprocessing, and the folds of the cross-validation."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    # What an interrupted job left is not known to be whole.
    _remove(run.preprocessed)
    progress.begin(3)
    processes = processors()
    api.extract_fingerprint_dataset(
        run.dataset_id, num_processes=processes, check_dataset_integrity=True, show_progress_bar=False
    )
    progress.advance()
    api.plan_experiment_dataset(run.dataset_id, gpu_memory_target_in_gb=run.experiment.memory_gb)
    write_text(run.plans, json.dumps(_narrowed(read_json(run.plans), run), indent=2))
    progress.advance()
    api.preprocess_dataset(
        run.dataset_id,
        configurations=run.experiment.configurations,
        num_processes=[processes],
        show_progress_bar=False,
    )
    names = sorted(path.name.removesuffix(".nii.gz") for path in (run.raw / "labelsTr").glob("*.nii.gz"))
    folds = generate_crossval_split(names, seed=12345, n_splits=run.experiment.folds)
    write_text(run.preprocessed / "splits_final.json", json.dumps(folds, indent=2))
    progress.advance()


def ensemble(run: RunFolder, progress: Progress, ensemble: Ensemble) -> None:
    """Average the probabilities of an ensemble's models and take the likelier label."""
    from nnunetv2.ensembling.ensemble import average_probabilities
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(read_json(run.plans))
    labels = plans.get_label_manager(read_json(run.raw / "dataset.json"))
    images = plans.image_reader_writer_class()
    members = [run.predictions(run.part + name) for name in ensemble.members]
    cases = sorted(path.name.removesuffix(".npz") for path in members[0].glob("*.npz"))
    progress.begin(len(cases))
    for case in cases:
        files = [str(member / f"{case}.npz") for member in members]
        segmentation = labels.convert_probabilities_to_segmentation(average_probabilities(files))
        _, properties = images.read_seg(str(members[0] / f"{case}.nii.gz"))  # its place in space
        with written_whole(run.predictions(run.part + ensemble.name) / f"{case}.nii.gz") as unfinished:
            images.write_seg(segmentation, str(unfinished), properties)
        progress.advance()


def evaluate(run: RunFolder, progress: Progress, name: str) -> None:
    """Measure a set of predictions against the true labels.

    In the challenge's terms where its layout is; elsewhere a class that neither mask has counts for nothing.
    """
    progress.begin(1)
    result = evaluate_folders(
        run.predictions(name),
        run.truth(name),
        tolerance=run.experiment.tolerance,
        labels=run.raw / "dataset.json",
        both_empty="official" if run.experiment.follows_paper else "null",
    )
    for case in result.cases:
        if case.problem and case.problem.kind != "absent":
            got = f"a problem ({case.problem.message})"
            fail(f"case {case.case} of {name}", got, "an evaluation of every case")
    write_text(run.metrics(name), json.dumps(result.to_dict(), indent=2, allow_nan=False))
    progress.advance()


def report(run: RunFolder, progress: Progress) -> None:
    """Write the report."""
    from surfloss.nnunet.report import write_report

    progress.begin(1)
    write_report(run)
    progress.advance()


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _narrowed(plans: dict[str, Any], run: RunFolder) -> dict[str, Any]:
    """nnU-Net's plans with the experiment's width and batch sizes."""
    experiment = run.experiment
    planned = plans["configurations"]
    if lacking := [name for name in experiment.configurations if name not in planned]:
        wanted = f"those that nnU-Net plans for these data: {', '.join(planned)}"
        fail("configurations", ", ".join(lacking), wanted)
    for name in experiment.configurations:
        configuration = planned[name]
        arguments = configuration["architecture"]["arch_kwargs"]
        if experiment.base_features:
            widths = arguments["features_per_stage"]
            arguments["features_per_stage"] = [experiment.base_features * w // widths[0] for w in widths]
        batch_size = experiment.batch_size_2d if name == "2d" else experiment.batch_size_3d
        if batch_size:
            configuration["batch_size"] = batch_size
    return plans
