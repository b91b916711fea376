"""One run: train a network with one configuration and seed, and evaluate it on whole cases."""

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from benchmarks.training import data
from benchmarks.training.configurations import Configuration
from benchmarks.training.data import TrainingCase
from benchmarks.training.network import UNet
from benchmarks.training.tasks import Task
from surfloss import GradientRatioMonitor
from surfloss.metrics import evaluate

RATIO_EVERY = 20
MEAN_OVER = 10  # iterations over which saved training losses are averaged
GRADIENT_CLIP = 12.0  # nnU-Net's
METRICS = (
    "dice",
    "hausdorff_distance_95",
    "surface_dice",
    "average_symmetric_surface_distance",
    "relative_volume_difference",
    "volume_ml",
    "target_volume_ml",
    "lesions",
    "detected_lesions",
    "false_positive_lesions",
)
Mask = npt.NDArray[np.uint8]


class Training:
    """A network with its optimizer and the running mean of its weights.

    The seed determines the initial weights, which are the same for every configuration.
    """

    def __init__(self, configuration: Configuration, seed: int) -> None:
        task = configuration.task
        torch.manual_seed(seed)
        self.network = UNet(task.network)
        self.mean = copy.deepcopy(self.network).requires_grad_(False) if task.averaged else self.network
        # SGD as in nnU-Net; its step is proportional to the gradient.
        self._optimizer = torch.optim.SGD(
            self.network.parameters(), task.learning_rate, momentum=0.9, nesterov=True
        )
        self._decay = torch.optim.lr_scheduler.PolynomialLR(self._optimizer, configuration.iterations, 0.9)
        self._averaged = task.averaged
        self._steps = 0

    def step(self, loss: Tensor) -> None:
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_CLIP)
        self._optimizer.step()
        self._decay.step()
        self._steps += 1
        if self._averaged:
            kept = min(self._averaged, self._steps / (self._steps + 10))  # forgets the initial weights soon
            for mean, now in zip(self.mean.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(now.detach(), 1 - kept)


def train(
    configuration: Configuration,
    weight: float,
    seed: int,
    training: list[TrainingCase],
    validation: list[TrainingCase],
) -> tuple[UNet, dict[str, Any]]:
    """Train a network; return it, and facts about the run that can be written as JSON.

    Args:
        weight: the final weight of the surface term.
        seed: determines the initial weights and the patches, which are the same for every configuration.
    """
    run = Training(configuration, seed)
    loss = configuration.loss(training[0].spacing, weight)
    monitor = None
    if configuration.surface:
        capped = configuration.cap is not None
        limit = configuration.cap if capped else math.inf
        monitor = GradientRatioMonitor(loss, limit=limit, every=RATIO_EVERY, cap=capped)
    iterations, looks_wanted = configuration.iterations, configuration.task.looks
    ratios: list[list[float]] = []
    region: list[float] = []
    looks: list[dict[str, Any]] = []
    for iteration, (images, labels) in enumerate(_batches(configuration, seed, training), 1):
        logits = run.network(images)
        if monitor is not None and (ratio := monitor(logits, labels)) is not None:
            ratios.append([iteration, round_to(ratio)])
        run.step(loss(logits, labels))
        loss.step()
        region.append(float(loss.last_terms["dice_ce"]))
        if iteration * looks_wanted % iterations < looks_wanted:
            looks.append({"iteration": iteration, "cases": look(run.mean, validation, configuration)})
    means = np.array(region[: iterations // MEAN_OVER * MEAN_OVER]).reshape(-1, MEAN_OVER).mean(1)
    facts = {
        "configuration": asdict(configuration),
        "task": asdict(configuration.task),
        "weight": weight,
        "seed": seed,
        "trained_on": [case.name for case in training],
        "ratios": ratios,
        "dice_ce": means.round(4).tolist(),
        "validation": looks,
    }
    return run.mean, facts


def _batches(configuration: Configuration, seed: int, training: list[TrainingCase]) -> Any:
    return data.batches(
        training,
        configuration.task,
        configuration.iterations,
        seed,
        patch=configuration.patch,
        foreground_share=configuration.share_with_lesion,
    )


def look(network: UNet, cases: Sequence[TrainingCase], configuration: Configuration) -> list[dict[str, Any]]:
    """Segment whole cases and return the metrics of each; None for undefined ones."""
    task = configuration.task
    window = task.window or configuration.patch
    return [measure(segment(network, case, window), case, task) for case in cases]


def segment(network: UNet, case: TrainingCase, window: Sequence[int]) -> Mask:
    """Predict the labels of a case from half-overlapping windows.

    The network uses instance normalization. A window whose size differs much from the training patches, or
    one with mostly background, therefore has a different distribution.
    """
    labels: Mask = logits_of(network, case, window).argmax(0).to(torch.uint8).numpy()
    return labels


def logits_of(network: UNet, case: TrainingCase, window: Sequence[int]) -> Tensor:
    """The logits of a case, `(classes, *spatial)`."""
    with torch.no_grad():
        logits: Tensor = sliding_window_inference(
            case.image[None, None].float(), window, 4, network, overlap=0.5, mode="gaussian"
        )[0]
    return logits


def measure(labels: Mask, case: TrainingCase, task: Task) -> dict[str, Any]:
    """The metrics of a case, each averaged over the foreground classes for which it is defined.

    "null" is the number of classes that were not found at all. The task defines their metrics.
    """
    target = case.label.numpy()
    values: dict[str, list[float]] = {name: [] for name in METRICS}
    classes = range(1, max(1, int(target.max())) + 1)
    for label in classes:
        metrics = evaluate(
            labels == label, target == label, spacing=case.spacing, tolerance=task.tolerance, empty=task.empty
        )
        for name in METRICS:
            value = getattr(metrics, name)
            if value is not None:
                values[name].append(float(value))
    means = {name: round_to(float(np.mean(found))) if found else None for name, found in values.items()}
    return {"case": case.name, **means, "null": sum(not (labels == label).any() for label in classes)}


def round_to(value: float, digits: int = 5) -> float:
    """Round to significant digits, enough for a table and short in a file."""
    return float(f"{value:.{digits}g}")
