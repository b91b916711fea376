"""Peak memory of one call of a contestant beyond that before the call; see `surfloss.bench.memory`.

On a GPU the memory of PyTorch's allocator is measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.checkout import ROOT
from benchmarks.published import WeighedOutcome
from surfloss.bench.adapters import Call
from surfloss.bench.contestants import Contestant
from surfloss.bench.memory import peak_in_a_process
from surfloss.bench.result import Row
from surfloss.bench.workloads import Workload


def weigh(row: Row, workload: Workload, contestants: Sequence[Contestant], threads: int) -> None:
    """Add peak memory to the timed contestants of a row, if its workload is a single `blobs` mask."""
    if workload.mask != "blobs" or workload.items > 1:
        return
    for contestant in contestants:
        outcome = row.results.get(contestant.name)
        if outcome and outcome.times:
            peak = peak_extra_bytes(contestant, workload, threads)
            row.results[contestant.name] = WeighedOutcome(**vars(outcome), peak_extra_bytes=peak)


def peak_extra_bytes(contestant: Contestant, workload: Workload, threads: int) -> int | None:
    """Peak bytes during one call beyond those before it; None if they cannot be measured."""
    if contestant.device != "cpu":
        if contestant.backend is None:  # CuPy's memory is not PyTorch's
            return None
        return gpu_peak(contestant.prepare(workload, threads), contestant.device)
    return peak_in_a_process(partial(_calls, contestant, workload, threads), ROOT)


def gpu_peak(call: Callable[[], Any], device: str) -> int | None:
    """Peak bytes of any call on a GPU; None on a CPU, and if PyTorch allocates nothing, as for a graph."""
    if torch.device(device).type != "cuda":
        return None
    call()
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    result = call()
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device) - before
    del result
    return peak or None


def _calls(contestant: Contestant, workload: Workload, threads: int) -> tuple[Call, Call]:
    torch.set_num_threads(threads)
    corner = workload.voxels[:8, :32, :32].copy()
    corner.flat[:2] = (False, True)
    small = replace(workload, size=corner.shape, given=corner)
    return contestant.prepare(small, threads), contestant.prepare(workload, threads)
