"""Train a small 2-D network with a surface loss in plain PyTorch, on the phantom.

The network sees a slice with its neighbors as channels. Dice + cross-entropy come first; the Hausdorff loss
joins on a ramp, its pull capped at half of theirs. Takes some seconds on one core:

    python examples/plain_pytorch.py
"""

import torch
from torch import Tensor, nn

import surfloss
from surfloss import metrics
from surfloss.phantom import make_case
from surfloss.schedules import CosineRamp

SIZE = (8, 48, 48)
TRAINING, TEST = range(11, 25), (7, 10)  # numbers of cases
STEPS = 250
BATCH = 8


def with_neighbors(image: Tensor) -> Tensor:
    """`(z, y, x)` to `(z, 3, y, x)`: the slice below, the slice, the slice above; the ends repeat."""
    padded = torch.cat([image[:1], image, image[-1:]])
    return torch.stack([padded[:-2], padded[1:-1], padded[2:]], 1)


def load(number: int) -> tuple[Tensor, Tensor, tuple[float, float, float]]:
    """A phantom's slices in [0, 1], its labels `(z, 1, y, x)`, and its spacing in mm."""
    case = make_case(SIZE, seed=1, case=number)
    image = torch.from_numpy(case.image).float().clamp(0, 100) / 100
    return with_neighbors(image), torch.from_numpy(case.label).long()[:, None], case.spacing


def block(channels: int, features: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, features, 3, padding=1), nn.BatchNorm2d(features), nn.ReLU())


def train(steps: int = STEPS) -> tuple[nn.Module, list[float]]:
    """The trained network, and the loss of every step."""
    torch.manual_seed(0)
    cases = [load(number) for number in TRAINING]
    images, labels = (torch.cat([case[i] for case in cases]) for i in (0, 1))
    spacings = torch.tensor([case[2][1:] for case in cases]).repeat_interleave(SIZE[0], 0)  # mm along y, x

    network = nn.Sequential(block(3, 16), block(16, 16), block(16, 16), nn.Conv2d(16, 2, 1))
    loss = surfloss.CompoundLoss(
        {
            "dice_ce": (surfloss.DiceCELoss(batch=True), 1.0),
            "surface": (surfloss.HausdorffDTLoss(softmax=True, to_onehot_y=True), CosineRamp(1e-3, steps)),
        },
        nonfinite="raise",
    )
    monitor = surfloss.GradientRatioMonitor(loss, limit=0.5, every=10, cap=True)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    values = []
    for _ in range(steps):
        chosen = torch.randint(len(images), (BATCH,))
        logits, target = network(images[chosen]), labels[chosen]
        surface = {"spacing": spacings[chosen]}
        monitor(logits, target, surface=surface)
        value = loss(logits, target, surface=surface)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        loss.step()
        values.append(value.item())
    return network.eval(), values


def main() -> tuple[float, float, list[metrics.CaseMetrics]]:
    """The mean loss of the first and of the last ten steps, and the metrics of the test cases."""
    network, values = train()
    first, last = sum(values[:10]) / 10, sum(values[-10:]) / 10
    print(f"loss: {first:.3f} at first, {last:.3f} at last")
    results = []
    for number in TEST:
        image, labels, spacing = load(number)
        with torch.no_grad():
            prediction = network(image).argmax(1)
        case = metrics.evaluate(prediction, labels[:, 0], spacing=spacing, tolerance=spacing[1])
        print(f"case {number}: Dice {case.dice:.3f}, surface Dice {case.surface_dice}")
        results.append(case)
    return first, last, results


if __name__ == "__main__":
    torch.set_num_threads(1)  # so small a network gains nothing from more
    main()
