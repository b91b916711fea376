"""The GPU backends in PyTorch: opcheck, compiled and captured graphs, streams, no synchronization."""

import copy
import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from surfloss import ContourLoss, DiceCELoss, HausdorffDTLoss, signed_distance, two_sided_edt, use_backend
from surfloss.ops.edt import edt, nearest_background
from surfloss.ops.hausdorff import hausdorff_error
from tests.support import cases

SPACING = [5.0, 0.42, 0.42]
BOTH = {"softmax": True, "to_onehot_y": True}
LOSSES = {
    "hausdorff": HausdorffDTLoss(**BOTH),
    "hausdorff in mm": HausdorffDTLoss(1.0, **BOTH, spacing=SPACING, normalize="diagonal", ignore_index=255),
    "contour": ContourLoss(**BOTH),
    "dice_ce": DiceCELoss(),
}


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def batch(device: str) -> tuple[Tensor, Tensor]:
    """Logits of three classes, not close to the threshold where masks jump, and labels."""
    labels = torch.randint(0, 3, (2, 1, 8, 24, 40))
    logits = 3 * nn.functional.one_hot(labels.roll(1, -1)[:, 0], 3).movedim(-1, 1) + 0.1 * torch.randn(
        2, 3, 8, 24, 40
    )
    return logits.to(device), labels.to(device)


def passed(loss: nn.Module, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.detach().requires_grad_()
    value = loss(leaf, labels)
    value.backward()
    return value.detach(), leaf.grad


@pytest.mark.parametrize("form", ["one_sided", "two_sided", "signed"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 4, 5), (2, 5), (0, 3, 4, 5)], ids=str)
def test_opcheck_of_few_distances(shape: tuple[int, ...], form: str, backend: str, device: str) -> None:
    mask, spacing = cases.noise(*shape).to(device), SPACING[: len(shape) - 1]
    torch.library.opcheck(edt, (mask, spacing, None, form, False, backend))
    if form == "one_sided":
        torch.library.opcheck(nearest_background, (mask, spacing, None, backend))


def test_opcheck_of_the_error(backend: str, device: str) -> None:
    input = torch.randn(2, 3, 4, 5, device=device, requires_grad=True)
    target = cases.noise(2, 3, 4, 5).to(device)
    arguments = (input, target, None, None, True, 2.0, SPACING, None, "zero", backend, None, None, False)
    torch.library.opcheck(hausdorff_error, arguments)


@pytest.mark.parametrize("name", LOSSES)
def test_one_compiled_graph(name: str, backend: str, device: str) -> None:
    logits, labels = batch(device)
    with use_backend(backend):
        right = passed(LOSSES[name], logits, labels)
        got = passed(torch.compile(LOSSES[name], fullgraph=True), logits, labels)
    torch.testing.assert_close(got, right, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_computes_in_float32(dtype: torch.dtype, backend: str, device: str) -> None:
    """Squared distances overflow float16 here."""
    logits = torch.full((1, 1, 2, 2, 700), -2.0, device=device)
    target = torch.zeros(1, 1, 2, 2, 700, device=device)
    logits[..., 0], target[..., 1] = 2.0, 1.0
    loss = HausdorffDTLoss(sigmoid=True, include_background=True, backend=backend)
    right = passed(loss, logits, target)
    with torch.autocast(device, dtype=dtype):
        got = passed(loss, logits.to(dtype), target)
    assert got[0].dtype == torch.float32
    assert torch.isfinite(got[1]).all()
    torch.testing.assert_close(got[0], right[0], rtol=1e-2, atol=0)


def test_captured_in_a_graph(backend: str, cuda: str) -> None:
    logits, labels = batch(cuda)
    mask = labels[:, 0] > 0
    loss, leaf = HausdorffDTLoss(**BOTH, backend=backend), logits.clone().requires_grad_()

    def step() -> tuple[Tensor, Tensor]:
        leaf.grad = None
        value = loss(leaf, labels)
        value.backward()
        return two_sided_edt(mask, spatial_dims=3, spacing=SPACING, backend=backend), value.detach()

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        distance, value = step()
    gradient = leaf.grad
    for shift in (3, 5):
        labels.copy_(labels.roll(shift, -1))
        mask.copy_(labels[:, 0] > 0)
        with torch.no_grad():
            leaf.copy_(logits.roll(shift, -2))
        graph.replay()
        assert torch.equal(distance, two_sided_edt(mask, spatial_dims=3, spacing=SPACING, backend=backend))
        wanted = passed(loss, leaf, labels)
        torch.testing.assert_close((value, gradient), wanted, rtol=1e-5, atol=1e-6)


def test_nothing_waits_for_the_device(backend: str, cuda: str) -> None:
    logits, labels = batch(cuda)
    spacing = torch.tensor([SPACING, SPACING], device=cuda)
    loss = HausdorffDTLoss(**BOTH, spacing=spacing, normalize="diagonal", backend=backend)
    calls = (
        lambda: passed(loss, logits, labels),
        lambda: two_sided_edt(labels > 0, spatial_dims=3, spacing=SPACING, backend=backend),
        lambda: signed_distance(labels > 0, spatial_dims=3, convention="boundary", backend=backend),
    )
    for call in calls:
        call()  # compilation may synchronize
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
    try:
        for call in calls:
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_runs_in_the_current_stream(backend: str, cuda: str) -> None:
    mask = cases.noise(4, 16, 64, 64, share=0.9).to(cuda)
    right = two_sided_edt(mask, spatial_dims=3, backend=backend)
    streams = [torch.cuda.Stream() for _ in range(4)]
    torch.cuda.synchronize()
    results = []
    for stream in streams:
        with torch.cuda.stream(stream):
            # The mask arrives only after a long wait; work in another stream would see zeros.
            late = torch.zeros_like(mask)
            torch.cuda._sleep(20_000_000)
            late.copy_(mask)
            results.append(two_sided_edt(late, spatial_dims=3, backend=backend))
    torch.cuda.synchronize()
    for result in results:
        assert torch.equal(result, right)


def test_second_device(backend: str, cuda: str) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    mask = cases.noise(2, 6, 30, 30, share=0.9)
    first, second = (two_sided_edt(mask.to(f"cuda:{i}"), spatial_dims=3, backend=backend) for i in (0, 1))
    assert second.device == torch.device("cuda", 1)
    assert torch.equal(first.cpu(), second.cpu())
    assert torch.cuda.current_device() == 0


@pytest.mark.parametrize("items", [1, 2])
def test_memory_of_the_loss(items: int, backend: str, cuda: str) -> None:
    """At most two float32 tensors of the input's size in addition to the gradient."""
    logits = torch.randn(items, 1, 16, 320, 320, device=cuda)
    target = (torch.randn_like(logits) > 1).float()
    loss = HausdorffDTLoss(sigmoid=True, include_background=True, backend=backend)
    leaf = logits.clone().requires_grad_()
    loss(leaf, target).backward()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    leaf.grad = None
    loss(leaf, target).backward()
    torch.cuda.synchronize()
    extra = torch.cuda.max_memory_allocated() - before
    assert extra <= 2 * 4 * logits.numel() + 2**20, f"{extra / (4 * logits.numel()):.2f} tensors"


@pytest.mark.parametrize("name", LOSSES)
def test_copies_of_a_module(name: str, device: str) -> None:
    logits, labels = batch(device)
    twin = copy.deepcopy(LOSSES[name]).to(device)
    torch.testing.assert_close(twin(logits, labels), LOSSES[name](logits, labels))
