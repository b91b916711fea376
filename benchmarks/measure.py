"""The parts of `make gpu` that measure, each called by benchmarks/gpu.py in a process of its own."""

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import torch

import surfloss
from surfloss._files import write_text
from surfloss.bench import machine as facts
from surfloss.bench import peers, plan
from surfloss.bench.peers import Contestant
from surfloss.bench.run import compare
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
        _plot(options.result)
        return
    named = options.backends.split(",") if options.backends else None
    if options.part == "machine":
        _keep(_machine(options.device))
        return
    cells = plan.gpu_quick() if options.tiny else plan.gpu()
    seconds = 0.02 if options.tiny else _SECONDS
    threads = torch.get_num_threads()
    compare(
        cells, _contestants(options.device, named), threads=threads, seconds=seconds, notice=print, keep=_keep
    )


def _machine(device: str) -> dict[str, Any]:
    """An empty comparison, which says where and with what; and which backends can be tested."""
    source = Path(__file__).parents[1] / "src"
    if not Path(surfloss.__file__).is_relative_to(source):
        raise RuntimeError(f"surfloss: got the one in {surfloss.__file__}, wanted that of {source}")
    if device == "cuda" and not torch.cuda.is_available():
        return {"no_device": f"PyTorch {torch.__version__} sees no GPU"}
    on_device = {
        row.name: row.unavailable(device)
        for row in TABLE
        if row.name != "reference" and (row.named_on is None or device in row.named_on)
    }
    result = {"backends": surfloss.backend_status(), "gpu_backends": on_device}
    _keep(result)  # what follows fails where no backend runs on the device
    result |= compare([], _contestants(device, None), threads=torch.get_num_threads(), seconds=1)
    return result | {"slug": facts.slug(result["machine"])}


def _contestants(device: str, backends: list[str] | None) -> list[Contestant]:
    if device == "cuda":
        return peers.choose(None, _fastest_first(backends), device)
    trial = [peers.ours(peers.fastest_backend(device)), *peers.GPU_PEERS]
    return [dataclasses.replace(contestant, device=device) for contestant in trial]


def _fastest_first(backends: list[str] | None) -> list[str] | None:
    """The one that answers unasked is what the others are compared with."""
    return backends and sorted(backends, key=lambda name: name != peers.fastest_backend("cuda"))


def _plot(path: Path) -> None:
    from surfloss.bench.plot import draw

    draw(json.loads(path.read_text(encoding="utf-8")), path.with_suffix(".png"))


def _keep(result: dict[str, Any]) -> None:
    write_text(Path(os.environ["PART_FINDINGS"]), json.dumps(result, allow_nan=False))


if __name__ == "__main__":
    main()
