"""One run: a network trained under one configuration and seed, looked at on whole volumes along the way."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from benchmarks.training import data
from benchmarks.training.configurations import ITERATIONS, Configuration
from benchmarks.training.data import Volume
from benchmarks.training.network import UNet
from surfloss import GradientRatioMonitor
from surfloss.metrics import evaluate

BATCH = 2
LEARNING_RATE = {"adam": 3e-3, "sgd": 5e-2}
LOOK_EVERY = 60  # iterations
RATIO_EVERY = 20
TOLERANCE_MM = 1.7  # a voxel in plane, as INSTANCE2022's 0.42 mm is
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
        monitor = GradientRatioMonitor(loss, limit=math.inf, every=RATIO_EVERY)
    optimizer = _optimizer(configuration.optimizer, network)
    decay = torch.optim.lr_scheduler.PolynomialLR(optimizer, ITERATIONS, 0.9)
    ratios: list[list[float]] = []
    looks: list[dict[str, Any]] = []
    patches = data.batches(training, ITERATIONS, BATCH, configuration.share_with_lesion, seed)
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
        if iteration % LOOK_EVERY == 0:
            looks.append({"iteration": iteration, "cases": look(network, validation)})
    facts = {"configuration": asdict(configuration), "seed": seed, "ratios": ratios, "validation": looks}
    return network, facts


def look(network: UNet, volumes: Sequence[Volume]) -> list[dict[str, float | None]]:
    """The metrics of every volume, segmented whole; None where one is undefined."""
    cases = []
    with torch.no_grad():
        for volume in volumes:
            predicted = network(volume.image[None, None])[0].argmax(0)
            metrics = asdict(
                evaluate(predicted.numpy(), volume.label.numpy(), volume.spacing, tolerance=TOLERANCE_MM)
            )
            cases.append({name: metrics[name] for name in METRICS})
    return cases


def _optimizer(name: str, network: UNet) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(network.parameters(), LEARNING_RATE[name], momentum=0.9, nesterov=True)
    return torch.optim.AdamW(network.parameters(), LEARNING_RATE[name])
