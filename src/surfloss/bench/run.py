"""A comparison, from its plan to one JSON-ready dictionary: agreement first, then time, then memory."""

import datetime
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from surfloss.bench import accelerator, machine, memory
from surfloss.bench.cases import Case
from surfloss.bench.peers import Contestant, ours, unavailable
from surfloss.bench.plan import Cell
from surfloss.bench.race import race, timed

# Largest relative difference from the reference that counts as the same answer: what float32 arithmetic on
# physical coordinates costs SimpleITK on large volumes. This library promises 2 units in the last place.
TOLERANCE = 1e-4
FORMAT = 1
# Voxels of a batch that SciPy, which the reference asks, answers in a few seconds, and in less than a minute.
_QUICK, _MOST = 2**22, 2**25

Notice: TypeAlias = Callable[[str], None]
Keep: TypeAlias = Callable[[dict[str, Any]], None]


def compare(
    plan: Iterable[Cell],
    contestants: Sequence[Contestant],
    *,
    threads: int,
    seconds: float,
    notice: Notice = lambda _: None,
    keep: Keep = lambda _: None,
) -> dict[str, Any]:
    """Measure every cell with every contestant that is there.

    Args:
        contestants: the first is the one that ratios refer to; all on the CPU, or all on one GPU.
        threads: for all that can be told.
        seconds: of timing a cell, shared by its contestants; slow ones may need more.
        notice: is told what happens now; a cell's label when it begins.
        keep: is given the result as far as it is after every row.

    Returns:
        What `surfloss bench --json` writes. Interrupted (Ctrl-C) after its first row it ends there, and
        "interrupted" says so.
    """
    absent = {c.name: reason for c in contestants if (reason := c.absent())}
    present = [c for c in contestants if c.name not in absent]
    device = contestants[0].device
    result: dict[str, Any] = {
        "format": FORMAT,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "machine": machine.facts() | ({} if device is None else {"gpu": accelerator.facts(device)}),
        "load_before": machine.load(),
        "interrupted": False,
        "threads": threads,
        "versions": machine.versions(
            [*(c.package for c in present), *([] if device is None else ["triton"])]
        ),
        "baseline": contestants[0].name,
        "contestants": {c.name: {"tasks": list(c.tasks), "computes": c.computes} for c in contestants},
        "absent": absent,
        "tolerance": TOLERANCE,
        "cells": [],
        "slopes": [],
    }
    rows = result["cells"]
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for cell in plan:
            rows.append(_row(cell, present, threads, seconds, notice))
            result["slopes"] = slopes(rows)
            keep(result)
    except KeyboardInterrupt:
        if not rows:
            raise
        result["interrupted"] = True
    finally:
        torch.set_num_threads(threads_before)
    return result


def _row(
    cell: Cell, present: Sequence[Contestant], threads: int, seconds: float, notice: Notice
) -> dict[str, Any]:
    """The facts of a case, and what came of each contestant that can do the task, by name."""
    notice(cell.label)
    case = cell.make()
    able = [c for c in present if cell.task in c.tasks and c.name not in cell.without]
    results = _results(cell.task, case, able, threads, seconds, lambda text: notice(f"{cell.label}: {text}"))
    if cell.weigh:
        for contestant in able:
            if "median_s" in results[contestant.name]:
                notice(f"{cell.label}: memory of {contestant.name}")
                peak = _peak_extra_bytes(contestant, cell.task, case, threads)
                results[contestant.name]["peak_extra_bytes"] = peak
    return {"task": cell.task, **case.facts(), "results": results}


def _peak_extra_bytes(contestant: Contestant, task: str, case: Case, threads: int) -> int | None:
    if contestant.device is None:
        return memory.peak_extra_bytes(contestant, task, case, threads)
    if contestant.adapter != "own":  # CuPy's memory, or a graph's, is not taken from PyTorch at the call
        return None
    return accelerator.peak_extra_bytes(contestant.prepare(task, case, threads), contestant.device)


