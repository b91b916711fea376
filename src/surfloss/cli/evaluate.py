"""`surfloss evaluate`: a folder of predictions against a folder of targets."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from surfloss._check import fail
from surfloss.cli._terminal import (
    Console,
    check_outputs,
    check_packages,
    exit_on_bad_input,
    progress_bars,
    say,
)

if TYPE_CHECKING:
    from surfloss.metrics import FolderEvaluation

_TOLERANCE = (
    "--tolerance MM: surfaces that far apart still count as equal in the surface Dice, and how far that is "
    "depends on the task (INSTANCE2022: --tolerance 0.42)"
)


def evaluate(
    prediction_dir: Annotated[Path, typer.Argument(metavar="PRED_DIR", help="Folder of predicted masks.")],
    target_dir: Annotated[
        Path, typer.Argument(metavar="TARGET_DIR", help="Folder of true masks under the same names.")
    ],
    tolerances: Annotated[
        list[float] | None,
        typer.Option("--tolerance", help="Of the surface Dice in mm; required, repeatable."),
    ] = None,
    percentiles: Annotated[
        list[float] | None,
        typer.Option("--percentile", help="Of the Hausdorff distance, beside 95 and 100; repeatable."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="LABELS",
            help="Evaluate each label: 1,2; with names 1=liver,2=tumor; regions 1+2=whole; all; or the path "
            "of nnU-Net's dataset.json. Without it masks of 0 and 1.",
        ),
    ] = None,
    empty: Annotated[
        str,
        typer.Option(help="Values where one mask is empty or no prediction is there: null, diagonal, worst."),
    ] = "null",
    both_empty: Annotated[
        str, typer.Option(help="Values where both masks are empty: official, perfect, null.")
    ] = "official",
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
        typer.Option(
            metavar="METRIC=X",
            help="Exit with 1 if the mean is below X or null; also METRIC[LABEL]=X; repeatable.",
        ),
    ] = None,
    fail_over: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=X", help="The same above X."),
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
        Path | None, typer.Option("--html", metavar="OUT", help="A report as one HTML page, with pictures.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of images to show below the outlines of the worst cases."),
    ] = None,
) -> None:
    """Evaluate masks (NIfTI, NRRD, MetaImage) with the metrics of INSTANCE2022 and more.

    Undefined values, such as a distance to an empty mask, are counted and left out of the means; in the JSON
    file they are null. A case that cannot be evaluated is null throughout and named with its reason.

    Exits with 1 if a limit is broken, else with 2 if the input is not as it should be, be it a single case.
    """
    from surfloss._files import write_text
    from surfloss.cli import _evaluation
    from surfloss.cli._limits import check_limits, read_limits
    from surfloss.cli._report import report
    from surfloss.metrics import evaluate_folders
    from surfloss.metrics._empty import BothEmptyRule, EmptyRule
    from surfloss.metrics.evaluate import Settings
    from surfloss.metrics.folders import choose_labels

    needed = ["jinja2"] * bool(markdown_out or html_out) + ["matplotlib"] * bool(html_out)
    check_packages("report", *needed, extra="evaluate")
    with exit_on_bad_input():
        if not tolerances:
            fail("tolerance", "none", _TOLERANCE)
        limits = read_limits("--fail-under", fail_under or (), least=True)
        limits += read_limits("--fail-over", fail_over or (), least=False)
        lesions_out = None
        if csv_out is not None and per_lesion:
            lesions_out = csv_out.with_name(f"{csv_out.stem}_lesions{csv_out.suffix}")
        if images is not None and not images.is_dir():
            fail("images", images, "an existing folder")
        outputs = [json_out, csv_out, lesions_out, markdown_out, html_out]
        _check_outputs(outputs, [prediction_dir, target_dir, *([images] if images else [])], labels)
        check_outputs(cache and cache / "case.json")
        settings = Settings(
            tuple(tolerances),
            tuple(percentiles or ()),
            empty=cast(EmptyRule, empty),
            both_empty=cast(BothEmptyRule, both_empty),
        )
        chosen = choose_labels(labels, target_dir, workers)
        check_limits(limits, settings.names, [name for name, _ in chosen.regions] if chosen else [])
        with progress_bars() as display:
            bar = display.add_task("evaluating", total=None)
            result = evaluate_folders(
                prediction_dir,
                target_dir,
                tolerance=tolerances,
                percentiles=percentiles or (),
                labels=chosen,
                empty=settings.empty,
                both_empty=settings.both_empty,
                per_lesion=per_lesion,
                bootstrap=bootstrap,
                seed=seed,
                workers=workers,
                cache=cache,
                progress=lambda case, done, total: display.update(bar, completed=done, total=total),
            )
        # Before the files: a disk that is full hides no result.
        console = Console()
        for table in _evaluation.terminal_tables(result, console.width):
            console.print(table)
        for concerned, problem in result.all_problems():
            say(f"{concerned}: {problem.kind}: {problem.message}")
        about = {
            "Predictions": str(prediction_dir),
            "Targets": str(target_dir),
            "Date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
            "surfloss": version("surfloss"),
            "Command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        }
        files: list[tuple[Path | None, Callable[[], str]]] = [
            (json_out, lambda: _evaluation.as_json(result)),
            (csv_out, lambda: _evaluation.cases_csv(result)),
            (lesions_out, lambda: _evaluation.lesions_csv(result)),
            (markdown_out, lambda: report(result, "evaluation.md.j2", about)),
            (html_out, lambda: _page(result, about, prediction_dir, target_dir, images)),
        ]
        for out, text in files:
            if out is not None:
                write_text(out, text())
    broken = [message for limit in limits if (message := limit.broken_by(result))]
    for message in broken:
        say(message)
    if broken:
        raise typer.Exit(1)
    if not result.is_complete:
        raise typer.Exit(2)


def _check_outputs(outputs: list[Path | None], folders: list[Path], labels: str | None) -> None:
    """Also keep all that is read, and add no case to a folder of cases."""
    from surfloss._volumes import ENDINGS, volumes
    from surfloss.metrics._labels import dataset_of

    inputs = [path for folder in folders if folder.is_dir() for _, path in volumes(folder)]
    check_outputs(*outputs, inputs=filter(None, [*inputs, dataset_of(labels)]))
    for out in filter(None, outputs):
        file = Path(os.path.realpath(out))
        inside = any(file.is_relative_to(os.path.realpath(folder)) for folder in folders)
        if inside and file.name.lower().endswith(ENDINGS):
            fail(str(out), "the name of a case in a folder of cases", "another folder or ending")


def _page(
    result: FolderEvaluation,
    about: dict[str, str],
    prediction_dir: Path,
    target_dir: Path,
    images: Path | None,
) -> str:
    from surfloss._figures import OUTLINES
    from surfloss.cli._pictures import distributions, worst_cases
    from surfloss.cli._report import report

    return report(
        result,
        "evaluation.html.j2",
        about,
        distributions=distributions(result),
        worst=list(worst_cases(result, prediction_dir, target_dir, images)),
        outlines=OUTLINES,
    )
