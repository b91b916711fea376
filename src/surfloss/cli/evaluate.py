"""`surfloss evaluate`: a folder of predictions against a folder of targets."""

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from surfloss.cli._terminal import exit_on_bad_input, progress_bars, stop


def evaluate(
    prediction_dir: Annotated[Path, typer.Argument(metavar="PRED_DIR", help="Folder of predicted masks.")],
    target_dir: Annotated[
        Path, typer.Argument(metavar="TARGET_DIR", help="Folder of true masks under the same names.")
    ],
    tolerances: Annotated[
        list[float] | None,
        typer.Option("--tolerance", help="Of the surface Dice in mm, 0.42 if none is given; repeatable."),
    ] = None,
    percentiles: Annotated[
        list[float] | None,
        typer.Option("--percentile", help="Of the Hausdorff distance, beside 95 and 100; repeatable."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="1,2,...", help="Evaluate each of these labels; without it masks of 0 and 1."),
    ] = None,
    per_lesion: Annotated[
        bool, typer.Option("--per-lesion", help="List every lesion, with surface Dice and distance.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes that share the cases.")] = 1,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep finished cases here, so that an interrupted run goes on."),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(help="Samples of the means' confidence intervals; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=X", help="Exit with 1 if the mean is below X or null; repeatable."),
    ] = None,
    fail_over: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=X", help="Exit with 1 if the mean is above X or null; repeatable."),
    ] = None,
    json_out: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write all values of all cases to this file.")
    ] = None,
    csv_out: Annotated[
        Path | None,
        typer.Option("--csv", metavar="OUT", help="A line a case; with --per-lesion also OUT_lesions.csv."),
    ] = None,
    markdown_out: Annotated[
        Path | None, typer.Option("--markdown", metavar="OUT", help="A report in Markdown.")
    ] = None,
    html_out: Annotated[
        Path | None, typer.Option("--html", metavar="OUT", help="A report as one HTML page.")
    ] = None,
) -> None:
    """Evaluate masks (.nii.gz, .nii, .nrrd, .mha) with the metrics of INSTANCE2022 and more.

    Undefined values, such as a distance to an empty mask, are counted and left out of the means; in the JSON
    file they are null. A case that cannot be evaluated is null throughout and named with its reason.

    Exits with 1 if a limit is broken, else with 2 if the input is not as it should be, be it a single case.
    """
    from surfloss._files import write_text
    from surfloss.cli import _evaluation
    from surfloss.metrics import evaluate_folders

    if (markdown_out or html_out) and importlib.util.find_spec("jinja2") is None:
        stop("report: got no jinja2, wanted it installed: pip install 'surfloss[evaluate]'")
    with exit_on_bad_input():
        limits = [_limit("--fail-under", text) for text in fail_under or ()]
        ceilings = [_limit("--fail-over", text) for text in fail_over or ()]
        with progress_bars() as display:
            bar = display.add_task("evaluating", total=None)
            result = evaluate_folders(
                prediction_dir,
                target_dir,
                tolerance=tolerances or 0.42,
                percentiles=percentiles or (),
                labels=None if labels is None else _numbers(labels),
                per_lesion=per_lesion,
                bootstrap=bootstrap,
                seed=seed,
                workers=workers,
                cache=cache,
                progress=lambda case, done, total: display.update(bar, completed=done, total=total),
            )

        def report(template: str) -> str:
            return _evaluation.report(result, prediction_dir, target_dir, template)

        outputs: list[tuple[Path | None, Callable[[], str]]] = [
            (json_out, lambda: _evaluation.as_json(result)),
            (csv_out, lambda: _evaluation.cases_csv(result)),
            (markdown_out, lambda: report("evaluation.md.j2")),
            (html_out, lambda: report("evaluation.html.j2")),
        ]
        if csv_out is not None and per_lesion:
            lesions_out = csv_out.with_name(f"{csv_out.stem}_lesions{csv_out.suffix}")
            outputs.append((lesions_out, lambda: _evaluation.lesions_csv(result)))
        for out, text in outputs:
            if out is not None:
                write_text(out, text())
        for name, _ in limits + ceilings:
            if name not in result["summary"]:
                raise ValueError(f"limit: got {name!r}, wanted one of {', '.join(result['summary'])}")
    console = Console()
    for table in _evaluation.terminal_tables(result, console.width):
        console.print(table)
    for case, kind, message in _evaluation.problems(result):
        typer.echo(f"{case}: {kind}: {message}", err=True)
    _exit(result, limits, ceilings)


def _exit(result: dict[str, Any], limits: list[tuple[str, float]], ceilings: list[tuple[str, float]]) -> None:
    means = {name: values["mean"] for name, values in result["summary"].items()}
    broken = [f"{name} {means[name]}, wanted at least {limit}" for name, limit in limits
              if means[name] is None or means[name] < limit]  # fmt: skip
    broken += [f"{name} {means[name]}, wanted at most {limit}" for name, limit in ceilings
               if means[name] is None or means[name] > limit]  # fmt: skip
    for line in broken:
        typer.echo(f"Mean {line}", err=True)
    if broken:
        raise typer.Exit(1)
    if any(row["problem"] for row in result["cases"]):
        raise typer.Exit(2)


def _limit(option: str, text: str) -> tuple[str, float]:
    name, _, limit = text.partition("=")
    try:
        if math.isfinite(float(limit)):
            return name, float(limit)
    except ValueError:
        pass
    raise ValueError(f"{option}: got {text!r}, wanted METRIC=NUMBER")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"labels: got {text!r}, wanted whole numbers with commas between") from None
