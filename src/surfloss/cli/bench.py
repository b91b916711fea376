"""`surfloss bench`: distance transforms and losses beside other libraries, on this machine."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from surfloss._check import fail
from surfloss._files import write_text
from surfloss._render import printable
from surfloss.cli._terminal import (
    PICTURES,
    Console,
    check_outputs,
    exit_on_bad_input,
    progress_bars,
    say,
    stop,
    three_numbers,
)

if TYPE_CHECKING:
    from surfloss.bench.contestants import Contestant
    from surfloss.bench.result import Result
    from surfloss.bench.workloads import Workload

_TITLES = {
    "edt": "Two-sided distance transform",
    "loss": "Hausdorff loss, batch of 2, forward and backward",
    "contour": "Contour loss, batch of 2, forward and backward",
}
_WIDE = 130


def bench(
    tasks: Annotated[
        list[str] | None, typer.Argument(metavar="[edt] [loss]", help="What to compare; without it both.")
    ] = None,
    sizes: Annotated[
        list[str] | None, typer.Option("--size", metavar="Z,Y,X", help="Size of a volume; repeatable.")
    ] = None,
    masks: Annotated[
        list[str] | None,
        typer.Option(
            "--mask",
            metavar="MASK",
            help="blobs, noise, corner, random; diagonal, stripes, walls, points; repeatable.",
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
        str | None, typer.Option(help="Backends of surfloss, the baseline first; without it the fastest.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="For all that can be told; without it PyTorch's number.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="To time a row for, shared by all; slow ones may need more.")
    ] = 4,
    quick: Annotated[
        bool, typer.Option("--quick", help="A first impression: small volumes, few repeats.")
    ] = False,
    json_out: Annotated[
        Path | None,
        typer.Option("--json", metavar="OUT", help="Write all numbers; a folder gets DEVICE-MACHINE.json."),
    ] = None,
    plot_out: Annotated[
        Path | None,
        typer.Option("--plot", metavar="OUT", help="Draw them; a folder gets DEVICE-MACHINE.png."),
    ] = None,
    measured: Annotated[
        Path | None,
        typer.Option("--from", metavar="JSON", help="Show what --json wrote instead of measuring."),
    ] = None,
) -> None:
    """Time the two-sided distance transform and the Hausdorff loss beside other libraries.

    Runs are interleaved. A contestant is timed on an input only after it gave the reference's answer on it.

    A row has the median, its spread, and how many times as long as surfloss the others took. Ctrl-C ends the
    run and keeps the rows that are done.
    """
    if plot_out is not None and importlib.util.find_spec("matplotlib") is None:
        stop("plot: got no matplotlib, wanted it installed: pip install 'surfloss[bench]'")
    if measured is not None and any((tasks, sizes, masks, files, peers, backends, threads, quick)):
        stop(f"from: got {measured} and what to measure, wanted one of them")
    with exit_on_bad_input():
        from surfloss.bench.contestants import choose
        from surfloss.bench.result import Result

        _check_outputs(json_out, plot_out, [*(files or ()), *([measured] if measured else [])])
        if measured is not None:
            result = Result.read(measured)
        else:
            _check_device(device)
            plan = _plan(tasks or [], sizes or [], masks or [], spacing, files or [], quick, device)
            contestants = choose(None if peers is None else _names(peers), _names(backends or ""), device)
            result = _measure(plan, contestants, threads, min(seconds, 1) if quick else seconds)
        _print(result)
        _write(result, json_out, plot_out)
    if result.interrupted:
        say(f"Interrupted after {len(result.rows)} rows")
        raise typer.Exit(130)


def _check_outputs(json_out: Path | None, plot_out: Path | None, inputs: list[Path]) -> None:
    for option, out in (("json", json_out), ("plot", plot_out)):
        if out is not None and not out.parent.is_dir():
            fail(option, out, "a path in a folder that exists")
    if plot_out is not None and not plot_out.is_dir() and plot_out.suffix not in PICTURES:
        fail("plot", plot_out, f"a folder or a file ending in {', '.join(PICTURES)}")
    check_outputs(_inside(json_out, ".json"), _inside(plot_out, ".png"), inputs=inputs)


def _inside(out: Path | None, name: str) -> Path | None:
    """The file of that name where the output is a folder."""
    return out / name if out is not None and out.is_dir() else out


def _check_device(device: str) -> None:
    import torch

    if device not in ("cpu", "cuda"):
        fail("device", repr(device), "cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        fail("device", "'cuda'", f"a GPU: PyTorch {torch.__version__} sees none")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip() not in ("", "none")]


def _plan(
    tasks: list[str],
    sizes: list[str],
    masks: list[str],
    spacing: str,
    files: list[Path],
    quick: bool,
    device: str,
) -> list[Workload]:
    from surfloss.bench import workloads

    for task in tasks:
        if task not in workloads.TASKS:
            fail("task", repr(task), "edt, loss, or both")
    if sizes or masks or files:
        volumes = [three_numbers("size", size, int) for size in sizes]
        plan = workloads.named(volumes, masks, three_numbers("spacing", spacing, float), files)
    elif device == "cpu":
        plan = workloads.quick() if quick else workloads.full()
    else:
        plan = workloads.gpu_quick() if quick else workloads.gpu()
    return [workload for workload in plan if not tasks or workload.task in tasks]


def _measure(
    plan: list[Workload], contestants: list[Contestant], threads: int | None, seconds: float
) -> Result:
    import torch

    from surfloss.bench.run import compare

    threads = torch.get_num_threads() if threads is None else threads
    for option, number in (("threads", threads), ("seconds", seconds)):
        if not 0 < number < math.inf:
            fail(option, number, "a number above 0")
    with progress_bars() as display:
        bar = display.add_task("", total=len(plan))
        return compare(
            plan,
            contestants,
            threads=threads,
            seconds=seconds,
            notice=lambda text: display.update(bar, description=printable(text)),
            keep=lambda _: display.advance(bar),
        )


def _write(result: Result, json_out: Path | None, plot_out: Path | None) -> None:
    # A folder has whole runs: an interrupted one stands beside them.
    stem = result.machine.slug + ("-interrupted" if result.interrupted else "")
    if (path := _inside(json_out, f"{stem}.json")) is not None:
        write_text(path, json.dumps(result.to_dict(), indent=1, allow_nan=False) + "\n")
        say(f"Written to {path}")
    if (path := _inside(plot_out, f"{stem}.png")) is not None:
        from surfloss.bench.plot import draw

        draw(result, path)
        say(f"Written to {path}")


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
        if console.width < _WIDE:  # time over ratio, size over spacing
            body = [[re.sub(", | (?=@)", "\n", text) for text in row] for row in body]
        shown = ""
        for size, *rest in body:
            table.add_row("" if size == shown else size, *rest)
            shown = size
        console.print(table)
        console.print()
    for name in result.present():
        if any(name in row.results for row in result.rows):
            console.print(f"{name}: {result.contestants[name].computes}")
    for line in report.notes(result):
        console.print(line)
