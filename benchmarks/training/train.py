"""One run: a network trained under one configuration and seed, looked at on whole volumes along the way."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from benchmarks.training import data
from benchmarks.training.configurations import TOLERANCE_MM, Configuration
from benchmarks.training.data import Volume
from benchmarks.training.network import UNet
from surfloss import GradientRatioMonitor
from surfloss.metrics import evaluate

BATCH = 2
LEARNING_RATE = 5e-2
LOOKS = 3  # at the validation part, evenly over a training
RATIO_EVERY = 20
MEAN_OVER = 10  # iterations, of the training losses that are kept
METRICS = (
    "dice",
    "hausdorff_distance_95",
    "surface_dice",
    "relative_volume_difference",
    "volume_ml",
    "target_volume_ml",
)


def train(
    configuration: Configuration, seed: int, training: list[Volume], validation: list[Volume]
) -> tuple[UNet, dict[str, Any]]:
    """The trained network, and what is known of the run, ready for JSON.

    The seed decides the network's first weights and the patches, both the same for every configuration.
    """
    torch.manual_seed(seed)
    network = UNet().to(memory_format=torch.channels_last_3d)
    loss = configuration.loss(training[0].spacing)
    monitor = None
    if configuration.surface:
        capped = configuration.cap is not None
        limit = configuration.cap if capped else math.inf
        monitor = GradientRatioMonitor(loss, limit=limit, every=RATIO_EVERY, cap=capped)
    # nnU-Net's kind, which follows the size of a gradient.
    optimizer = torch.optim.SGD(network.parameters(), LEARNING_RATE, momentum=0.9, nesterov=True)
    iterations = configuration.iterations
    decay = torch.optim.lr_scheduler.PolynomialLR(optimizer, iterations, 0.9)
    ratios: list[list[float]] = []
    region: list[float] = []
    looks: list[dict[str, Any]] = []
    patches = data.batches(
        training, iterations, BATCH, configuration.patch, configuration.share_with_lesion, seed
    )
    for iteration, (images, labels) in enumerate(patches, 1):
        optimizer.zero_grad()
        logits = network(images.to(memory_format=torch.channels_last_3d))
        if monitor is not None and (ratio := monitor(logits, labels)) is not None:
            ratios.append([iteration, ratio])
        loss(logits, labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 12)  # nnU-Net's
        optimizer.step()
        decay.step()
        loss.step()
        region.append(float(loss.last_terms["dice_ce"]))
        if iteration * LOOKS % iterations < LOOKS:
            looks.append({"iteration": iteration, "cases": look(network, validation, configuration.patch)})
    means = np.array(region[: iterations // MEAN_OVER * MEAN_OVER]).reshape(-1, MEAN_OVER).mean(1)
    facts = {
        "configuration": asdict(configuration),
        "seed": seed,
        "ratios": ratios,
        "dice_ce": means.round(4).tolist(),
        "validation": looks,
    }
    return network, facts


def look(network: UNet, volumes: Sequence[Volume], patch: Sequence[int]) -> list[dict[str, float | None]]:
    """The metrics of every volume, segmented whole; None where one is undefined."""
    return [measure(segment(network, volume, patch), volume) for volume in volumes]


def segment(network: UNet, volume: Volume, patch: Sequence[int]) -> npt.NDArray[np.bool_]:
    """The predicted mask of a volume, `(z, y, x)`, from half-overlapping patches of the training's size.

    The network's normalization is an instance's, so a larger window would be another distribution.
    """
    with torch.no_grad():
        logits = sliding_window_inference(
            volume.image[None, None], patch, 1, network, overlap=0.5, mode="gaussian"
        )
    predicted: npt.NDArray[np.bool_] = logits[0].argmax(0).bool().numpy()
    return predicted


def measure(mask: npt.NDArray[np.bool_], volume: Volume) -> dict[str, float | None]:
    metrics = asdict(evaluate(mask, volume.label.numpy(), spacing=volume.spacing, tolerance=TOLERANCE_MM))
    return {name: metrics[name] for name in METRICS}
