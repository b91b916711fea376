"""How strong a term is: the gradient ratio that it has at weight 1 while Dice + CE trains."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.training import data, terms
from benchmarks.training.configurations import TERMS, on
from benchmarks.training.data import TrainingCase
from benchmarks.training.train import RATIO_EVERY, Training, round_to
from surfloss import DiceCELoss

SEEDS = (100, 101)  # of no other training


def measured(task: str, training: list[TrainingCase]) -> dict[str, Any]:
    """The ratios of every term of `TERMS` at weight 1 over trainings of Dice + CE, and their median.

    The median is over the second half of the trainings, where a warmed-up term has its whole weight.
    """
    configuration = on(task)
    losses = {
        title: terms.make(name, training[0].spacing, **options) for title, (name, options) in TERMS.items()
    }
    region = DiceCELoss(batch=True)
    ratios: dict[str, list[list[float]]] = {title: [] for title in TERMS}
    for seed in SEEDS:
        run = Training(configuration, seed)
        patches = data.batches(training, configuration.task, configuration.iterations, seed)
        for iteration, (images, labels) in enumerate(patches, 1):
            logits = run.network(images)
            if iteration % RATIO_EVERY == 0:
                beside = gradient(region, logits, labels).norm()
                for title, loss in losses.items():
                    pull = gradient(loss, logits, labels).norm()
                    ratios[title].append([iteration, round_to(float(pull / beside))])
            run.step(region(logits, labels))
    half = configuration.iterations / 2
    medians = {title: float(np.median([r for i, r in found if i > half])) for title, found in ratios.items()}
    return {"task": task, "seeds": SEEDS, "median": medians, "ratios": ratios}


def gradient(loss: nn.Module, logits: Tensor, labels: Tensor) -> Tensor:
    """Of the loss with respect to the logits."""
    leaf = logits.detach().requires_grad_()
    (found,) = torch.autograd.grad(loss(leaf, labels), leaf)
    return found


def read(folder: Path, task: str) -> Mapping[str, float]:
    """The medians that `measured` found, from its file; none where there is no file."""
    path = path_of(folder, task)
    if not path.exists():
        return {}
    medians: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["median"]
    return medians


def path_of(folder: Path, task: str) -> Path:
    return folder / "strength" / f"{task}.json"
