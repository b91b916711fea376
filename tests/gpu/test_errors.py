"""Unsupported calls on a GPU raise a clear error, and PyTorch's own errors are passed on."""

import pytest
import torch

from surfloss import HausdorffDTLoss, two_sided_edt
from surfloss.ops._select import TABLE, select
from tests.support import cases


def test_few_tensors_are_answered_unasked(device: str) -> None:
    """A tensor on the device needs no named backend, and the result stays there."""
    assert select(None, torch.device(device))
    mask = cases.noise(2, 5, 6, 7).to(device)
    assert two_sided_edt(mask, spatial_dims=3).device == mask.device


def test_a_cpu_tensor_and_a_gpu_backend(backend: str, cuda: str) -> None:
    row = next(row for row in TABLE if row.name == backend)
    if row.unavailable("cpu") is None:
        pytest.skip(f"{backend} runs on the CPU too")
    with pytest.raises(RuntimeError, match=rf"^backend: got '{backend}' for a tensor on cpu, wanted"):
        two_sided_edt(cases.noise(2, 5, 6, 7), spatial_dims=3, backend=backend)


def test_a_gpu_tensor_and_the_cpu_backend(cuda: str) -> None:
    with pytest.raises(RuntimeError, match=r"^backend: got 'cpu' for a tensor on cuda:0, wanted"):
        two_sided_edt(cases.noise(2, 5, 6, 7).to(cuda), spatial_dims=3, backend="cpu")


def test_the_reference_answers_where_it_is_named(device: str) -> None:
    mask = cases.noise(2, 5, 6, 7)
    got = two_sided_edt(mask.to(device), spatial_dims=3, backend="reference")
    assert got.device.type == torch.device(device).type
    assert torch.equal(got.cpu(), two_sided_edt(mask, spatial_dims=3, backend="reference"))


def test_input_and_target_on_two_devices(cuda: str) -> None:
    input, target = torch.rand(1, 2, 4, 5, 6, device=cuda), torch.zeros(1, 2, 4, 5, 6)
    with pytest.raises(ValueError, match=r"^target: got a tensor on cpu, wanted one on the device of input"):
        HausdorffDTLoss()(input, target)
    distance = torch.ones(1, 1, 4, 5, 6)
    with pytest.raises(ValueError, match=r"^target_distance: got a tensor on cpu, wanted one on the device"):
        HausdorffDTLoss()(input, target.to(cuda), target_distance=distance)


def test_a_spacing_on_the_cpu_is_brought_along(device: str) -> None:
    mask, spacing = cases.noise(2, 5, 6, 7).to(device), torch.tensor([[5.0, 0.4, 0.4], [1.0, 1, 1]])
    moved = two_sided_edt(mask, spatial_dims=3, spacing=spacing.to(device))
    assert torch.equal(two_sided_edt(mask, spatial_dims=3, spacing=spacing), moved)


def test_short_memory_is_pytorchs_error_and_leaves_nothing_behind(backend: str, cuda: str) -> None:
    mask = torch.zeros(1, 64, 512, 512, dtype=torch.bool, device=cuda)
    mask[0, 3, 4, 5] = True
    small = mask[:, :2, :40, :40].contiguous()
    right = two_sided_edt(small, spatial_dims=3, backend=backend)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(cuda).total_memory
    # Memory for half of the result.
    room = torch.cuda.memory_reserved() + 2 * mask.numel()
    torch.cuda.set_per_process_memory_fraction(room / total)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            two_sided_edt(mask, spatial_dims=3, backend=backend)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert torch.equal(two_sided_edt(small, spatial_dims=3, backend=backend), right)
    assert two_sided_edt(mask, spatial_dims=3, backend=backend)[0, 3, 4, 6] == 1
