"""`python -m benchmarks.training.study run` and `report`: the study, resumable, from runs to tables.

`run` trains what is missing, one file a run. Configurations are compared on the validation part; `--test`
looks at the test part too, for the runs that are named, once the choice is made. `report` makes tables and
plots of the files alone.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import Progress

from benchmarks.training import data, summary
from benchmarks.training.configurations import COLLAPSE, EXPLORATION, Configuration
from benchmarks.training.train import look, train
from surfloss._files import write_text

RESULTS = Path(__file__).parents[1] / "results" / "training"
PLANS = {"exploration": EXPLORATION, "collapse": COLLAPSE}

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def main() -> None:
    """The study of surface losses."""


def path_of(configuration: Configuration, seed: int, folder: Path) -> Path:
    slug = "".join(c if c.isalnum() or c == "-" else "_" for c in configuration.name.lower())
    return folder / f"{slug}.{seed}.json"


@app.command()
def run(
    plan: Annotated[str, typer.Argument(help="exploration or collapse")] = "exploration",
    seeds: Annotated[int, typer.Option(help="Of every configuration.")] = 5,
    first: Annotated[int, typer.Option(help="The first seed.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Name of a configuration; repeatable.")] = None,
    test: Annotated[bool, typer.Option(help="Look at the test part too, after the choice.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the runs' files.")] = RESULTS,
) -> None:
    """Train what is missing."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    chosen = [c for c in PLANS[plan] if not only or c.name in only]
    if unknown := set(only or ()) - {c.name for c in chosen}:
        raise typer.BadParameter(f"got {sorted(unknown)}, wanted some of {[c.name for c in PLANS[plan]]}")
    jobs = [(c, seed) for seed in range(first, first + seeds) for c in chosen]
    jobs = [job for job in jobs if not done(path_of(*job, out), test)]
    if not jobs:
        return
    parts = {part: data.load(part) for part in ("train", "validation", *(["test"] if test else []))}
    with Progress() as progress:
        for configuration, seed in progress.track(jobs, description="training"):
            start = time.perf_counter()
            network, facts = train(configuration, seed, parts["train"], parts["validation"])
            if test:
                facts["test"] = look(network, parts["test"])
            facts["seconds"] = round(time.perf_counter() - start, 1)
            write_text(path_of(configuration, seed, out), json.dumps(facts) + "\n")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of the runs' files.")] = RESULTS,
    part: Annotated[str, typer.Option(help="validation or test")] = "validation",
    plot: Annotated[Path | None, typer.Option(help="Draw the validation curves there.")] = None,
) -> None:
    """Print the table of the runs that are there."""
    runs = summary.read(folder)
    typer.echo(summary.table(runs, part), nl=False)
    if plot is not None:
        summary.draw(runs, plot)


def done(path: Path, test: bool) -> bool:
    return path.exists() and (not test or "test" in json.loads(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    app()
