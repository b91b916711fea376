"""Report the resources of the CUDA kernels, and predict their times, on any CPU. From the repository's root:

    python -m benchmarks.cuda_kernels

Registers and spills are from nvcc. Candidates per voxel are counted by running the kernels on the CPU
(tests/cpp), with every lane of a warp as busy as its busiest. The times are from a model of an H100.
"""

import argparse
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from surfloss._check import Steps
from surfloss.backends import cuda
from surfloss.backends.cuda import device
from tests.support import cases, cuda_shim, ptxas

# Assumptions about an H100 (SXM).
MULTIPROCESSORS, CLOCK_HZ = 132, 1.7e9
WARP_INSTRUCTIONS_A_CLOCK = 4 * 0.6  # four schedulers, at the utilization of such kernels
CACHE_BYTES, CACHE_BANDWIDTH, MEMORY_BANDWIDTH = 50e6, 4.5e12, 2.4e12
LAUNCH_SECONDS = 2.5e-6

# Instructions in the sm_90 machine code: per voxel of the pass along x, per voxel of a column (load, setup,
# write), and per candidate.
ROW_INSTRUCTIONS, COLUMN_INSTRUCTIONS = 40, 60
CANDIDATE_INSTRUCTIONS = {"int": 6.0, "float": 7.7}
ROW_BYTES, COLUMN_BYTES = 5, 8  # read and written per voxel

UNIT, SLICES = [1.0, 1.0, 1.0], [5.0, 0.42, 0.42]


@dataclass(frozen=True)
class Launch:
    """One recorded launch."""

    kernel: str
    blocks: int
    warps: int
    shared_bytes: int
    slots: float  # candidates


def launches(mask: Tensor, spacing: list[float]) -> list[Launch]:
    """Record the launches of a two-sided transform of `(1, *spatial)`, with their candidates."""
    seen = []

    def spy(kernel: str, blocks: int, threads: tuple[int, int], shared_bytes: int, *rest: object) -> None:
        cuda_shim.launch(kernel, blocks, threads, shared_bytes, *rest)
        seen.append(Launch(kernel, blocks, threads[1], shared_bytes, cuda_shim.candidates()[1]))

    device.launch, device.shared_bytes_limit = spy, lambda _: cuda_shim.H100_SHARED_BYTES
    cuda_shim.candidates()
    cuda.edt(mask, Steps(spacing, None), "two_sided", False)
    return seen


def seconds(launch: Launch, voxels: int, masks: int) -> float:
    """Predict the time for `masks` masks of `voxels` voxels like the counted one."""
    kind, number = launch.kernel.split("_")
    if kind == "rows":
        instructions, traffic = ROW_INSTRUCTIONS * voxels, ROW_BYTES * voxels
    else:
        instructions = COLUMN_INSTRUCTIONS * voxels + CANDIDATE_INSTRUCTIONS[number] * launch.slots
        traffic = COLUMN_BYTES * voxels
    issue = masks * instructions / 32 / (WARP_INSTRUCTIONS_A_CLOCK * MULTIPROCESSORS * CLOCK_HZ)
    bandwidth = CACHE_BANDWIDTH if 4 * masks * voxels < CACHE_BYTES else MEMORY_BANDWIDTH
    return LAUNCH_SECONDS + max(issue, masks * traffic / bandwidth)


def masks(shape: tuple[int, ...]) -> dict[str, Tensor]:
    grids = torch.meshgrid(*(torch.linspace(0, 1, n) for n in shape), indexing="ij")
    return {
        "blob": cases.blob(1, *shape),
        "half noise": cases.noise(1, *shape),
        "diagonal plane": (sum(grids) < 1.5)[None],
        "corner": cases.few(*shape, at=((0, 0, 0),)),
        "empty": torch.zeros(1, *shape, dtype=torch.bool),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(16, 320, 320))
    parser.add_argument("--masks", type=int, default=4, help="number of masks per call")
    parser.add_argument("--arch", default="sm_90")
    arguments = parser.parse_args()
    shape = tuple(arguments.shape)
    if reason := ptxas.missing():
        print(f"no registers: {reason}\n")
    else:
        print(f"| kernel ({arguments.arch}) | registers | stack, bytes | spills, bytes |\n|---|---|---|---|")
        for kernel, used in sorted(ptxas.usage(arguments.arch).items()):
            print(f"| `{kernel}` | {used.registers} | {used.stack} | {used.spills} |")
    print(f"\n{arguments.masks} masks of {'x'.join(map(str, shape))}, predicted for an H100, not measured\n")
    print("| mask | spacing | launches: shared bytes per block; candidates per voxel | predicted, us |")
    print("|---|---|---|---|")
    voxels = math.prod(shape)
    for name, mask in masks(shape).items():
        for label, spacing in (("1", UNIT), ("5, 0.42, 0.42", SLICES)):
            seen = launches(mask, spacing)
            each = "; ".join(f"`{s.kernel}` {s.shared_bytes}, {s.slots / voxels:.1f}" for s in seen)
            total = sum(seconds(s, voxels, arguments.masks) for s in seen)
            print(f"| {name} | {label} | {each} | {total * 1e6:.0f} |", flush=True)


if __name__ == "__main__":
    main()
