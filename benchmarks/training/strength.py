"""Measure how strong each term is, and where its gradient lies, during trainings of Dice + CE."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import surfloss
from benchmarks.training import data, terms
from benchmarks.training.configurations import TERMS, TRIED, on
from benchmarks.training.data import TrainingCase
from benchmarks.training.train import RATIO_EVERY, Training, round_to
from surfloss import DiceCELoss

SEEDS = (100, 101)  # used by no other training
# Bin edges of the distance to the target's boundary, in tolerances of the surface Dice; the last bin is open.
EDGES = (1.5, 3.0, 6.0, 12.0)


def measured(task: str, training: list[TrainingCase]) -> dict[str, Any]:
    """Measure every term at weight 1 along trainings of Dice + CE; the result can be written as JSON.

    Returns:
        "moments": the measured iterations, of one training after the other. By title of a term:
        "ratios": the length of its gradient over that of Dice + CE, at every moment;
        "cosines": the cosine of the angle between its gradient and that of squared error;
        "shares": the fraction of the summed gradient sizes in each bin of `EDGES`;
        "median": the median ratio in the second half, where a warmed-up term has its full weight.
    """
    configuration = on(task)
    spacing, unit = training[0].spacing, configuration.task.tolerance
    losses = {"Dice + CE": DiceCELoss(batch=True)} | {
        title: terms.make(name, spacing, **options) for title, (name, options) in (TERMS | TRIED).items()
    }
    moments: list[int] = []
    found: dict[str, dict[str, list[Any]]] = {
        what: {title: [] for title in losses} for what in ("ratios", "cosines", "shares")
    }
    for seed in SEEDS:
        run = Training(configuration, seed)
        patches = data.batches(training, configuration.task, configuration.iterations, seed)
        for iteration, (images, labels) in enumerate(patches, 1):
            logits = run.network(images)
            if iteration % RATIO_EVERY == 0:
                moments.append(iteration)
                gradients = {title: gradient(loss, logits, labels) for title, loss in losses.items()}
                squared = gradients["squared error"]
                bins = _bins(labels, spacing, unit)
                for title, pull in gradients.items():
                    length = pull.norm()
                    found["ratios"][title].append(round_to(float(length / gradients["Dice + CE"].norm())))
                    cosine = (pull * squared).sum() / (length * squared.norm()).clamp_min(1e-30)
                    found["cosines"][title].append(round_to(float(cosine), 3))
                    found["shares"][title].append(_shares(pull, bins))
            run.step(losses["Dice + CE"](logits, labels))
    late = np.array(moments) > configuration.iterations / 2
    medians = {title: float(np.median(np.array(r)[late])) for title, r in found["ratios"].items()}
    return {"task": task, "seeds": SEEDS, "moments": moments, "edges": EDGES, "median": medians, **found}


def gradient(loss: nn.Module, logits: Tensor, labels: Tensor) -> Tensor:
    """The gradient of the loss with respect to the logits."""
    leaf = logits.detach().requires_grad_()
    (found,) = torch.autograd.grad(loss(leaf, labels), leaf)
    return found


def _bins(labels: Tensor, spacing: tuple[float, ...], unit: float) -> Tensor:
    """The bin of every voxel, `(batch, *spatial)`; the last bin if there is no boundary."""
    foreground = labels[:, 0] > 0
    distance = surfloss.two_sided_edt(foreground, spatial_dims=foreground.ndim - 1, spacing=spacing)
    return torch.bucketize(distance / unit, torch.tensor(EDGES))


def _shares(pull: Tensor, bins: Tensor) -> list[float]:
    sizes = pull.norm(dim=1).flatten()
    sums = torch.bincount(bins.flatten(), sizes, minlength=len(EDGES) + 1)
    return [round_to(share, 3) for share in (sums / sums.sum().clamp_min(1e-30)).tolist()]


def read(folder: Path, task: str) -> Mapping[str, float]:
    """Read the medians of `measured` from its file; empty if the file is missing."""
    path = path_of(folder, task)
    if not path.exists():
        return {}
    medians: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["median"]
    return medians


def path_of(folder: Path, task: str) -> Path:
    return folder / "strength" / f"{task}.json"
