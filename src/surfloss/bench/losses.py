"""What every loss costs, forward and backward, beside Dice + CE and a small network's step."""

import datetime
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Self, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surfloss.bench import machine
from surfloss.bench.memory import peak_in_a_process
from surfloss.bench.report import Table, spread_text, time_text
from surfloss.bench.timing import Times, race, timed
from surfloss.bench.workloads import Size, make
from surfloss.losses.boundary import BoundaryLoss, GeneralizedSurfaceLoss
from surfloss.losses.contour import ContourLoss
from surfloss.losses.dice_ce import DiceCELoss
from surfloss.losses.hausdorff import HausdorffDTLoss, LogHausdorffDTLoss
from surfloss.losses.hausdorff_conv import HausdorffConvLoss
from surfloss.losses.hausdorff_er import HausdorffERLoss
from surfloss.losses.surface_dice import SurfaceDiceLoss

Call: TypeAlias = Callable[[], Any]

_AS_LOGITS: dict[str, Any] = {"softmax": True, "to_onehot_y": True, "include_background": False}


class _KorniaErosion(nn.Module):
    """kornia's loss takes probabilities, and whole labels."""

    def __init__(self, planes: bool) -> None:
        super().__init__()
        from kornia import losses

        self.loss: nn.Module = (losses.HausdorffERLoss if planes else losses.HausdorffERLoss3D)()

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        value: Tensor = self.loss(logits.softmax(1), labels.long())
        return value


def _monai_boundary(_: bool) -> nn.Module:
    from monai.losses import BoundaryLoss as Peer

    loss: nn.Module = Peer(softmax=True, to_onehot_y=True, include_background=False)
    return loss


REGION, NETWORK = "DiceCELoss()", "step of a small network"
LOSSES: dict[str, Callable[[], nn.Module]] = {
    REGION: DiceCELoss,
    "HausdorffDTLoss()": partial(HausdorffDTLoss, **_AS_LOGITS),
    'HausdorffDTLoss(max_distance=10, normalize="errors")': partial(
        HausdorffDTLoss, **_AS_LOGITS, max_distance=10.0, normalize="errors"
    ),
    "LogHausdorffDTLoss()": partial(LogHausdorffDTLoss, **_AS_LOGITS),
    "HausdorffERLoss()": partial(HausdorffERLoss, **_AS_LOGITS),
    "HausdorffConvLoss()": partial(HausdorffConvLoss, **_AS_LOGITS),
    "BoundaryLoss()": partial(BoundaryLoss, **_AS_LOGITS),
    "GeneralizedSurfaceLoss()": partial(GeneralizedSurfaceLoss, **_AS_LOGITS),
    "SurfaceDiceLoss(tolerance=1)": partial(SurfaceDiceLoss, tolerance=1.0, **_AS_LOGITS),
    'ContourLoss(mode="map")': partial(ContourLoss, mode="map", **_AS_LOGITS),
}
# Of other libraries, with their package: left out where that is not installed.
PEERS: dict[str, tuple[str, Callable[[bool], nn.Module]]] = {
    "kornia's HausdorffERLoss": ("kornia", _KorniaErosion),
    "MONAI's BoundaryLoss": ("monai", _monai_boundary),
}
# Nothing is known of a network's own size here; three convolutions of eight channels are as few as any has.
_CHANNELS = 8


@dataclass(frozen=True)
class Batch:
    """Items, classes with the background, and voxels along the axes of space."""

    items: int
    classes: int
    size: Size

    def __str__(self) -> str:
        return "x".join(map(str, (self.items, self.classes, *self.size)))


BATCHES = (Batch(2, 2, (16, 320, 320)), Batch(2, 3, (40, 56, 40)))


@dataclass(frozen=True)
class Cost:
    """Of one loss on one batch; memory in bytes, with the gradient, None where it was not measured."""

    times: Times
    peak_extra_bytes: int | None


@dataclass
class Costs:
    """Of every loss by batch, then by its name in the tables."""

    date: str
    machine: machine.Machine
    threads: int
    versions: dict[str, str]
    batches: dict[str, dict[str, Cost]] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """The reverse of `to_dict`."""
        batches = {
            batch: {
                name: Cost(Times(**cost["times"]), cost["peak_extra_bytes"]) for name, cost in rows.items()
            }
            for batch, rows in found["batches"].items()
        }
        own = {"machine": machine.Machine(**found["machine"]), "batches": batches}
        return cls(**dict(found) | own)

    def to_dict(self) -> dict[str, Any]:
        """What `surfloss bench losses --json` writes."""
        return asdict(self)


