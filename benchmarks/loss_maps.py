"""Compare distance maps computed by the loader's workers with maps computed in the loss, on the CPU.

Run `python -m benchmarks.loss_maps` from the repository's root; `--quick` for a first impression. It times a
training step with a loader, and the loss alone, and writes `benchmarks/results/maps-MACHINE.json` and the
tables of docs/loss-maps.md. Set `GOMP_SPINCOUNT=1000`: with workers there are more threads than cores, and
PyTorch's threads spin while they wait.
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks import checkout, documents
from benchmarks.published import Machine
from surfloss import BoundaryLoss, CompoundLoss, DiceCELoss, HausdorffDTLoss
from surfloss._files import write_text
from surfloss.bench import machine
from surfloss.bench.losses import Batch, _network, raced, sample
from surfloss.transforms import TargetDistance

PAGE = checkout.ROOT / "docs" / "loss-maps.md"
# Batch and timed steps per epoch: enough steps to make the start of the epoch negligible.
BATCHES = {Batch(2, 1, (16, 320, 320)): 6, Batch(2, 3, (40, 56, 40)): 30}
LOSSES: dict[str, tuple[type[nn.Module], Any]] = {
    "HausdorffDTLoss()": (HausdorffDTLoss, "two_sided"),
    "BoundaryLoss()": (BoundaryLoss, "signed"),
}
WORKERS = (1, 2)
_MARGIN = 8  # voxels by which a volume exceeds its crops per axis
_UNTIMED = 4  # steps until the prefetched batches of a loader are used up


class Crops(Dataset[tuple[Tensor, ...]]):
    """Random crops of a volume: image, labels, and their distance map if `distance` is given."""

    def __init__(self, batch: Batch, steps: int, distance: TargetDistance | None) -> None:
        size = tuple(n + _MARGIN for n in batch.size)
        image, labels = sample(Batch(1, max(2, batch.classes), size))
        self.volume = torch.cat([image[0, :1], labels[0]])
        self.batch, self.steps, self.distance = batch, steps, distance

    def __len__(self) -> int:
        return self.batch.items * self.steps

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        starts = np.random.default_rng(index).integers(0, _MARGIN, len(self.batch.size))
        crop = tuple(slice(start, start + n) for start, n in zip(starts, self.batch.size, strict=True))
        image, labels = self.volume[(slice(None), *crop)].clone().split(1)
        if self.distance is None:
            return image, labels
        return image, labels, self.distance(labels[None])[0]


def parts(name: str, batch: Batch) -> tuple[CompoundLoss, TargetDistance]:
    """Return Dice + CE + a surface loss, and the transform that computes its map of the target."""
    make, form = LOSSES[name]
    one = batch.classes == 1
    reading = {"sigmoid": True, "include_background": True} if one else {"softmax": True, "to_onehot_y": True}
    terms = {"dice_ce": (DiceCELoss(sigmoid=one, softmax=not one), 1.0), "surface": (make(**reading), 1e-3)}
    return CompoundLoss(terms), TargetDistance(form=form, num_classes=None if one else batch.classes)


def steps(name: str, batch: Batch, workers: int, ahead: bool, timed: int) -> Iterator[float]:
    """Yield the seconds per step of successive epochs of `timed` steps, with a loader and its workers."""
    loss, distance = parts(name, batch)
    network = _network(batch)
    optimizer = torch.optim.SGD(network.parameters(), 1e-4)
    data = Crops(batch, _UNTIMED + timed, distance if ahead else None)
    loader = DataLoader(data, batch.items, num_workers=workers, persistent_workers=True)
    while True:
        for number, (image, labels, *maps) in enumerate(loader):
            if number == _UNTIMED:
                start = time.perf_counter()
            options = {"surface": {"target_distance": maps[0]}} if ahead else {}
            optimizer.zero_grad()
            loss(network(image), labels, **options).backward()
            optimizer.step()
        yield (time.perf_counter() - start) / timed


def race(name: str, batch: Batch, workers: int, timed: int, rounds: int) -> dict[str, Any]:
    """Time steps with maps from the loss and from the workers in turns; the ratios are per turn."""
    ways = {ahead: steps(name, batch, workers, ahead, timed) for ahead in (False, True)}
    for epochs in ways.values():
        next(epochs)
    laps: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(rounds):
        for ahead in (False, True) if turn % 2 else (True, False):
            laps[ahead].append(next(ways[ahead]))
    ratios = [mapped / plain for plain, mapped in zip(laps[False], laps[True], strict=True)]
    return {"in_loss_s": laps[False], "from_workers_s": laps[True], "ratios": ratios}


def alone(name: str, batch: Batch, seconds: float) -> dict[str, Any]:
    """Time forward and backward of the surface loss with and without the map, and the map on one thread."""
    loss, distance = parts(name, batch)
    logits, labels = sample(Batch(batch.items, max(2, batch.classes), batch.size))
    logits = logits[:, -batch.classes :].clone().requires_grad_()
    surface, ahead = loss.losses["surface"], distance(labels)

    def step(**options: Tensor) -> None:
        surface(logits, labels, **options).backward()

    def one_thread() -> None:
        with _threads(1):
            distance(labels)

    calls = {"in_loss": step, "given": partial(step, target_distance=ahead), "map_one_thread": one_thread}
    return {key: asdict(times) for key, times in raced(calls, seconds).items()}


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    yield
    torch.set_num_threads(before)


def spread(values: list[float], scale: float = 1.0) -> str:
    """Format the median, and the 20th and 80th percentile."""
    low, middle, high = (scale * value for value in np.percentile(values, (20, 50, 80)))
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def tables(result: dict[str, Any]) -> str:
    """Return both tables, in milliseconds, and a line about the machine."""
    head = ["batch", "loss", "workers", "map in the loss, ms", "map from workers, ms", "ratio"]
    body = []
    for row in result["steps"]:
        laps = spread(row["in_loss_s"], 1e3), spread(row["from_workers_s"], 1e3), spread(row["ratios"])
        body.append([row["batch"], f"`{row['loss']}`", str(row["workers"]), *laps])
    lone = ["batch", "loss", "map in the loss, ms", "map given, ms", "ratio", "map on one thread, ms"]
    ms = [
        [1e3 * row[k]["median_s"] for k in ("in_loss", "given", "map_one_thread")] for row in result["alone"]
    ]
    rows = [
        [row["batch"], f"`{row['loss']}`", f"{own:.3g}", f"{given:.3g}", f"{given / own:.2g}", f"{made:.3g}"]
        for row, (own, given, made) in zip(result["alone"], ms, strict=True)
    ]
    info = result["machine"]
    about = f"{info['cpu']}, {info['cores']} cores, {result['threads']} threads, load {result['load']}"
    return "\n\n".join(
        [
            f"{about}. A training step, median (20th to 80th percentile):",
            documents.table(head, body),
            "The surface loss alone, forward and backward:",
            documents.table(lone, rows),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    here = Machine.with_facts()
    result: dict[str, Any] = {
        "machine": asdict(here),
        "load": machine.load(),
        "versions": machine.versions(()),
        "commit": checkout.commit(),
        "threads": torch.get_num_threads(),
        "alone": [],
        "steps": [],
    }
    for batch, timed in BATCHES.items():
        for name in LOSSES:
            facts = {"batch": str(batch), "loss": name}
            result["alone"].append(facts | alone(name, batch, 1.0 if options.quick else 6.0))
            for workers in WORKERS:
                row = race(name, batch, workers, timed, rounds)
                result["steps"].append(facts | {"workers": workers} | row)
                print(f"{batch} {name} {workers} workers: {spread(row['ratios'])}", flush=True)
    path = options.json or checkout.RESULTS / f"maps-{here.slug}.json"
    write_text(path, json.dumps(result, indent=1) + "\n")
    documents.fill(PAGE, "maps", lambda _: tables(result))


if __name__ == "__main__":
    main()
