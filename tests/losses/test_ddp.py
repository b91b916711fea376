"""Two processes, each with half of the batch, have the gradients of one process with all of it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from surfloss import CompoundLoss, ContourLoss, DiceCELoss, HausdorffDTLoss
from surfloss.ops.processes import sum_over_processes
from tests.losses.fields import assert_agrees, result

PROCESSES = 2


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2 * PROCESSES, 1, 6, 7, 8, generator=generator)
    target = (torch.rand(2 * PROCESSES, 1, 6, 7, 8, generator=generator) < 0.1).long()
    target[0] = 1  # so that the Dice of the halves is not that of the whole
    return image, target


def gradients(image: Tensor, target: Tensor, *, ddp: bool) -> list[Tensor]:
    torch.manual_seed(1)
    network: nn.Module = nn.Conv3d(1, 2, 3, padding=1)
    options = {"softmax": True, "to_onehot_y": True}
    loss = CompoundLoss(
        {
            "dice_ce": (DiceCELoss(batch=True, ddp=ddp), 1.0),
            "surface": (HausdorffDTLoss(**options), 0.1),
            "contour": (ContourLoss(**options), 1.0),
        }
    )
    if ddp:
        network = DistributedDataParallel(network)
    loss(network(image), target).backward()
    return [parameter.grad for parameter in network.parameters()]


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    image, target = batch()
    torch.save(gradients(image[rank::PROCESSES], target[rank::PROCESSES], ddp=True), f"{folder}/{rank}.pt")
    dist.destroy_process_group()
    # The network's reducer keeps the group, and Gloo's threads, alive: one of them that lets go of a Python
    # object while the interpreter shuts down aborts the process. The results are on disk; leave at once.
    os._exit(0)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """This process, as a group of its own."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_compiles_to_one_graph() -> None:
    image, target = batch()
    logits = torch.cat([-image, image], 1)
    loss = DiceCELoss(batch=True, ddp=True)
    torch._dynamo.reset()
    got = result(torch.compile(loss, fullgraph=True, backend="aot_eager"), logits, target)
    assert_agrees(got, result(DiceCELoss(batch=True), logits, target), 2e-6)


@pytest.mark.usefixtures("group")
def test_opcheck() -> None:
    torch.library.opcheck(sum_over_processes, (torch.randn(3, 4, requires_grad=True),))


@pytest.mark.timeout(120)
def test_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    mp.spawn(work, args=(str(tmp_path),), nprocs=PROCESSES)
    right = gradients(*batch(), ddp=False)
    for rank in range(PROCESSES):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), right, rtol=1e-4, atol=1e-6)
    # Without the exchange between the processes the halves would disagree with the whole.
    image, target = batch()
    halves = [gradients(image[r::PROCESSES], target[r::PROCESSES], ddp=False) for r in range(PROCESSES)]
    apart = max(float(((a + b) / 2 - c).abs().max()) for a, b, c in zip(*halves, right, strict=True))
    assert apart > 1e-3
