"""What measuring on a GPU takes: waiting for its work, its memory, and what it is."""

import subprocess
from collections.abc import Callable
from typing import Any

import torch

from surfloss.bench.race import timed


def synchronized(call: Callable[[], Any], device: str) -> Callable[[], Any]:
    """The call as one that returns when its work on the device is done."""
    if torch.device(device).type != "cuda":
        return call

    def complete() -> Any:
        result = call()
        torch.cuda.synchronize(device)
        return result

    return complete


def peak_extra_bytes(call: Callable[[], Any], device: str) -> int | None:
    """Bytes that PyTorch held at the worst moment of a call beyond those before it, its result among them.

    None where the device is no GPU, or where the call allocates by other means than PyTorch's.
    """
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


def facts(device: str) -> dict[str, Any]:
    """The device as one JSON-ready dictionary; a copy's bandwidth counts what is read and what is written."""
    known: dict[str, Any] = {"name": device, "copy_bytes_per_s": copy_bandwidth(device)}
    if torch.device(device).type != "cuda":
        return known
    properties = torch.cuda.get_device_properties(device)
    return known | {
        "name": properties.name,
        "count": torch.cuda.device_count(),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "driver": _driver(),
    }


def copy_bandwidth(device: str) -> float:
    """Bytes read and written a second by PyTorch's copy within the device, the best of ten.

    Copies are long, so that what a launch and the waiting cost does not count.
    """
    size, copies = (2**28, 20) if torch.device(device).type == "cuda" else (2**24, 1)
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(copies):
            target.copy_(source)

    complete = synchronized(copy, device)
    complete()
    return 2 * size * copies / min(timed(complete)[0] for _ in range(10))


def _driver() -> str | None:
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip().partition("\n")[0] or None
