"""`surfloss bench`: distance transforms and losses beside other libraries, on this machine."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from surfloss._check import fail
from surfloss._files import write_text
from surfloss._render import printable
from surfloss.cli._terminal import (
    Console,
    check_outputs,
    check_picture,
    exit_on_bad_input,
    progress_bars,
    say,
    three_numbers,
)

if TYPE_CHECKING:
    from surfloss.bench.result import Result

_TITLES = {
    "edt": "Two-sided distance transform",
    "labels": "Distance to the nearest voxel of another label",
    "loss": "Hausdorff loss, batch of 2, forward and backward",
    "contour": "Contour loss, batch of 2, forward and backward",
    "ndimage": "SciPy's distance transform, float64",
    "indices": "SciPy's distance transform, indices alone",
}


def bench(
    tasks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TASK]...",
            help="edt, labels, loss, contour, ndimage, indices, or losses; without it edt and loss.",
        ),
    ] = None,
    sizes: Annotated[
        list[str] | None,
        typer.Option("--size", metavar="Z,Y,X", help="Size of a volume, 16,320,320 without it; repeatable."),
    ] = None,
    masks: Annotated[
        list[str] | None,
        typer.Option(
            "--mask",
            metavar="MASK",
            help="blobs, noise, corner or random; for labels 2 cells, 50 cells or 5000 cells; repeatable.",
        ),
    ] = None,
    spacing: Annotated[
        str, typer.Option(metavar="Z,Y,X", help="mm of --size and --mask; losses are compared in voxels.")
    ] = "1,1,1",
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--file",
            help="Mask (NIfTI, NRRD, MetaImage), nonzero is foreground, at its own spacing; repeatable.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    peers: Annotated[
        str | None,
        typer.Option(
            help="edt,simpleitk,scipy,monai, on a GPU cupyx,cucim,monai,scipy: some of them, or none; "
            "without it all."
        ),
    ] = None,
    backends: Annotated[
        str | None,
        typer.Option(
            help="Backends of surfloss, as cpu or cpu:avx2, the baseline first; without it the fastest."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="For all that can be told; without it PyTorch's number.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="To time a row for, shared by all; slow ones may need more.")
    ] = 4,
    quick: Annotated[
        bool, typer.Option("--quick", help="A first impression: a small volume, few repeats.")
    ] = False,
    json_out: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all numbers.")
    ] = None,
    plot_out: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw them.")] = None,
) -> None:
    """Time the two-sided distance transform and surface losses beside other libraries.

    Runs are interleaved. A contestant is timed on an input only after it gave the reference's answer on it.

    A row has the median, its spread, and how many times as long as surfloss the others took. Ctrl-C ends the
    run and keeps the rows that are done.
    """
    with exit_on_bad_input():
        import torch

        from surfloss.bench import workloads
        from surfloss.bench.contestants import choose
        from surfloss.bench.run import compare

        check_picture("plot", plot_out, extra="bench")
        check_outputs(json_out, plot_out, inputs=files or ())
        threads = torch.get_num_threads() if threads is None else threads
        for option, number in (("threads", threads), ("seconds", seconds)):
            if not 0 < number < math.inf:
                fail(option, number, "a number above 0")
        if device not in ("cpu", "cuda"):
            fail("device", repr(device), "cpu or cuda")
        if device == "cuda" and not torch.cuda.is_available():
            fail("device", "'cuda'", f"a GPU: PyTorch {torch.__version__} sees none")
        if tasks == ["losses"]:
            unused = {"mask": masks, "file": files, "peers": peers, "backends": backends, "plot": plot_out}
            for option, value in unused.items():
                if value is not None:
                    fail(option, value, "no such option beside losses")
            if device != "cpu":
                fail("device", repr(device), "cpu: losses are measured there")
            _losses([three_numbers("size", size, int) for size in sizes or ()], threads, seconds, json_out)
            return
        if not (sizes or files):
            sizes = ["16,96,96" if quick else "16,320,320"]
        volumes = [three_numbers("size", size, int) for size in sizes or ()]
        mm = three_numbers("spacing", spacing, float)
        plan = workloads.named(tasks or ["edt", "loss"], volumes, masks or (), mm, files or ())
        contestants = choose(None if peers is None else _names(peers), _names(backends or ""), device)
        with progress_bars() as display:
            bar = display.add_task("", total=len(plan))
            result = compare(
                plan,
                contestants,
                threads=threads,
                seconds=min(seconds, 1) if quick else seconds,
                notice=lambda text: display.update(bar, description=printable(text)),
                keep=lambda _: display.advance(bar),
            )
        _print(result)
        if json_out is not None:
            write_text(json_out, json.dumps(result.to_dict(), indent=1, allow_nan=False) + "\n")
        if plot_out is not None:
            from surfloss.bench.plot import draw

            draw(result, plot_out)
    if result.interrupted:
        say(f"Interrupted after {len(result.rows)} rows")
        raise typer.Exit(130)


def _losses(sizes: list[tuple[int, ...]], threads: int, seconds: float, json_out: Path | None) -> None:
    """What every loss costs, of two items and two classes at these sizes or else at the usual ones."""
    from surfloss.bench import losses

    batches = tuple(losses.Batch(2, 2, size) for size in sizes) or losses.BATCHES
    with progress_bars() as display:
        bar = display.add_task("", total=None)
        costs = losses.measure(
            batches,
            threads=threads,
            seconds=seconds * len(losses.LOSSES) / 2,
            notice=lambda text: display.update(bar, description=printable(text)),
        )
    head, body = losses.table(costs)
    table = Table(*head, title="Forward and backward, beside Dice + CE", box=None, pad_edge=False)
    for row in body:
        table.add_row(*map(escape, row))
    console = Console()
    console.print(table)
    console.print("memory: peak in tensors of the logits' size, the gradient among it")
    if json_out is not None:
        write_text(json_out, json.dumps(costs.to_dict(), indent=1, allow_nan=False) + "\n")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip() not in ("", "none")]


def _print(result: Result) -> None:
    from surfloss.bench import report

    console = Console()
    for task, title in _TITLES.items():
        head, body = report.times(result, task)
        if not body:
            continue
        table = Table(*head, title=title, box=None, pad_edge=False)
        for column in table.columns[2:]:
            column.justify = "right"
        for row in body:
            table.add_row(*row)
        console.print(table, "")
    for name in result.present():
        if any(name in row.results for row in result.rows):
            console.print(f"{name}: {result.contestants[name].computes}")
    for line in report.notes(result):
        console.print(line)
