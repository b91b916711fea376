"""The cost of each pass of the CPU transform, as differences between 1-D, 2-D and 3-D transforms."""

import gc
from collections.abc import Callable, Mapping
from typing import Any

import torch

from surfloss import two_sided_edt
from surfloss._env import instruction_set
from surfloss.bench.report import Table
from surfloss.bench.timing import timed
from surfloss.bench.workloads import MASKS, Size, make

SIZES: tuple[Size, ...] = ((16, 320, 320), (256, 256, 256))
REPEATS = 9
FLOOR = "floor"


def measure(sizes: tuple[Size, ...], sets: tuple[str, ...]) -> dict[str, dict[str, list[float]]]:
    """Time the passes on one thread.

    Returns:
        Seconds by "SET SIZE", then by mask: pass x, passes x and y, all passes. For the set `FLOOR`, only the
        time in which PyTorch copies the mask into an existing float32 tensor.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            f"{isa} {'x'.join(map(str, size))}": _row(isa, size) for isa in (*sets, FLOOR) for size in sizes
        }
    finally:
        torch.set_num_threads(threads)


def _row(isa: str, size: Size) -> dict[str, list[float]]:
    found = {}
    for name in MASKS:
        mask = torch.from_numpy(make(name, size))
        if isa == FLOOR:
            copy = torch.empty(size)
            found[name] = [_best(lambda copy=copy, mask=mask: copy.copy_(mask))]
            continue
        with instruction_set(isa):
            found[name] = [
                _best(lambda mask=mask, dims=dims: two_sided_edt(mask, spatial_dims=dims, squared=True))
                for dims in (1, 2, 3)
            ]
    return found


def _best(call: Callable[[], Any]) -> float:
    gc.collect()
    return min(timed(call)[0] for _ in range(REPEATS + 1))


def table(found: Mapping[str, Mapping[str, list[float]]]) -> Table:
    """In milliseconds, each pass with the widest instruction set, and all passes together with each set."""
    sets = list(dict.fromkeys(key.split()[0] for key in found))
    sizes = list(dict.fromkeys(key.split()[1] for key in found))
    widest, *others = sets
    body = []
    for size in sizes:
        for mask, (x, xy, xyz) in found[f"{widest} {size}"].items():
            passes = (x, xy - x, xyz - xy, xyz)
            rest = [found[f"{isa} {size}"][mask][-1] for isa in others]
            body.append([size, mask, *(f"{1e3 * max(0.0, seconds):.3g}" for seconds in (*passes, *rest))])
    return ["size", "mask", "x", "y", "z", widest, *others], body
