"""Time forward and backward of each term on a CPU, relative to Dice + CE on the same batch."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.documents import table as markdown
from benchmarks.training import terms
from benchmarks.training.train import round_to
from surfloss import DiceCELoss
from surfloss.bench.losses import Batch, raced, sample, step
from surfloss.bench.machine import Machine, versions

# The study's own batches, and the paper's.
BATCHES = {
    "nuclei": Batch(1, 2, (256, 256)),
    "hippocampus": Batch(2, 3, (32, 40, 32)),
    "head CT": Batch(2, 2, (16, 320, 320)),
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
    """Time every loss on every batch; the result can be written as JSON.

    Args:
        threads: number of threads of PyTorch and of surfloss.
        seconds: minimum time of timing per batch.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows = {name: _race(batch, seconds) for name, batch in BATCHES.items()}
    finally:
        torch.set_num_threads(before)
    machine = Machine.here()
    return {
        "machine": {"cpu": machine.cpu, "cores": machine.cores, "threads": threads},
        "instructions": os.environ.get("SURFLOSS_CPU_ISA", "best"),
        "versions": versions(()),
        "seconds": rows,
    }


def _race(batch: Batch, seconds: float) -> dict[str, dict[str, float]]:
    logits, labels = sample(batch)
    logits.requires_grad_()
    losses: dict[str, nn.Module] = {REGION: DiceCELoss(batch=True)}
    losses |= {
        title: terms.make(name, (1.0,) * len(batch.size), **options)
        for title, (name, options) in LOSSES.items()
    }
    facts = raced({title: partial(step, loss, logits, labels) for title, loss in losses.items()}, seconds)
    return {
        title: {"median": round_to(t.median_s, 4), "p20": round_to(t.p20_s, 4), "p80": round_to(t.p80_s, 4)}
        for title, t in facts.items()
    }


def table(facts: Mapping[str, Any]) -> str:
    """Markdown table of milliseconds, with the time relative to Dice + CE in parentheses."""
    batches = facts["seconds"]
    titles = [REGION, *LOSSES]
    body = [[title, *(_cell(batches[name], title) for name in BATCHES)] for title in titles]
    return markdown(["loss", *(f"{name}, {batch}" for name, batch in BATCHES.items())], body, texts=1)


def _cell(times: Mapping[str, Mapping[str, float]], title: str) -> str:
    own, region = times[title]["median"], times[REGION]["median"]
    return f"{own * 1e3:.3g} ms ({own / region:.2g})"


def path_of(folder: Path) -> Path:
    return folder / "costs.json"
