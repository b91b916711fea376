"""Peak memory of one call beyond what was held before, its result among it; the input is not counted.

On a GPU PyTorch's allocator counts. On Linux the kernel counts resident pages, so that every allocator is
seen: the call runs in a process of its own (`python -m benchmarks.memory`), in which glibc gives freed memory
back at once, and in which a call on a corner of the mask has loaded libraries and started threads.
"""

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.checkout import ROOT
from benchmarks.published import WeighedOutcome
from surfloss.bench.contestants import Contestant
from surfloss.bench.result import Row
from surfloss.bench.workloads import Workload

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def weigh(row: Row, workload: Workload, contestants: Sequence[Contestant], threads: int) -> None:
    """Note in a row the peaks of those that were timed, if its workload is one of single blobs."""
    if workload.mask != "blobs" or workload.items > 1:
        return
    for contestant in contestants:
        outcome = row.results.get(contestant.name)
        if outcome and outcome.times:
            peak = peak_extra_bytes(contestant, workload, threads)
            row.results[contestant.name] = WeighedOutcome(**vars(outcome), peak_extra_bytes=peak)


def peak_extra_bytes(contestant: Contestant, workload: Workload, threads: int) -> int | None:
    """Bytes at the worst moment of one call beyond those before it; None where they cannot be measured."""
    if contestant.device != "cpu":
        if contestant.backend is None:  # CuPy's memory is not PyTorch's
            return None
        return gpu_peak(contestant.prepare(workload, threads), contestant.device)
    if not measurable():
        return None
    prompt_return = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory"],
        input=pickle.dumps((contestant, workload, threads)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=os.environ | prompt_return,
        check=False,
    )
    return int(child.stdout) if child.returncode == 0 else None


def gpu_peak(call: Callable[[], Any], device: str) -> int | None:
    """The same of any call; None without a GPU, and where PyTorch allocates nothing, as for a graph."""
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


def measurable() -> bool:
    """Whether the kernel tells and resets a process's peak (Linux)."""
    return os.access(_RESET, os.W_OK) and "VmHWM" in _STATUS.read_text()


def _measure(contestant: Contestant, workload: Workload, threads: int) -> int:
    torch.set_num_threads(threads)
    corner = workload.voxels[:8, :32, :32].copy()
    corner.flat[:2] = (False, True)
    contestant.prepare(replace(workload, size=corner.shape, given=corner), threads)()
    call = contestant.prepare(workload, threads)
    _RESET.write_text("5")
    before = _resident("VmRSS")
    result = call()
    peak = _resident("VmHWM")
    del result
    return peak - before


def _resident(which: str) -> int:
    found = re.search(rf"{which}:\s+(\d+) kB", _STATUS.read_text())
    assert found
    return int(found[1]) * 1024


if __name__ == "__main__":
    print(_measure(*pickle.load(sys.stdin.buffer)))
