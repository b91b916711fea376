"""Time that a surface loss adds to a training step of nnU-Net's 3-D network.

The network is the one that nnU-Net v2 plans for a patch of 16x320x320 at 5 x 0.42 x 0.42 mm. It uses
nnU-Net's code if `dynamic_network_architectures` is installed, otherwise the same layers in plain PyTorch. A
step is nnU-Net's: deep supervision, autocast, scaled gradients, clipping, SGD with Nesterov momentum. Data
are already on the device, and nothing is compiled. The losses take turns on one network.
"""

import argparse
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.memory import gpu_peak
from benchmarks.plans import PATCH
from surfloss import CompoundLoss, ContourLoss, DiceCELoss, HausdorffDTLoss
from surfloss._files import write_text
from surfloss.bench.timing import Times, race, synchronized
from surfloss.bench.workloads import Workload

BATCH = 2
FEATURES = (32, 64, 128, 256, 320, 320, 320)
KERNELS = ((1, 3, 3),) * 3 + ((3, 3, 3),) * 4
STRIDES = ((1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
CLASSES, CHANNELS = 2, 1
_TINY = ((8, 32, 32), FEATURES[:3])


class Stage(nn.Sequential):
    """Two convolutions, each with instance normalization and a leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...]):
        layers: list[nn.Module] = []
        for channels, step in ((inputs, stride), (outputs, (1, 1, 1))):
            padding = tuple(side // 2 for side in kernel)
            layers.append(nn.Conv3d(channels, outputs, kernel, step, padding))
            layers.append(nn.InstanceNorm3d(outputs, eps=1e-5, affine=True))
            layers.append(nn.LeakyReLU(inplace=True))
        super().__init__(*layers)


class PlainUNet(nn.Module):
    """The U-Net that nnU-Net v2 plans (Isensee et al. 2021). Returns logits per resolution, full first."""

    def __init__(self, features: tuple[int, ...] = FEATURES) -> None:
        super().__init__()
        depth = len(features)
        inputs = (CHANNELS, *features[:-1])
        self.down = nn.ModuleList(map(Stage, inputs, features, KERNELS[:depth], STRIDES[:depth]))
        self.up, self.merge, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(depth - 1)):
            step = STRIDES[level + 1]
            self.up.append(nn.ConvTranspose3d(features[level + 1], features[level], step, step))
            self.merge.append(Stage(2 * features[level], features[level], KERNELS[level], (1, 1, 1)))
            self.heads.append(nn.Conv3d(features[level], CLASSES, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        skips.pop()
        logits = []
        for up, merge, head in zip(self.up, self.merge, self.heads, strict=True):
            x = merge(torch.cat([up(x), skips.pop()], 1))
            logits.append(head(x))
        return logits[::-1]


def network(features: tuple[int, ...] = FEATURES) -> nn.Module:
    """Return nnU-Net's own network if installed, otherwise the same in plain PyTorch."""
    try:
        from dynamic_network_architectures.architectures.unet import PlainConvUNet
    except ImportError:
        return PlainUNet(features)
    depth = len(features)
    return PlainConvUNet(
        CHANNELS,
        depth,
        features,
        nn.Conv3d,
        KERNELS[:depth],
        STRIDES[:depth],
        n_conv_per_stage=2,
        num_classes=CLASSES,
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )


class DeepSupervision(nn.Module):
    """The loss at every resolution except the lowest, with nnU-Net's weights, which halve with each."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: list[Tensor], targets: list[Tensor]) -> Tensor:
        weights = [0.5**level for level in range(len(logits))]
        weights[-1] = 0.0
        terms = zip(weights, logits, targets, strict=True)
        total: Tensor = sum(weight * self.loss(x, y) for weight, x, y in terms if weight)
        return total / sum(weights)


def losses() -> dict[str, nn.Module]:
    options = {"softmax": True, "to_onehot_y": True}
    surfaces = {"hausdorff": HausdorffDTLoss(**options), "contour": ContourLoss(**options)}
    chosen = {"dice_ce": CompoundLoss({"dice_ce": (DiceCELoss(), 1.0)})}
    for name, surface in surfaces.items():
        chosen[f"dice_ce + {name}"] = CompoundLoss({"dice_ce": (DiceCELoss(), 1.0), name: (surface, 1e-3)})
    return {name: DeepSupervision(loss) for name, loss in chosen.items()}


def data(patch: tuple[int, ...], levels: int, device: str) -> tuple[Tensor, list[Tensor]]:
    """Return an image of lesions with noise, and the lesions as labels at every resolution."""
    masks, _ = Workload("edt", patch, "blobs", items=BATCH).batch()
    labels = torch.from_numpy(masks)[:, None].float().to(device)
    image = labels + torch.randn(labels.shape, device=device)
    targets = [labels]
    for stride in STRIDES[1:levels]:
        targets.append(nn.functional.max_pool3d(targets[-1], stride))
    return image, targets


def steps(
    model: nn.Module, image: Tensor, targets: list[Tensor], device: str
) -> dict[str, Callable[[], Tensor]]:
    """Return one training step per loss, by name."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)
    mixed = device == "cuda"
    scaler = torch.amp.GradScaler(device, enabled=mixed)

    def step(loss: nn.Module) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.float16, enabled=mixed):
            value: Tensor = loss(model(image), targets)
        scaler.scale(value).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 12)
        scaler.step(optimizer)
        scaler.update()
        return value.detach()

    return {name: lambda loss=loss: step(loss) for name, loss in losses().items()}


def measure(device: str, seconds: float, tiny: bool) -> dict[str, Any]:
    """Measure each loss's step: seconds, peak memory, and time relative to Dice + CE alone."""
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    patch, features = _TINY if tiny else (PATCH, FEATURES)
    model = network(features).to(device)
    image, targets = data(patch, len(features) - 1, device)
    calls = {n: synchronized(call, device) for n, call in steps(model, image, targets, device).items()}
    peaks = {}
    for name, call in calls.items():
        value = call()
        assert math.isfinite(float(value)), f"{name} is {float(value)}"
        peaks[name] = gpu_peak(call, device)
    # Estimates of 0: `race` repeats slow calls less often, and no step is that slow on a GPU.
    laps = race(calls, dict.fromkeys(calls, 0.0), seconds)
    results = {name: asdict(Times.of(lap)) | {"peak_bytes": peaks[name]} for name, lap in laps.items()}
    for result in results.values():
        result["ratio"] = result["median_s"] / results["dice_ce"]["median_s"]
    code = "dynamic_network_architectures" if not isinstance(model, PlainUNet) else "plain PyTorch"
    parameters = sum(p.numel() for p in model.parameters())
    facts = {"patch": patch, "batch": BATCH, "network": code, "parameters": parameters}
    return facts | {"mixed_precision": device == "cuda", "steps": results}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    result = measure(options.device, 0.1 if options.tiny else options.seconds, options.tiny)
    text = json.dumps({"training_step": result}, indent=1, allow_nan=False)
    print(text)
    if findings := os.environ.get("PART_FINDINGS"):
        write_text(Path(findings), text)


if __name__ == "__main__":
    main()
