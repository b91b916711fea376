"""`python -m benchmarks.training.study run` and `report`: the study, resumable, from runs to tables.

`run` trains what is missing of a plan, one file a run in the plan's folder. Configurations are compared on
the validation part; `--test` looks at the test part too, for the runs that are named, once the choice is
made. `report` makes tables and plots of the files alone.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import Progress

from benchmarks.training import data, pictures, summary
from benchmarks.training.configurations import (
    BRAIN,
    COLLAPSE,
    CONFIRMATION,
    EXPLORATION,
    Configuration,
)
from benchmarks.training.network import UNet
from benchmarks.training.train import measure, segment, train
from surfloss._files import write_text, written_whole

RESULTS = Path(__file__).parents[1] / "results" / "training"
PLANS = {"exploration": EXPLORATION, "confirmation": CONFIRMATION, "collapse": COLLAPSE, "brain": BRAIN}

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def main() -> None:
    """The study of surface losses."""


def path_of(configuration: Configuration, seed: int, folder: Path) -> Path:
    slug = "".join(c if c.isalnum() or c == "-" else "_" for c in configuration.name.lower())
    return folder / f"{slug}.{seed}.json"


@app.command()
def run(
    plan: Annotated[str, typer.Argument(help=f"{', '.join(PLANS)}.")] = "exploration",
    seeds: Annotated[int, typer.Option(help="Of every configuration.")] = 5,
    first: Annotated[int, typer.Option(help="The first seed.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Name of a configuration; repeatable.")] = None,
    test: Annotated[bool, typer.Option(help="Look at the test part too, after the choice.")] = False,
    out: Annotated[Path, typer.Option(help="Its folder of that plan takes the runs' files.")] = RESULTS,
) -> None:
    """Train what is missing of a plan.

    The networks stay beside the files, and are not trained again for `--test`.
    """
    torch.set_num_threads(1)
    folder = out / plan
    folder.mkdir(parents=True, exist_ok=True)
    chosen = _configurations(plan, only)
    jobs = [(c, seed) for seed in range(first, first + seeds) for c in chosen]
    jobs = [job for job in jobs if not done(path_of(*job, folder), test)]
    with Progress() as progress:
        for configuration, seed in progress.track(jobs, description="training"):
            path = path_of(configuration, seed, folder)
            weights = path.with_suffix(".pt")
            if path.exists() and weights.exists():
                facts, network = json.loads(path.read_text(encoding="utf-8")), UNet()
                network.load_state_dict(torch.load(weights, weights_only=True))
            else:
                parts = [data.load(configuration.volumes, part) for part in ("train", "validation")]
                start = time.perf_counter()
                network, facts = train(configuration, seed, *parts)
                facts["seconds"] = round(time.perf_counter() - start, 1)
                with written_whole(weights) as unfinished:
                    torch.save(network.state_dict(), unfinished)
            if test:
                volumes = data.load(configuration.volumes, "test")
                masks = [segment(network, volume, configuration.patch) for volume in volumes]
                facts["test"] = [measure(mask, volume) for mask, volume in zip(masks, volumes, strict=True)]
                with written_whole(_masks_of(path)) as unfinished:
                    np.savez_compressed(unfinished, masks=np.packbits(masks, axis=-1))
            write_text(path, json.dumps(facts) + "\n")


@app.command()
def report(
    plan: Annotated[str, typer.Argument(help=f"{', '.join(PLANS)}.")] = "exploration",
    folder: Annotated[Path, typer.Option(help="Its folder of that plan has the runs' files.")] = RESULTS,
    part: Annotated[str, typer.Option(help="validation or test")] = "validation",
    curves: Annotated[Path | None, typer.Option(help="Picture of the training curves.")] = None,
    differences: Annotated[
        Path | None, typer.Option(help="Picture of the distances from the baseline.")
    ] = None,
    outlines: Annotated[
        Path | None, typer.Option(help="Picture of test slices, of the first two named.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Name of a configuration; repeatable.")] = None,
) -> None:
    """Print the table of the runs that are there."""
    named = [c.name for c in _configurations(plan, only)]
    runs = summary.read(folder / plan, named)
    if part == "test":
        runs = summary.tested(runs)
    typer.echo(summary.table(runs, part), nl=False)
    if curves is not None:
        pictures.draw_curves(runs, curves)
    if differences is not None:
        pictures.draw_differences(runs, differences, part)
    if outlines is not None:
        configurations = {c.name: c for c in PLANS[plan]}
        seed = min(set.intersection(*(set(runs[name]) for name in named[:2])))
        files = {name: _masks_of(path_of(configurations[name], seed, folder / plan)) for name in named[:2]}
        masks = {name: np.unpackbits(np.load(path)["masks"], axis=-1) > 0 for name, path in files.items()}
        pictures.draw_outlines(data.load(configurations[named[0]].volumes, "test"), masks, outlines)


def _configurations(plan: str, only: list[str] | None) -> list[Configuration]:
    """Those of a plan, or the named ones of it."""
    if plan not in PLANS:
        raise typer.BadParameter(f"got {plan!r}, wanted one of {', '.join(PLANS)}")
    if unknown := set(only or ()) - {c.name for c in PLANS[plan]}:
        raise typer.BadParameter(f"got {sorted(unknown)}, wanted some of {[c.name for c in PLANS[plan]]}")
    return [c for c in PLANS[plan] if not only or c.name in only]


def _masks_of(path: Path) -> Path:
    return path.with_suffix(".npz")


def done(path: Path, test: bool) -> bool:
    return path.exists() and (not test or "test" in json.loads(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    app()
