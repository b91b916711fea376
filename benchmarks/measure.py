"""The parts of `make gpu` that measure, each called by benchmarks/gpu.py in a process of its own."""

import argparse
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import surfloss
from benchmarks import checkout, memory
from surfloss._files import write_text
from surfloss.bench import contestants, workloads
from surfloss.bench.contestants import Contestant
from surfloss.bench.machine import Gpu
from surfloss.bench.result import Result
from surfloss.bench.run import compare
from surfloss.bench.timing import synchronized, timed
from surfloss.bench.workloads import Workload
from surfloss.ops._select import TABLE

_SECONDS = 1.0  # of timing a row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("machine", "compare", "plot"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--backends", help="this library's, the baseline first")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--result", type=Path, help="what to draw")
    options = parser.parse_args()
    if options.part == "plot":
        from surfloss.bench.plot import draw

        draw(Result.read(options.result), options.result.with_suffix(".png"))
        return
    if options.part == "machine":
        _keep(_machine(options.device))
        return
    named = options.backends.split(",") if options.backends else None
    plan = workloads.gpu_quick() if options.tiny else workloads.gpu()
    _compare(plan, options.device, named, 0.02 if options.tiny else _SECONDS)


def _compare(plan: list[Workload], device: str, backends: list[str] | None, seconds: float) -> dict[str, Any]:
    """Measure and keep what is known after every row, with what `surfloss bench` does not tell."""
    taking_part, threads = _contestants(device, backends), torch.get_num_threads()
    commit, gpu = checkout.commit(), _gpu(device)

    def told(result: Result) -> dict[str, Any]:
        result.commit, result.machine = commit, replace(result.machine, gpu=gpu)
        return result.to_dict()

    def keep(result: Result) -> None:
        if device == "cuda":
            memory.weigh(result.rows[-1], plan[len(result.rows) - 1], taking_part, threads)
        _keep(told(result))

    return told(compare(plan, taking_part, threads=threads, seconds=seconds, notice=print, keep=keep))


def _machine(device: str) -> dict[str, Any]:
    """An empty comparison, which says where and with what; and which backends can be tested."""
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
    _keep(found)  # what follows fails where no backend runs on the device
    result = _compare([], device, None, 1)
    return found | result | {"slug": Result.from_dict(result).machine.slug}


def _gpu(device: str) -> Gpu:
    """What is measured: a GPU, or in a trial the CPU in its place."""
    name = torch.cuda.get_device_name(device) if device == "cuda" else device
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        asked = ""
    return Gpu(name, torch.version.cuda, asked.partition("\n")[0].strip() or None, copy_bandwidth(device))


def copy_bandwidth(device: str) -> float:
    """Bytes read and written per second by PyTorch's copy within the device, the best of ten.

    Copies are long, so that launches and waiting do not count.
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


def _contestants(device: str, backends: list[str] | None) -> list[Contestant]:
    """This library's backends, the one that answers unasked first, and the libraries of a GPU."""
    if device == "cuda":
        first = contestants.fastest_backend(device)
        return contestants.choose(None, backends and sorted(backends, key=lambda name: name != first), device)
    trial = [contestants.ours(contestants.fastest_backend(device)), *contestants.GPU_PEERS]
    return [replace(contestant, device=device) for contestant in trial]


def _keep(result: dict[str, Any]) -> None:
    write_text(Path(os.environ["PART_FINDINGS"]), json.dumps(result, allow_nan=False))


if __name__ == "__main__":
    main()
