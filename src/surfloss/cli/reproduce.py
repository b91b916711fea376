"""`surfloss reproduce`: the paper's experiment, from the data to the report."""

from pathlib import Path
from typing import Annotated

import typer

from surfloss.cli import _jobs
from surfloss.cli._terminal import check_packages, exit_on_bad_input, say, stop


def reproduce(
    out: _jobs.Out,
    preset: Annotated[str, typer.Option(help="Size of the experiment: tiny, small or paper.")] = "tiny",
    data: Annotated[
        Path | None, typer.Option(help="INSTANCE2022's folder; without it the preset's phantom.")
    ] = None,
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
    min_dice: Annotated[
        float, typer.Option(help="Exit with 1 if a model's mean Dice on the validation cases is below this.")
    ] = 0.0,
    as_json: _jobs.AsJson = False,
) -> None:
    """Train, predict, evaluate and report the paper's models through nnU-Net v2."""
    check_packages("reproduce", "nnunetv2", "matplotlib", "jinja2", "submitit", extra="nnunet")
    from surfloss.nnunet.experiments import EXPERIMENTS
    from surfloss.nnunet.results import mean_dice
    from surfloss.nnunet.run_folder import RunFolder

    if preset not in EXPERIMENTS:
        stop(f"preset: got {preset!r}, wanted one of {', '.join(EXPERIMENTS)}")
    where = _jobs.Where(executor, workers, gpus, slurm_partition, slurm_time, slurm_option or [])
    with exit_on_bad_input():
        run = RunFolder(out, EXPERIMENTS[preset], data, device, gpus_per_training, leave_out or ())
        if not _jobs.do_jobs(run, until, where, retries, dry_run, as_json):
            return
    _jobs.print_tables(run, as_json)
    if failed := [name for name, dice in mean_dice(run).items() if dice < min_dice]:
        say(f"Mean Dice below {min_dice}: {', '.join(failed)}")
        raise typer.Exit(1)
