"""The parts of `make gpu` that measure. benchmarks/gpu.py runs each in a separate process."""

import argparse
import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import torch

import surfloss
from benchmarks import checkout, gpu_contestants, memory, plans
from benchmarks.published import Gpu, Machine, Published
from surfloss._files import write_text
from surfloss.bench.contestants import ours
from surfloss.bench.result import Result
from surfloss.bench.run import compare
from surfloss.bench.timing import synchronized, timed
from surfloss.bench.workloads import Workload
from surfloss.ops._select import TABLE

_SECONDS = 1.0  # of timing per row
_MOST = 2**25  # voxels per batch that SciPy, the reference without the CPU library, transforms in a minute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("machine", "compare", "plot"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--backends", help="backends of this library, the baseline first")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--result", type=Path, help="result file to draw")
    options = parser.parse_args()
    if options.part == "plot":
        from benchmarks.picture import draw

        draw(Published.read(options.result), options.result.with_suffix(".png"))
        return
    if options.part == "machine":
        _keep(_machine(options.device))
        return
    named = options.backends.split(",") if options.backends else None
    plan = plans.gpu_quick() if options.tiny else plans.gpu()
    if ours("cpu").absent():
        plan = [workload for workload in plan if math.prod(workload.size) * workload.items <= _MOST]
    _compare(plan, options.device, named, 0.02 if options.tiny else _SECONDS)


def _compare(plan: list[Workload], device: str, backends: list[str] | None, seconds: float) -> dict[str, Any]:
    """Compare, and save the result after every row, with commit, machine details and peak memory."""
    taking_part, threads = gpu_contestants.choose(device, backends), torch.get_num_threads()
    machine, commit = Machine.with_facts(_gpu(device)), checkout.commit()

    def told(result: Result) -> dict[str, Any]:
        return Published.of(result, machine, commit).to_dict()

    def keep(result: Result) -> None:
        if device == "cuda":
            memory.weigh(result.rows[-1], plan[len(result.rows) - 1], taking_part, threads)
        _keep(told(result))

    return told(compare(plan, taking_part, threads=threads, seconds=seconds, notice=print, keep=keep))


def _machine(device: str) -> dict[str, Any]:
    """Return an empty comparison with machine and versions, and which backends can be tested."""
    source = checkout.ROOT / "src"
    if not Path(surfloss.__file__).is_relative_to(source):
        raise RuntimeError(f"surfloss: got the one in {surfloss.__file__}, wanted that of {source}")
    if device == "cuda" and not torch.cuda.is_available():
        return {"no_device": f"PyTorch {torch.__version__} sees no GPU"}
    on_device = {
        row.name: row.unavailable(device)
        for row in TABLE
        if row.name != "reference" and (row.named_on is None or device in row.named_on)
    }
    found = {"backends": surfloss.backend_status(), "gpu_backends": on_device}
    _keep(found)  # the next call fails if no backend runs on the device
    result = _compare([], device, None, 1)
    slug = Machine.with_facts(Gpu(_name(device))).slug
    return found | result | {"slug": slug}


def _name(device: str) -> str:
    """The name of the GPU, or the device itself in a trial on the CPU."""
    return torch.cuda.get_device_name(device) if device == "cuda" else device


def _gpu(device: str) -> Gpu:
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        asked = ""
    return Gpu(
        _name(device), torch.version.cuda, asked.partition("\n")[0].strip() or None, copy_bandwidth(device)
    )


def copy_bandwidth(device: str) -> float:
    """Measure the bytes read and written per second by PyTorch's copy within the device, the best of ten.

    Copies are long, so that launches and synchronization are negligible.
    """
    size, copies = (2**28, 20) if device == "cuda" else (2**24, 1)
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(copies):
            target.copy_(source)

    complete = synchronized(copy, device)
    complete()
    return 2 * size * copies / min(timed(complete)[0] for _ in range(10))


def _keep(result: dict[str, Any]) -> None:
    write_text(Path(os.environ["PART_FINDINGS"]), json.dumps(result, allow_nan=False))


if __name__ == "__main__":
    main()