def _reference(case: Case, device: str | None) -> Contestant:
    """Who says what is right: the reference; where it takes long, the CPU backend, tested against it."""
    voxels = case.voxels.size * case.items
    if device is None or voxels <= _QUICK:
        return ours("reference")
    if unavailable("cpu", "cpu") is None:
        return ours("cpu")
    if voxels > _MOST:
        raise RuntimeError(f"{voxels} voxels, too many to compare without the compiled CPU backend")
    return ours("reference")


def _results(
    task: str,
    case: Case,
    contestants: Sequence[Contestant],
    threads: int,
    seconds: float,
    notice: Notice,
) -> dict[str, dict[str, Any]]:
    notice("the reference")
    device = contestants[0].device if contestants else None
    try:
        wanted = _reference(case, device).prepare(task, case, threads)()
    except (RuntimeError, MemoryError) as error:
        return {c.name: {"failed": f"{type(error).__name__}: {error}"} for c in contestants}
    results: dict[str, dict[str, Any]] = {}
    calls, first_s = {}, {}
    for contestant in contestants:
        name = contestant.name
        notice(f"{name} against the reference")
        try:
            call = contestant.prepare(task, case, threads)
            if device is not None:
                call = accelerator.synchronized(call, device)
                call()  # compiles kernels, which no later call does
            first, got = timed(call)
        except Exception as error:  # whatever another library raises is its result here
            results[name] = {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}
            continue
        off = difference(task, got, wanted)
        if not off <= TOLERANCE:
            results[name] = {"disagrees": off if math.isfinite(off) else "not finite"}
            continue
        results[name] = {"difference": off}
        calls[name], first_s[name] = call, first
        del got
    del wanted
    notice(f"timing {', '.join(calls) or 'nobody'}")
    for name, lap in race(calls, first_s, seconds).items():
        results[name] |= lap.facts()
    baseline = results[contestants[0].name].get("median_s") if contestants else None
    for result in results.values():
        if baseline and "median_s" in result:
            result["ratio"] = result["median_s"] / baseline
    return results


def difference(task: str, got: Any, wanted: Any) -> float:
    """How far a result is from the reference's, relative; at most `TOLERANCE` where they agree."""
    return edt_difference(got, wanted) if task == "edt" else loss_difference(got, wanted)


def edt_difference(got: Any, wanted: Any) -> float:
    """The largest relative difference of two fields of distances; inf where one is not finite alone."""
    return _largest_relative(_tensor(got), _tensor(wanted))


def loss_difference(got: Any, wanted: Any) -> float:
    """The larger of the loss's relative difference and the gradient's, relative to its largest value."""
    value, gradient = (tensor.cpu() for tensor in got)
    wanted_value, wanted_gradient = wanted
    scale = float(wanted_gradient.abs().max()) or 1.0
    off = float((gradient - wanted_gradient).abs().max()) / scale
    off = math.inf if math.isnan(off) else off
    return max(_largest_relative(value, wanted_value), off)


def _tensor(array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array
    if hasattr(array, "__cuda_array_interface__"):  # of a GPU library; it stays there
        return from_dlpack(array)
    return torch.as_tensor(np.asarray(array))


def _largest_relative(got: Tensor, wanted: Tensor) -> float:
    if got.shape != wanted.shape:
        return math.inf
    wanted = wanted.to(got.device)
    off = torch.where(got == wanted, 0, (got - wanted).abs() / wanted.abs())
    return float(off.nan_to_num(nan=math.inf, posinf=math.inf).max())


def slopes(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How time grows with volume: the slope of log time over log voxels, over a mask's cubes from 64^3."""
    points: dict[tuple[str, str, str], dict[int, float]] = {}
    for row in rows:
        if min(row["size"]) == max(row["size"]) >= 64 and row.get("items", 1) == 1:
            for name, result in row["results"].items():
                if "median_s" in result:
                    key = (row["task"], row["mask"], name)
                    points.setdefault(key, {})[row["voxels"]] = result["median_s"]
    return [
        {
            "task": task,
            "mask": mask,
            "contestant": name,
            "sides": [round(voxels ** (1 / 3)) for voxels in sorted(times)],
            "slope": float(np.polyfit(np.log(list(times)), np.log(list(times.values())), 1)[0]),
        }
        for (task, mask, name), times in points.items()
        if len(times) >= 3
    ]
