"""A comparison, from its plan to its result: agreement first, then time."""

import datetime
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from surfloss.bench import machine
from surfloss.bench.contestants import Contestant, ours
from surfloss.bench.result import Column, Outcome, Result, Row
from surfloss.bench.timing import Times, race, synchronized, timed
from surfloss.bench.workloads import DISTANCES, Workload

# Largest relative difference from the reference that counts as the same answer: what float32 arithmetic on
# physical coordinates costs SimpleITK on large volumes. This library promises 2 units in the last place.
TOLERANCE = 1e-4
# Voxels of a batch that SciPy, which the reference asks, answers in a few seconds.
_QUICK = 2**22

Notice: TypeAlias = Callable[[str], None]


def compare(
    plan: Iterable[Workload],
    contestants: Sequence[Contestant],
    *,
    threads: int,
    seconds: float,
    notice: Notice = lambda _: None,
    keep: Callable[[Result], None] = lambda _: None,
) -> Result:
    """Measure every workload with every contestant that is there.

    Args:
        contestants: the first is the one that ratios refer to; all on the CPU, or all on one GPU.
        threads: for all that can be told.
        seconds: of timing a workload, shared by its contestants; slow ones may need more.
        notice: is told what happens now; a workload's label when it begins.
        keep: is given the result as far as it is after every row.

    Returns:
        The result. Interrupted (Ctrl-C) after its first row it ends there, and `interrupted` says so.
    """
    absent = {c.name: reason for c in contestants if (reason := c.absent())}
    present = [c for c in contestants if c.name not in absent]
    device = contestants[0].device
    result = Result(
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        machine=machine.Machine.here(device),
        load_before=machine.load(),
        threads=threads,
        versions=machine.versions([*(c.package for c in present), *(["triton"] if device != "cpu" else [])]),
        baseline=contestants[0].name,
        contestants={c.name: Column(list(c.tasks), c.computes) for c in contestants},
        absent=absent,
        tolerance=TOLERANCE,
    )
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for workload in plan:
            result.rows.append(_row(workload, present, threads, seconds, notice))
            keep(result)
    except KeyboardInterrupt:
        if not result.rows:
            raise
        result.interrupted = True
    finally:
        torch.set_num_threads(threads_before)
    return result


def _row(
    workload: Workload, present: Sequence[Contestant], threads: int, seconds: float, notice: Notice
) -> Row:
    """Each contestant's answer against the reference's, and the times of those that agree."""
    notice(workload.label)
    able = [c for c in present if workload.task in c.tasks and c.name not in workload.without]
    row = Row(
        task=workload.task,
        size=list(workload.size),
        spacing=list(workload.spacing),
        mask=workload.mask,
        voxels=workload.voxels.size,
        results={},
        items=workload.items,
        foreground=float((workload.voxels != 0).mean()),
    )
    device = present[0].device if present else "cpu"
    notice(f"{workload.label}: the reference")
    try:
        wanted = _reference(workload, device).prepare(workload, threads)()
    except (RuntimeError, MemoryError) as error:
        row.results.update((c.name, Outcome(failed=_told(error))) for c in able)
        return row
    calls, first_s = {}, {}
    for contestant in able:
        name = contestant.name
        notice(f"{workload.label}: {name} against the reference")
        try:
            call = synchronized(contestant.prepare(workload, threads), device)
            if device != "cpu":
                call()  # compiles kernels, which no later call does
            first, got = timed(call)
        except Exception as error:  # whatever another library raises is its result here
            row.results[name] = Outcome(failed=_told(error))
            continue
        off = difference(workload, got, wanted)
        del got
        if off <= TOLERANCE:
            row.results[name] = Outcome(difference=off)
            calls[name], first_s[name] = call, first
        else:
            row.results[name] = Outcome(disagrees=off if math.isfinite(off) else "not finite")
    del wanted
    notice(f"{workload.label}: timing {', '.join(calls) or 'nobody'}")
    laps = {name: Times.of(lap) for name, lap in race(calls, first_s, seconds).items()}
    baseline = laps.get(able[0].name) if able else None
    for name, times in laps.items():
        ratio = times.median_s / baseline.median_s if baseline else None
        row.results[name] = replace(row.results[name], times=times, ratio=ratio)
    return row


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _reference(workload: Workload, device: str) -> Contestant:
    """Who says what is right: the reference, or the CPU backend if it is there where that would take minutes.

    That is for large volumes on a GPU, and for labels: the reference measures each by itself.
    """
    quick = device == "cpu" or math.prod(workload.size) * workload.items <= _QUICK
    quick = quick and workload.task != "labels"
    compiled = ours("cpu")
    return ours("reference") if quick or compiled.absent() else compiled


def difference(workload: Workload, got: Any, wanted: Any) -> float:
    """How far a result is from the reference's, relative; inf where one of both is not finite alone.

    Of distances it is the largest at any voxel, of indices that of the distances to them. Of a loss it is the
    larger of the value's and the gradient's, which is relative to its largest value.
    """
    if workload.task == "indices":
        got, wanted = (_lengths(indices, workload) for indices in (got, wanted))
    if workload.task in DISTANCES:
        return _largest_relative(_tensor(got), _tensor(wanted))
    (value, gradient), (wanted_value, wanted_gradient) = got, wanted
    scale = float(wanted_gradient.abs().max()) or 1.0
    off = float((gradient.cpu() - wanted_gradient).abs().max()) / scale
    return max(_largest_relative(value.cpu(), wanted_value), math.inf if math.isnan(off) else off)


def _lengths(indices: Any, workload: Workload) -> Any:
    """Distances to the nearest voxels that `indices` `(dims, *shape)` tell."""
    squared = np.zeros(workload.voxels.shape)
    places: Any = np.indices(squared.shape, sparse=True)
    for index, place, step in zip(indices, places, workload.spacing, strict=True):
        squared += ((index - place) * step) ** 2
    return np.sqrt(squared)


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
