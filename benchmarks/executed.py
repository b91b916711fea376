"""The work that the GPU kernels do, executed without a GPU, and the time that it predicts.

    TRITON_INTERPRET=0 python -m benchmarks.executed

runs both GPU backends in the emulator of compiled code (`tests/support/ptx`) on one item of `SHAPE`, and
fills the table of docs/gpu-transform.md. It counts the instructions of every warp and the 32-byte sectors
that loads and stores touch. The predicted time of a kernel is the longest of three: sectors over the
bandwidth, instructions over the issue rate, and comparisons and selections over half of that rate. The model
knows neither latency nor caches nor launches, so it compares kernels and is no measurement.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import surfloss
from benchmarks import checkout, documents
from surfloss._files import write_text
from surfloss.functional import contour_map
from surfloss.ops.edt import edt
from surfloss.ops.hausdorff import hausdorff_error
from tests.ptx.targets import Target
from tests.support import cases
from tests.support.ptx import Options, under_cuda, under_triton

SHAPE = (16, 320, 320)
ITEMS = 4  # for which times are predicted
UNIT, SLICES = [1.0, 1.0, 1.0], [5.0, 0.42, 0.42]
CONTOUR = "ContourLoss, 3x3x3"  # the CUDA backend has no kernels for it
SECTOR = 32  # bytes
LANES = 32  # of a warp
RESULT = checkout.RESULTS / "executed-kernels.json"

# An H100 SXM5: 132 multiprocessors of 128 lanes at 1.755 GHz, and 85 % of 3.35 TB/s.
ISSUED_PER_SECOND = 132 * 128 * 1.755e9
BANDWIDTH = 0.85 * 3.35e12
COMPARING = re.compile(r"(min|max|set|setp|selp|slct|and|or|xor|not|lop3|shl|shr|shf|prmt|bfe|bfi)\b")
"""Instructions of PTX that run on the unit of half rate."""

TARGETS = {"triton": Target("triton", "triton", 90), "cuda": Target("cuda", "nvcc", 90)}


def masks(shape: tuple[int, int, int] = SHAPE) -> dict[str, Tensor]:
    """Masks `(1, *shape)`, from a usual one to the hardest."""
    z, y, x = torch.meshgrid(*(torch.linspace(0, 1, n) for n in shape), indexing="ij")
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return {
        "blob": cases.blob(1, *shape),
        "noise": (noise < 0.5)[None],
        "diagonal": (x + y + z < 1.5)[None],
    }


def calls(mask: Tensor) -> dict[str, Callable[[str], object]]:
    """The operations that are counted, each to be called with the name of a backend."""
    logits = torch.where(mask.roll(3, -1), 1.5, -1.5)
    options = (None, None, True, 2.0, UNIT, None, "zero")

    def transform(spacing: list[float]) -> Callable[[str], object]:
        return lambda backend: edt(mask, spacing, None, "two_sided", False, backend)

    def contour(backend: str) -> None:
        leaf = mask.float()[:, None].requires_grad_()
        with surfloss.use_backend(backend):
            contour_map(leaf, 3).sum().backward()

    return {
        "two_sided_edt": transform(UNIT),
        "two_sided_edt, 5 x 0.42 x 0.42 mm": transform(SLICES),
        "HausdorffDTLoss": lambda backend: hausdorff_error(
            logits, mask, *options, backend, None, None, False
        ),
        CONTOUR: contour,
    }


def counted(target: Target, call: Callable[[str], object], voxels: int) -> dict[str, dict[str, float]]:
    """Every kernel of a call: launches, and warp instructions, comparisons and bytes of sectors per voxel."""
    programs = under_triton.programs if target.backend == "triton" else under_cuda.programs
    before = {id(program): _totals(program) for program in programs}
    with target.emulated(Options(traffic=True, race_limit=0)):
        call(target.backend)
    found: dict[str, Counter[str]] = {}
    for program in programs:
        totals = _totals(program)
        totals.subtract(before.get(id(program), Counter()))
        if totals["launches"]:
            found.setdefault(program.code.name, Counter()).update(totals)
    return {
        kernel: {
            "launches": totals["launches"],
            **{
                what: totals[what] / voxels
                for what in ("instructions", "lanes", "comparisons", "loaded", "stored")
            },
        }
        for kernel, totals in found.items()
    }


def _totals(program: Any) -> Counter[str]:
    """What a kernel has executed so far; an instruction of a warp counts for all of its lanes."""
    counts, code = program.counts, program.code
    comparing = np.array([bool(COMPARING.match(name)) for name in code.names])
    of_row = np.array([comparing[row.name] for row in code.rows], bool)
    executed = counts.executed.astype(np.int64)
    return Counter(
        launches=counts.launches,
        instructions=int(executed.sum()) * LANES,
        lanes=int(counts.active_lanes.sum()),
        comparisons=int(executed[of_row].sum()) * LANES,
        loaded=int(counts.traffic[0]) * SECTOR,
        stored=int(counts.traffic[3]) * SECTOR,
    )


def microseconds(kernel: dict[str, float]) -> float:
    """The predicted time of a kernel for `ITEMS` items."""
    voxels = ITEMS * float(np.prod(SHAPE))
    slowest = max(
        (kernel["loaded"] + kernel["stored"]) / BANDWIDTH,
        kernel["instructions"] / ISSUED_PER_SECOND,
        2 * kernel["comparisons"] / ISSUED_PER_SECOND,
    )
    return 1e6 * voxels * slowest


def gather() -> dict[str, Any]:
    """Per operation, backend and mask the counts of the kernels."""
    operations: dict[str, Any] = {}
    for name, mask in masks().items():
        for operation, call in calls(mask).items():
            for backend, target in TARGETS.items():
                if reason := target.missing():
                    raise SystemExit(f"{backend}: {reason}")
                if operation == CONTOUR and backend == "cuda":
                    continue
                print(f"{operation} by {backend} on {name}", flush=True)
                place = operations.setdefault(operation, {}).setdefault(backend, {})
                place[name] = counted(target, call, mask.numel())
    return {"shape": SHAPE, "items": ITEMS, "commit": checkout.commit(), "operations": operations}


def table(facts: dict[str, Any]) -> str:
    """One row per kernel, and the sum of each backend's operation."""
    size = "x".join(map(str, facts["shape"]))
    kinds = ", ".join(masks())
    head = (
        "operation",
        "backend",
        "kernel",
        "launches",
        f"instructions per voxel ({kinds})",
        "bytes loaded per voxel",
        "bytes stored per voxel",
        f"predicted µs for {facts['items']} items of {size}",
    )
    body = []
    for operation, backends in facts["operations"].items():
        for backend, counts in backends.items():
            kernels = list(next(iter(counts.values())))

            def each(kernel: str, what: str, counts: dict[str, Any] = counts) -> list[float]:
                return [found[kernel][what] for found in counts.values()]

            total = [sum(map(microseconds, found.values())) for found in counts.values()]
            for kernel in kernels:
                times = [microseconds(found[kernel]) for found in counts.values()]
                body.append([
                    operation, backend, f"`{kernel}`", f"{each(kernel, 'launches')[0]:.0f}",
                    _numbers(each(kernel, "instructions")), _numbers(each(kernel, "loaded"), 1),
                    _numbers(each(kernel, "stored"), 1), _numbers(times),
                ])  # fmt: skip
            body.append([operation, backend, "**sum**", "", "", "", "", f"**{_numbers(total)}**"])
    return documents.table(head, body, 3)


def _numbers(values: list[float], digits: int = 0) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=RESULT, help="where the counts go")
    arguments = parser.parse_args()
    facts = gather()
    write_text(arguments.json, json.dumps(facts, indent=1) + "\n")
    documents.fill(checkout.ROOT / "docs" / "gpu-transform.md", "executed", lambda _: table(facts))


if __name__ == "__main__":
    main()