def measure(
    batches: Iterable[Batch], *, threads: int, seconds: float, notice: Callable[[str], None] = lambda _: None
) -> Costs:
    """Every loss on every batch.

    Args:
        threads: of PyTorch's operations and of the library's.
        seconds: of timing a batch, shared by all losses; slow ones may need more.
        notice: is told what happens now.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    peers = {name: package for name, (package, _) in PEERS.items() if find_spec(package)}
    costs = Costs(now, machine.Machine.here(), threads, machine.versions(list(peers.values())))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for batch in batches:
            notice(f"{batch}: time")
            calls = {name: _call(name, batch) for name in (*LOSSES, *peers, NETWORK)}
            times = raced(calls, seconds)
            rows = {}
            for name, own in times.items():
                notice(f"{batch}: memory of {name}")
                peak = None if name == NETWORK else peak_in_a_process(partial(_calls, name, batch, threads))
                rows[name] = Cost(own, peak)
            costs.batches[str(batch)] = rows
    finally:
        torch.set_num_threads(before)
    return costs


def raced(calls: Mapping[str, Call], seconds: float) -> dict[str, Times]:
    """Times of the calls side by side, after each was called once to load and allocate."""
    for call in calls.values():
        call()
    first = {name: timed(call)[0] for name, call in calls.items()}
    return {name: Times.of(laps) for name, laps in race(calls, first, seconds).items()}


def sample(batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits as those of a network half-way, which errs at boundaries and here and there, and labels.

    Returns:
        float32 `(items, classes, *size)` and float32 `(items, 1, *size)`.
    """
    size = batch.size
    plane = size if len(size) == 3 else (1, *size)
    masks = [np.roll(make("blobs", plane), 7 * item, axis=-1).reshape(size) for item in range(batch.items)]
    labels = torch.from_numpy(np.stack(masks)).long()[:, None]
    # Of several classes, the right half of each blob is another one.
    for label in range(2, batch.classes):
        labels[..., size[-1] * (label - 1) // (batch.classes - 1) :] *= label
    generator = torch.Generator().manual_seed(0)
    shifted = F.one_hot(labels[:, 0].roll(2, -1), batch.classes).movedim(-1, 1).float()
    logits = 6 * shifted - 3 + torch.randn(shifted.shape, generator=generator)
    return logits, labels.float()


def step(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> Tensor:
    """Forward and backward; the gradient on the logits."""
    logits.grad = None
    loss(logits, labels).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    return logits.grad


def _call(name: str, batch: Batch) -> Call:
    logits, labels = sample(batch)
    if name != NETWORK:
        loss = PEERS[name][1](len(batch.size) == 2) if name in PEERS else LOSSES[name]()
        return partial(step, loss, logits.requires_grad_(), labels)
    network, region, image = _network(batch), DiceCELoss(), logits[:, :1].clone()

    def train() -> None:
        network.zero_grad()
        region(network(image), labels).backward()

    return train


def _network(batch: Batch) -> nn.Module:
    convolution: Any = nn.Conv3d if len(batch.size) == 3 else nn.Conv2d
    channels = (1, _CHANNELS, _CHANNELS, batch.classes)
    layers: list[nn.Module] = []
    for inside, outside in pairwise(channels):
        layers += [convolution(inside, outside, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _calls(name: str, batch: Batch, threads: int) -> tuple[Call, Call]:
    torch.set_num_threads(threads)
    small = Batch(batch.items, batch.classes, tuple(min(size, 16) for size in batch.size))
    return _call(name, small), _call(name, batch)


def table(costs: Costs) -> Table:
    """A line a loss: time, how many times as long as Dice + CE, and memory in tensors of the logits' size."""
    names = list(next(iter(costs.batches.values()), {}))
    body = [
        [name, *(text for batch in costs.batches for text in _cells(costs, batch, name))] for name in names
    ]
    return ["loss", *(title for batch in costs.batches for title in (batch, "memory"))], body


def _cells(costs: Costs, batch: str, name: str) -> tuple[str, str]:
    own, region = costs.batches[batch][name], costs.batches[batch][REGION]
    ratio = own.times.median_s / region.times.median_s
    size = 4 * math.prod(map(int, batch.split("x")))
    memory = "-" if own.peak_extra_bytes is None else f"{own.peak_extra_bytes / size:.1f}"
    return f"{time_text(own.times.median_s)} {spread_text(own.times)}, {ratio:.2g}x", memory
