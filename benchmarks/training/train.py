"""One run: a network trained under one configuration and seed, looked at on whole cases along the way."""

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
MEAN_OVER = 10  # iterations, of the training losses that are kept
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
    """The network, its optimizer and its running mean, which a step moves on.

    The seed decides the network's first weights, the same for every configuration.
    """

    def __init__(self, configuration: Configuration, seed: int) -> None:
        task = configuration.task
        torch.manual_seed(seed)
        self.network = UNet(task.network)
        self.mean = copy.deepcopy(self.network).requires_grad_(False) if task.averaged else self.network
        # nnU-Net's kind, which follows the size of a gradient.
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
            kept = min(self._averaged, self._steps / (self._steps + 10))  # forgets the first weights soon
            for mean, now in zip(self.mean.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(now.detach(), 1 - kept)


def train(
    configuration: Configuration,
    weight: float,
    seed: int,
    training: list[TrainingCase],
    validation: list[TrainingCase],
) -> tuple[UNet, dict[str, Any]]:
    """The trained network, and what is known of the run, ready for JSON.

    Args:
        weight: the last one of the surface term.
        seed: of the first weights and the patches, both the same for every configuration.
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
    """The metrics of every case, segmented whole; None where one is undefined."""
    task = configuration.task
    window = task.window or configuration.patch
    return [measure(segment(network, case, window), case, task) for case in cases]


def segment(network: UNet, case: TrainingCase, window: Sequence[int]) -> Mask:
    """The predicted labels of a case, from half-overlapping windows.

    The network's normalization is an instance's. A window far from the training's size is another
    distribution, and so is one that is mostly background.
    """
    labels: Mask = logits_of(network, case, window).argmax(0).to(torch.uint8).numpy()
    return labels


def logits_of(network: UNet, case: TrainingCase, window: Sequence[int]) -> Tensor:
    """`(classes, *spatial)`."""
    with torch.no_grad():
        logits: Tensor = sliding_window_inference(
            case.image[None, None].float(), window, 4, network, overlap=0.5, mode="gaussian"
        )[0]
    return logits


def measure(labels: Mask, case: TrainingCase, task: Task) -> dict[str, Any]:
    """The metrics of a case: the mean over its foreground classes, of those that are defined.

    "null" is how many of these classes were not found at all; the task says what they are worth.
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
    """To so many significant digits: enough for a table, and short in a file."""
    return float(f"{value:.{digits}g}")
