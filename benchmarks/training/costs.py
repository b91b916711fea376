"""What each term costs on a CPU: forward and backward, beside Dice + CE on the same batch."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.documents import table as markdown
from benchmarks.training import terms
from benchmarks.training.train import round_to
from surfloss import DiceCELoss
from surfloss.bench.machine import Machine, versions
from surfloss.bench.timing import Times, race, timed
from surfloss.bench.workloads import make

# Batch, classes with the background, and the size of a patch: the study's own, and the paper's.
BATCHES: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "nuclei": (1, 2, (256, 256)),
    "hippocampus": (2, 3, (32, 40, 32)),
    "head CT": (2, 2, (16, 320, 320)),
}
FAST = {"max_distance": 10.0, "normalize": "errors"}
LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "squared error": ("unweighted", {}),
    "`HausdorffDTLoss()`": ("hausdorff", {}),
    '`HausdorffDTLoss(max_distance=10, normalize="errors")`': ("hausdorff", FAST),
    "`LogHausdorffDTLoss()`": ("log", {}),
    "`HausdorffERLoss()`": ("erosion", {}),
    "`HausdorffConvLoss()`": ("convolution", {}),
    "`BoundaryLoss()`": ("boundary", {}),
    "`GeneralizedSurfaceLoss()`": ("generalized surface", {}),
    "`SurfaceDiceLoss(tolerance=1)`": ("surface Dice", {"tolerance": 1.0}),
    '`ContourLoss(mode="map")`': ("contour", {"mode": "map"}),
}
REGION = "Dice + CE"


def measured(threads: int, seconds: float) -> dict[str, Any]:
    """Every loss on every batch, ready for JSON.

    Args:
        threads: of PyTorch's operations and of the library's.
        seconds: that the timing of a batch takes, at least.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows = {name: _race(*batch, seconds) for name, batch in BATCHES.items()}
    finally:
        torch.set_num_threads(before)
    machine = Machine.here()
    return {
        "machine": {"cpu": machine.cpu, "cores": machine.cores, "threads": threads},
        "instructions": os.environ.get("SURFLOSS_CPU_ISA", "best"),
        "versions": versions(()),
        "seconds": rows,
    }


def _race(batch: int, classes: int, size: tuple[int, ...], seconds: float) -> dict[str, dict[str, float]]:
    logits, labels = _sample(batch, classes, size)
    losses: dict[str, nn.Module] = {REGION: DiceCELoss(batch=True)}
    losses |= {
        title: terms.make(name, (1.0,) * len(size), **options) for title, (name, options) in LOSSES.items()
    }

    def step(loss: nn.Module) -> None:
        logits.grad = None
        loss(logits, labels).backward()

    calls = {title: lambda loss=loss: step(loss) for title, loss in losses.items()}
    for call in calls.values():
        call()  # the first one of all loads and allocates
    first = {title: timed(call)[0] for title, call in calls.items()}
    laps = race(calls, first, seconds)
    facts = {title: Times.of(lap) for title, lap in laps.items()}
    return {
        title: {"median": round_to(t.median_s, 4), "p20": round_to(t.p20_s, 4), "p80": round_to(t.p80_s, 4)}
        for title, t in facts.items()
    }


def _sample(batch: int, classes: int, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Logits as those of a network half-way, which errs at boundaries and here and there, and labels."""
    plane = size if len(size) == 3 else (1, *size)
    masks = [np.roll(make("blobs", plane), 7 * item, axis=-1).reshape(size) for item in range(batch)]
    labels = torch.from_numpy(np.stack(masks)).long()[:, None]
    # Of several classes, the right half of each blob is another one.
    for label in range(2, classes):
        labels[..., size[-1] * (label - 1) // (classes - 1) :] *= label
    generator = torch.Generator().manual_seed(0)
    shifted = F.one_hot(labels[:, 0].roll(2, -1), classes).movedim(-1, 1).float()
    logits = 6 * shifted - 3 + torch.randn(shifted.shape, generator=generator)
    return logits.requires_grad_(), labels.float()


def table(facts: Mapping[str, Any]) -> str:
    """Markdown: milliseconds, and how many times as long as Dice + CE."""
    batches = facts["seconds"]
    titles = [REGION, *LOSSES]
    sizes = {name: f"{b}x{c}x" + "x".join(map(str, size)) for name, (b, c, size) in BATCHES.items()}
    body = [[title, *(_cell(batches[name], title) for name in BATCHES)] for title in titles]
    return markdown(["loss", *(f"{name}, {sizes[name]}" for name in BATCHES)], body, texts=1)


def _cell(times: Mapping[str, Mapping[str, float]], title: str) -> str:
    own, region = times[title]["median"], times[REGION]["median"]
    return f"{own * 1e3:.3g} ms ({own / region:.2g})"


def path_of(folder: Path) -> Path:
    return folder / "costs.json"
