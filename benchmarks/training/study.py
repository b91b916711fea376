"""`python -m benchmarks.training.study run`, `report`, `document`: the study, resumable, from runs to tables.

`run` trains what is missing of a plan, one file a run in the plan's folder. Configurations are compared on
the validation part; `--test` looks at the test part too, for the runs that are named, once the choice is
made. `report` makes tables and plots of the files alone, and `document` the tables of `docs/choosing.md`.
"""

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import Progress

from benchmarks.training import data, pictures, summary
from benchmarks.training.configurations import PLANS, Configuration
from benchmarks.training.network import UNet
from benchmarks.training.train import measure, segment, train
from surfloss._files import write_text, written_whole

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "training"
PAGE = ROOT / "docs" / "choosing.md"
_BLOCK = re.compile(r"(<!-- study: (\w+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

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
    seed: Annotated[list[int] | None, typer.Option(help="A seed; repeatable. Without it the plan's.")] = None,
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
    jobs = [(c, number) for number in seed or PLANS[plan].seeds for c in chosen]
    jobs = [job for job in jobs if not done(path_of(*job, folder), test)]
    with Progress() as progress:
        for configuration, number in progress.track(jobs, description=plan):
            path = path_of(configuration, number, folder)
            weights = path.with_suffix(".pt")
            if path.exists() and weights.exists():
                facts, network = json.loads(path.read_text(encoding="utf-8")), UNet()
                network.load_state_dict(torch.load(weights, weights_only=True))
            else:
                parts = [data.load(configuration.volumes, part) for part in ("train", "validation")]
                start = time.perf_counter()
                network, facts = train(configuration, number, *parts)
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
    outlines: Annotated[Path | None, typer.Option(help="Picture of test slices, of the first two.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Name of a configuration; repeatable.")] = None,
) -> None:
    """Print the table of the runs that are there, and draw them."""
    configurations = _configurations(plan, only)
    runs = _runs(configurations, folder / plan, part)
    typer.echo(summary.table(runs, part), nl=False)
    if curves is not None:
        pictures.draw_curves(runs, curves)
    if differences is not None:
        pictures.draw_differences(runs, differences, part)
    if outlines is not None:
        _draw_outlines(configurations[:2], folder / plan, outlines)


@app.command()
def document(
    page: Annotated[Path, typer.Argument(help="A page with blocks to fill.")] = PAGE,
    folder: Annotated[Path, typer.Option(help="Its folders of the plans have the runs' files.")] = RESULTS,
) -> None:
    """Make the tables of the documentation's page anew, from the runs' files alone."""
    write_text(page, filled(page.read_text(encoding="utf-8"), folder))


def filled(text: str, folder: Path) -> str:
    """The text with every block `<!-- study: PLAN PART --> ... <!-- end -->` holding that table."""

    def block(found: re.Match[str]) -> str:
        begin, plan, part, end = found.groups()
        return f"{begin}\n{summary.table(_runs(_configurations(plan), folder / plan, part), part)}\n{end}"

    return _BLOCK.sub(block, text)


def _runs(configurations: Sequence[Configuration], folder: Path, part: str) -> dict[str, summary.Runs]:
    runs = summary.read(folder, [configuration.name for configuration in configurations])
    return summary.tested(runs) if part == "test" else runs


def _draw_outlines(configurations: Sequence[Configuration], folder: Path, picture: Path) -> None:
    """Of the first seed that all of them have looked at the test part with."""
    seeds = (set(seeds) for seeds in _runs(configurations, folder, "test").values())
    seed = min(set.intersection(*seeds))
    masks = {}
    for configuration in configurations:
        packed = np.load(_masks_of(path_of(configuration, seed, folder)))["masks"]
        masks[configuration.name] = np.unpackbits(packed, axis=-1) > 0
    pictures.draw_outlines(data.load(configurations[0].volumes, "test"), masks, picture)


def _configurations(plan: str, only: list[str] | None = None) -> list[Configuration]:
    """Those of a plan, or the named ones of it."""
    if plan not in PLANS:
        raise typer.BadParameter(f"got {plan!r}, wanted one of {', '.join(PLANS)}")
    configurations = PLANS[plan].configurations
    names = [configuration.name for configuration in configurations]
    if unknown := set(only or ()) - set(names):
        raise typer.BadParameter(f"got {sorted(unknown)}, wanted some of {names}")
    return [configuration for configuration in configurations if not only or configuration.name in only]


def _masks_of(path: Path) -> Path:
    return path.with_suffix(".npz")


def done(path: Path, test: bool) -> bool:
    return path.exists() and (not test or "test" in json.loads(path.read_text(encoding="utf-8")))


if __name__ == "__main__":
    app()
