"""Peak memory of one call beyond what was held before, its result among it; the input is not counted.

On Linux the kernel counts resident pages, so that every allocator is seen: the call runs in a process of its
own, in which glibc gives freed memory back at once, and in which a smaller call has loaded libraries and
started threads.
"""

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def peak_in_a_process(
    prepare: Callable[[], tuple[Callable[[], Any], Callable[[], Any]]], folder: Path | None = None
) -> int | None:
    """Bytes at the worst moment of a call beyond those before it; None where they cannot be measured.

    Args:
        prepare: gives a small call and the one that is measured; goes to the process by pickle.
        folder: from which the process imports besides what is installed.
    """
    if not measurable():
        return None
    prompt_return = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    child = subprocess.run(
        [sys.executable, "-m", "surfloss.bench.memory"],
        input=pickle.dumps(prepare),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=os.environ | prompt_return,
        check=False,
    )
    return int(child.stdout) if child.returncode == 0 else None


def measurable() -> bool:
    """Whether the kernel tells and resets a process's peak (Linux)."""
    return os.access(_RESET, os.W_OK) and "VmHWM" in _STATUS.read_text()


def _measure(prepare: Callable[[], tuple[Callable[[], Any], Callable[[], Any]]]) -> int:
    small, call = prepare()
    small()
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
    print(_measure(pickle.load(sys.stdin.buffer)))
