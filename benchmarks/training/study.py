"""`python -m benchmarks.training.study COMMAND`: run the study, from trainings to tables. It can be resumed.

`strength` measures the gradient ratio of each term. `run` trains the missing runs of a plan, writes one file
per run into the plan's folder, and evaluates the validation part. `test` evaluates the test part, after the
choice. `report` makes tables and plots from these files, and `document` fills the tables of the pages.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import Progress

from benchmarks import documents
from benchmarks.training import (
    costs,
    data,
    decision,
    errors,
    first_study,
    pictures,
    second_study,
    strength,
    summary,
)
from benchmarks.training.configurations import Configuration, Plan, weight_of
from benchmarks.training.data import TrainingCase
from benchmarks.training.network import UNet
from benchmarks.training.tasks import TASKS
from benchmarks.training.train import measure, segment, train
from surfloss._files import write_text, written_whole

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "training"
PAGES = [ROOT / "docs" / f"{name}.md" for name in ("choosing", "study-tables", "first-study")]
PLANS: dict[str, Plan] = {**first_study.PLANS, **second_study.PLANS}

PlanName = Annotated[str, typer.Argument(help=f"{', '.join(PLANS)}.")]
Only = Annotated[list[str] | None, typer.Option(help="Name of a configuration; repeatable.")]
Seeds = Annotated[list[int] | None, typer.Option(help="A seed; repeatable. Default: the plan's seeds.")]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data", help="Folder with hippocampus and nuclei; see benchmarks/training/README.md."),
]
Out = Annotated[Path, typer.Option(help="Folder for the results; each plan has its own folder in it.")]

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def main() -> None:
    """The study of surface losses."""
    torch.set_num_threads(1)


@app.command("strength")
def measure_strength(
    task: Annotated[str, typer.Argument(help="hemorrhage, hippocampus or nuclei.")],
    folder: DataFolder = None,
    out: Out = RESULTS,
) -> None:
    """Measure the gradient ratios of all terms at weight 1, from which a plan's weights are computed."""
    if task not in TASKS:
        raise typer.BadParameter(f"got {task!r}, wanted one of {', '.join(TASKS)}")
    facts = strength.measured(task, _load(task, "train", folder))
    write_text(strength.path_of(out, task), json.dumps(facts) + "\n")
    for title, median in facts["median"].items():
        typer.echo(f"{title}: {median:.4g}")


@app.command("errors")
def look_at_errors(
    task: Annotated[str, typer.Argument(help="hemorrhage, hippocampus or nuclei.")],
    folder: DataFolder = None,
    out: Out = RESULTS,
) -> None:
    """Analyse the errors of Dice + CE on the validation part, with the networks of the selection plan."""
    plan = f"{task}-selection"
    configuration, settings = _configurations(plan)[0], TASKS[task]
    paths = sorted((out / plan).glob(path_of(configuration, 0, Path()).name.replace(".0.json", ".*.pt")))
    if not paths:
        raise typer.BadParameter(f"no network in {out / plan}: `run {plan}` first")
    cases, predictions = _load(task, "validation", folder), []
    for path in paths:
        network = UNet(settings.network)
        network.load_state_dict(torch.load(path, weights_only=True))
        predictions += [segment(network, case, settings.window or settings.patch) for case in cases]
    facts = errors.analysed(predictions, cases * len(paths), settings)
    write_text(out / "errors" / f"{task}.json", json.dumps(facts) + "\n")
    typer.echo(errors.table(facts), nl=False)


@app.command("costs")
def measure_costs(
    threads: Annotated[int, typer.Option(help="Threads per operation.")] = 2,
    seconds: Annotated[float, typer.Option(help="Minimum time per batch size.")] = 20.0,
    out: Out = RESULTS,
) -> None:
    """Time forward and backward of every loss, relative to Dice + CE."""
    facts = costs.measured(threads, seconds)
    write_text(costs.path_of(out), json.dumps(facts, indent=1) + "\n")
    typer.echo(costs.table(facts))


