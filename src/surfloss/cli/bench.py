"""`surfloss bench`: distance transforms and losses beside other libraries, on this machine."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from surfloss._render import printable
from surfloss.cli._terminal import (
    PICTURES,
    Console,
    check_outputs,
    exit_on_bad_input,
    progress_bars,
    say,
    stop,
)

if TYPE_CHECKING:
    from surfloss.bench.peers import Contestant
    from surfloss.bench.plan import Cell

_TITLES = {
    "edt": "Two-sided distance transform",
    "loss": "Hausdorff loss, batch of 2, forward and backward",
    "contour": "Contour loss, batch of 2, forward and backward",
    "scaling": "Slope of log time over log voxels",
    "memory": "Peak memory beyond the input, in float32 volumes",
    "accuracy": "Largest relative difference from the reference",
    "floor": "Time as a multiple of moving 5 bytes a voxel",
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
    memory: Annotated[
        bool, typer.Option("--memory", help="Measure the peak memory of what is named (Linux).")
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
    for option, out in (("json", json_out), ("plot", plot_out)):
        if out is not None and not out.parent.is_dir():
            stop(f"{option}: got {out}, wanted a path in a folder that exists")
    if plot_out is not None and not plot_out.is_dir() and plot_out.suffix not in PICTURES:
        stop(f"plot: got {plot_out}, wanted a folder or a file ending in {', '.join(PICTURES)}")
    if measured is not None and any((tasks, sizes, masks, files, peers, backends, threads, quick, memory)):
        stop(f"from: got {measured} and what to measure, wanted one of them")
    with exit_on_bad_input():
        check_outputs(
            *(
                out / ending if out is not None and out.is_dir() else out
                for out, ending in ((json_out, ".json"), (plot_out, ".png"))
            ),
            inputs=[*(files or ()), *([] if measured is None else [measured])],
        )
        if measured is not None:
            result = _read(measured)
        else:
            _check_device(device)
            plan = _plan(tasks or [], sizes or [], masks or [], spacing, files or [], memory, quick, device)
            contestants = _contestants(peers, backends, device)
            result = _measure(plan, contestants, threads, min(seconds, 1) if quick else seconds)
        _print(result)
        for path in _write(result, json_out, plot_out):
            say(f"Written to {path}")
    if result.get("interrupted"):
        say(f"Interrupted after {len(result['cells'])} rows")
        raise typer.Exit(130)


def _check_device(device: str) -> None:
    import torch

    if device not in ("cpu", "cuda"):
        raise ValueError(f"device: got {device!r}, wanted cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device: got 'cuda', wanted a GPU: PyTorch {torch.__version__} sees none")


def _plan(
    tasks: list[str],
    sizes: list[str],
    masks: list[str],
    spacing: str,
    files: list[Path],
    memory: bool,
    quick: bool,
    device: str,
) -> list[Cell]:
    from surfloss.bench import plan

    for task in tasks:
        if task not in plan.TASKS:
            raise ValueError(f"task: got {task!r}, wanted edt, loss, or both")
    if sizes or masks or files:
        volumes = [_numbers("size", size, int) for size in sizes]
        cells = plan.named(volumes, masks, _numbers("spacing", spacing, float), files, memory)
    elif device == "cpu":
        cells = plan.quick() if quick else plan.full()
    else:
        cells = plan.gpu_quick() if quick else plan.gpu()
    return [cell for cell in cells if not tasks or cell.task in tasks]


def _contestants(peers: str | None, backends: str | None, device: str) -> list[Contestant]:
    from surfloss.bench.peers import choose

    def names(text: str) -> list[str]:
        return [name.strip() for name in text.split(",") if name.strip() not in ("", "none")]

    return choose(None if peers is None else names(peers), names(backends or ""), device)


def _measure(
    plan: list[Cell], contestants: list[Contestant], threads: int | None, seconds: float
) -> dict[str, Any]:
    import torch

    from surfloss.bench.run import compare

    threads = torch.get_num_threads() if threads is None else threads
    if threads < 1:
        raise ValueError(f"threads: got {threads}, wanted a number above 0")
    if not 0 < seconds < float("inf"):
        raise ValueError(f"seconds: got {seconds}, wanted a number above 0")
    with progress_bars() as display:
        bar = display.add_task("", total=len(plan))

        def advancing() -> Iterator[Cell]:
            for cell in plan:
                yield cell
                display.advance(bar)

        return compare(
            advancing(),
            contestants,
            threads=threads,
            seconds=seconds,
            notice=lambda text: display.update(bar, description=printable(text)),
        )


def _numbers(option: str, text: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
    try:
        numbers = tuple(kind(part) for part in re.split("[,x]", text))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not all(0 < number < float("inf") for number in numbers):
        noun = "whole numbers" if kind is int else "numbers"
        raise ValueError(f"{option}: got {text!r}, wanted three {noun} z,y,x above 0 with commas between")
    return numbers


def _read(path: Path) -> dict[str, Any]:
    from surfloss.bench.run import FORMAT

    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if result["format"] == FORMAT:
            return result
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"from: got {path}, wanted a file that `surfloss bench --json` wrote")


def _write(result: dict[str, Any], json_out: Path | None, plot_out: Path | None) -> Iterator[Path]:
    from surfloss._files import write_text
    from surfloss.bench.machine import slug

    # A folder has whole runs: an interrupted one stands beside them.
    part = "-interrupted" if result.get("interrupted") else ""

    def inside(out: Path, ending: str) -> Path:
        return out / f"{slug(result['machine'])}{part}{ending}" if out.is_dir() else out

    if json_out is not None:
        path = inside(json_out, ".json")
        write_text(path, json.dumps(result, indent=1, allow_nan=False) + "\n")
        yield path
    if plot_out is not None:
        from surfloss.bench.plot import draw

        path = inside(plot_out, ".png")
        draw(result, path)
        yield path


def _print(result: dict[str, Any]) -> None:
    from surfloss.bench import report

    console = Console()
    for name, title in _TITLES.items():
        head, body = report.TABLES[name](result)
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
    for name, contestant in result["contestants"].items():
        if name not in result["absent"] and any(name in cell["results"] for cell in result["cells"]):
            console.print(f"{name}: {contestant['computes']}")
    for line in report.notes(result):
        console.print(line)
