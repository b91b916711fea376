"""Peak memory of one call, as the kernel counts it: resident pages, so every allocator is seen.

The call runs in a process of its own (`python -m surfloss.bench.memory`), in which glibc gives freed memory
back at once; a call on a corner of the mask loads libraries and starts threads before the peak is reset.
"""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

from surfloss.bench.cases import Case
from surfloss.bench.peers import Contestant

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def measurable() -> bool:
    """Whether the kernel tells and resets a process's peak (Linux)."""
    return os.access(_RESET, os.W_OK) and "VmHWM" in _STATUS.read_text()


def peak_extra_bytes(contestant: Contestant, task: str, case: Case, threads: int) -> int | None:
    """Resident bytes at the worst moment of one call beyond those before it, its result among them.

    The input, in the library's own form, is not counted. None where it cannot be measured.
    """
    if not measurable():
        return None
    prompt_return = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    child = subprocess.run(
        [sys.executable, "-m", "surfloss.bench.memory"],
        input=pickle.dumps((contestant, task, case, threads)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | prompt_return,
        check=False,
    )
    return int(child.stdout) if child.returncode == 0 else None


def _measure(contestant: Contestant, task: str, case: Case, threads: int) -> int:
    import torch

    torch.set_num_threads(threads)
    corner = Case(case.mask, case.spacing, case.voxels[:8, :32, :32].copy())
    corner.voxels.flat[:2] = (False, True)
    contestant.prepare(task, corner, threads)()
    call = contestant.prepare(task, case, threads)
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