@app.command("why")
def draw_why(
    folder: Annotated[Path, typer.Argument(help="Folder for the pictures.")] = ROOT / "docs" / "pictures",
    out: Out = RESULTS,
) -> None:
    """Draw where and how strongly terms act (`strength`), and where Dice + CE errs (`errors`)."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((out / "strength").glob("*.json")):
        pictures.draw_strength(
            json.loads(path.read_text(encoding="utf-8")), folder / f"strength-{path.stem}.png"
        )
    found = {
        p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted((out / "errors").glob("*.json"))
    }
    if found:
        pictures.draw_errors(found, folder / "errors.png")


@app.command()
def run(
    plan: PlanName = "exploration",
    seed: Seeds = None,
    only: Only = None,
    folder: DataFolder = None,
    out: Out = RESULTS,
) -> None:
    """Train the missing runs of a plan. A run that was killed restarts; finished runs are kept."""
    (out / plan).mkdir(parents=True, exist_ok=True)
    wanted = _jobs(plan, only, seed)
    weights = {c.name: _weight(c, out) for c, _ in wanted}  # raises all errors before the first training
    cases = {
        volumes: [_load(volumes, part, folder) for part in ("train", "validation")]
        for volumes in {c.volumes for c, _ in wanted}
    }
    missing = [job for job in wanted if not path_of(*job, out / plan).exists()]
    for configuration, number in _tracked(missing, plan):
        path = path_of(configuration, number, out / plan)
        start = time.process_time()
        network, facts = train(
            configuration, weights[configuration.name], number, *cases[configuration.volumes]
        )
        facts["seconds"] = round(time.process_time() - start, 1)
        with written_whole(path.with_suffix(".pt")) as unfinished:
            torch.save(network.state_dict(), unfinished)
        write_text(path, json.dumps(facts) + "\n")


@app.command("test")
def look_at_test(
    plan: PlanName, seed: Seeds = None, only: Only = None, folder: DataFolder = None, out: Out = RESULTS
) -> None:
    """Evaluate the test part with the networks saved by `run`. Do this only once."""
    jobs = [job for job in _jobs(plan, only, seed) if _lacks_test(path_of(*job, out / plan))]
    networks = [path_of(*job, out / plan).with_suffix(".pt") for job in jobs]
    if gone := [path.stem for path in networks if not path.exists()]:
        raise typer.BadParameter(
            f"no network of {', '.join(gone)}: delete their JSON files and `run` them again"
        )
    for configuration, number in _tracked(jobs, f"{plan}, test"):
        path = path_of(configuration, number, out / plan)
        facts = json.loads(path.read_text(encoding="utf-8"))
        task = configuration.task
        network = UNet(task.network)
        network.load_state_dict(torch.load(path.with_suffix(".pt"), weights_only=True))
        cases = _load(configuration.volumes, "test", folder)
        window = task.window or configuration.patch
        labels = [segment(network, case, window) for case in cases]
        facts["test"] = [measure(found, case, task) for found, case in zip(labels, cases, strict=True)]
        if configuration.volumes == "phantom":  # all of one size; for the picture of outlines
            with written_whole(path.with_suffix(".npz")) as unfinished:
                np.savez_compressed(unfinished, masks=np.packbits(np.array(labels) > 0, axis=-1))
        write_text(path, json.dumps(facts) + "\n")


@app.command()
def report(
    plan: PlanName = "exploration",
    out: Out = RESULTS,
    part: Annotated[str, typer.Option(help="validation or test")] = "validation",
    control: Annotated[
        bool, typer.Option("--control", help="Show differences from the control of the same ratio.")
    ] = False,
    curves: Annotated[Path | None, typer.Option(help="Picture of the training curves.")] = None,
    differences: Annotated[
        Path | None, typer.Option(help="Picture of the differences from the baseline.")
    ] = None,
    outlines: Annotated[
        Path | None, typer.Option(help="Picture of phantom test slices, first two configurations.")
    ] = None,
    only: Only = None,
) -> None:
    """Print the table of the finished runs, and draw them."""
    configurations = _configurations(plan, only)
    runs = _runs(configurations, out / plan, part)
    typer.echo(summary.table(runs, part, _reference(control)), nl=False)
    if curves is not None:
        pictures.draw_curves(runs, curves)
    if differences is not None:
        pictures.draw_differences(runs, differences, part)
    if outlines is not None:
        _draw_outlines(configurations[:2], out / plan, outlines)


@app.command()
def document(
    pages: Annotated[list[Path] | None, typer.Argument(help="Pages with blocks to fill.")] = None,
    out: Out = RESULTS,
) -> None:
    """Fill the tables of the documentation from the files of the runs."""
    for page in pages or PAGES:
        write_text(page, filled(page.read_text(encoding="utf-8"), out))


def filled(text: str, folder: Path) -> str:
    """Replace the content of every block `<!-- study: WORDS --> ... <!-- end -->`.

    WORDS are `PLAN PART`, a table of differences from Dice + CE; `PLAN PART control`, differences from the
    controls; `decision PART`; or `costs`.
    """

    def block(words: str) -> str:
        match words.split():
            case ["costs"]:
                return costs.table(json.loads(costs.path_of(folder).read_text(encoding="utf-8")))
            case ["decision", part]:
                return decision.decided(_finals(folder, part), second_study.FINAL, part)
            case [plan, part, *control]:
                runs = _runs(_configurations(plan), folder / plan, part)
                return summary.table(runs, part, _reference(bool(control)))
        raise ValueError(f"study: got {words!r}, wanted PLAN PART, PLAN PART control, decision PART or costs")

    return documents.filled(text, "study", block)


def _finals(folder: Path, part: str) -> dict[str, dict[str, summary.Runs]]:
    """The runs of the final trainings of each data set that has any."""
    plans = {task: f"{task}-final" for task in second_study.FINAL}
    found = {task: _runs(_configurations(plan), folder / plan, part) for task, plan in plans.items()}
    return {task: runs for task, runs in found.items() if runs}


def _reference(control: bool) -> Callable[[str, Mapping[str, summary.Runs]], str | None]:
    return summary.control if control else summary.baseline


def path_of(configuration: Configuration, seed: int, folder: Path) -> Path:
    slug = "".join(c if c.isalnum() or c == "-" else "_" for c in configuration.name.lower())
    return folder / f"{slug}.{seed}.json"


def _jobs(plan: str, only: list[str] | None, seeds: list[int] | None) -> list[tuple[Configuration, int]]:
    """List the runs seed by seed, so that an interrupted plan has all configurations of its first seeds."""
    chosen = _configurations(plan, only)
    return [(c, number) for number in seeds or PLANS[plan].seeds for c in chosen]


def _lacks_test(path: Path) -> bool:
    return path.exists() and "test" not in json.loads(path.read_text(encoding="utf-8"))


def _tracked(jobs: list[tuple[Configuration, int]], title: str) -> Iterator[tuple[Configuration, int]]:
    with Progress() as progress:
        yield from progress.track(jobs, description=title)


def _weight(configuration: Configuration, folder: Path) -> float:
    task = configuration.volumes
    reached = {}
    if configuration.like is not None:
        plan = f"{task}-selection"
        runs = _runs(_configurations(plan), folder / plan, "validation")
        reached = {name: summary.reached(seeds) for name, seeds in runs.items()}
    try:
        return weight_of(configuration, strength.read(folder, task), reached)
    except KeyError:
        wanted = f"`strength {task}`, and for a final plan `run {task}-selection`, first"
        raise typer.BadParameter(f"no weight of {configuration.name!r}: {wanted}") from None


def _load(volumes: str, part: str, folder: Path | None) -> list[TrainingCase]:
    try:
        return data.load(TASKS[volumes].data, part, folder)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _runs(configurations: Sequence[Configuration], folder: Path, part: str) -> dict[str, summary.Runs]:
    runs = summary.read(folder, [configuration.name for configuration in configurations])
    return summary.tested(runs) if part == "test" else runs


def _draw_outlines(configurations: Sequence[Configuration], folder: Path, picture: Path) -> None:
    """Draw the outlines of the first seed for which all configurations were tested."""
    seeds = (set(seeds) for seeds in _runs(configurations, folder, "test").values())
    seed = min(set.intersection(*seeds))
    masks = {}
    for configuration in configurations:
        packed = np.load(path_of(configuration, seed, folder).with_suffix(".npz"))["masks"]
        masks[configuration.name] = np.unpackbits(packed, axis=-1) > 0
    pictures.draw_outlines(data.load(configurations[0].volumes, "test"), masks, picture)


def _configurations(plan: str, only: list[str] | None = None) -> list[Configuration]:
    """The configurations of a plan, or only the named ones."""
    if plan not in PLANS:
        raise typer.BadParameter(f"got {plan!r}, wanted one of {', '.join(PLANS)}")
    configurations = PLANS[plan].configurations
    names = [configuration.name for configuration in configurations]
    if unknown := set(only or ()) - set(names):
        raise typer.BadParameter(f"got {sorted(unknown)}, wanted some of {names}")
    return [configuration for configuration in configurations if not only or configuration.name in only]


if __name__ == "__main__":
    app()
