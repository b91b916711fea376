"""`surfloss compare`: whether a loss helps on a data set of the user's own."""

from pathlib import Path
from typing import Annotated

import typer

from surfloss.cli import _jobs
from surfloss.cli._terminal import check_packages, exit_on_bad_input


def compare(
    dataset: Annotated[
        Path, typer.Argument(help="Folder with a dataset.json: nnU-Net's raw layout, or the Decathlon's.")
    ],
    out: _jobs.Out,
    losses: Annotated[
        str,
        typer.Option(
            help="Names of presets or of our trainers, with commas between; the others are compared with the "
            "first."
        ),
    ] = "dice_ce,dice_ce_again,contour,hausdorff,hausdorff_bounded",
    configurations: Annotated[
        str | None,
        typer.Option(help="nnU-Net's, as 2d,3d_fullres; by default 3d_fullres, or 2d for planes."),
    ] = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Average the configurations of each loss too.")
    ] = False,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the cross-validation.")] = 5,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of a training.")] = 1000,
    iterations: Annotated[int, typer.Option(min=1, help="Training iterations of an epoch.")] = 250,
    validation_iterations: Annotated[
        int, typer.Option(min=1, help="Iterations on validation patches, for the curves.")
    ] = 50,
    learning_rate: Annotated[float, typer.Option(help="At the start of a training.")] = 0.01,
    momentum: Annotated[
        float, typer.Option(help="Of the optimizer; 0.9 learns sooner where a training is short.")
    ] = 0.99,
    features: Annotated[
        int | None, typer.Option(min=1, help="Channels of the first stage; by default nnU-Net's own.")
    ] = None,
    batch_size_2d: Annotated[
        int | None, typer.Option(min=1, help="Slices in a batch; by default nnU-Net's own.")
    ] = None,
    batch_size_3d: Annotated[
        int | None, typer.Option(min=1, help="Patches in a batch; by default nnU-Net's own.")
    ] = None,
    memory: Annotated[
        float | None, typer.Option(help="GiB of the GPU that nnU-Net plans patches and batches for.")
    ] = None,
    mirroring: Annotated[
        bool,
        typer.Option(
            "--mirroring/--no-mirroring", help="Average predictions over mirrored images, as nnU-Net does."
        ),
    ] = True,
    tolerance: Annotated[float, typer.Option(help="Of the surface Dice, in mm.")] = 1.0,
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of another finished run, shown beside this one in the answer; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first weights and the batches.")] = 0,
    leave_out: _jobs.LeaveOut = None,
    device: _jobs.Device = "cpu",
    until: _jobs.Until = "report",
    workers: _jobs.Workers = None,
    gpus: _jobs.Gpus = None,
    gpus_per_training: _jobs.GpusPerTraining = 1,
    executor: _jobs.ExecutorName = "local",
    slurm_partition: _jobs.SlurmPartition = None,
    slurm_time: _jobs.SlurmTime = None,
    slurm_option: _jobs.SlurmOption = None,
    retries: _jobs.Retries = 1,
    dry_run: _jobs.DryRun = False,
    as_json: _jobs.AsJson = False,
) -> None:
    """Train losses through nnU-Net v2 on a data set, and report whether one helps.

    Models are compared on the test part (imagesTs and labelsTs), or by cross-validation where there is none.
    """
    check_packages("compare", "nnunetv2", "matplotlib", "jinja2", "submitit", extra="nnunet")
    from surfloss import _check
    from surfloss.nnunet.experiments import comparison, find_losses
    from surfloss.nnunet.raw_dataset import has_test_part, is_planar
    from surfloss.nnunet.report import write_report
    from surfloss.nnunet.run_folder import RunFolder, read_run

    where = _jobs.Where(executor, workers, gpus, slurm_partition, slurm_time, slurm_option or [])
    with exit_on_bad_input():
        chosen = find_losses(_names(losses))
        others = [read_run(folder) for folder in beside or ()]
        planar = is_planar(dataset, leave_out or ())
        names = _names(configurations) if configurations else ["2d" if planar else "3d_fullres"]
        if planar and names != ["2d"]:
            _check.fail("configurations", ", ".join(names), "2d for images of one slice")
        experiment = comparison(
            chosen,
            names,
            ensemble,
            has_test=has_test_part(dataset),
            folds=folds,
            epochs=epochs,
            iterations=iterations,
            validation_iterations=validation_iterations,
            save_every=max(1, min(50, epochs // 5)),
            initial_lr=_check.positive("learning_rate", learning_rate),
            momentum=_check.not_negative("momentum", momentum),
            base_features=features,
            batch_size_2d=batch_size_2d,
            batch_size_3d=batch_size_3d,
            memory_gb=memory,
            mirroring=mirroring,
            tolerance=_check.not_negative("tolerance", tolerance),
            seed=seed,
        )
        run = RunFolder(out, experiment, dataset, device, gpus_per_training, leave_out or ())
        if not _jobs.do_jobs(run, until, where, retries, dry_run, as_json):
            return
        if others:
            write_report(run, others)
    _jobs.print_tables(run, as_json)


def _names(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]
