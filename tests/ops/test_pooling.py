"""The C++ contours and soft surfaces against PyTorch's pooling: values, gradients, ties, NaN, strips."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import surfloss
from surfloss.functional import contour_map
from surfloss.losses.surface_dice import _surface as surface_map
from surfloss.ops import _select
from surfloss.ops.contour import contour_map as contour_operator
from surfloss.ops.surface import surface_map as surface_operator
from tests.support import cases

REASON = _select._by_name("backend", "cpu").unavailable("cpu")
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"cpu: {REASON}")

Pool = Callable[[Tensor, Tensor | None], Tensor]
POOLS: dict[str, tuple[Pool, int | None]] = {  # with the number of spatial axes, None for any
    "contour": (lambda x, ignore: contour_map(x, ignore=ignore), None),
    "contour of slices": (lambda x, ignore: contour_map(x, (1, 3, 3), ignore=ignore), 3),
    "surface": (surface_map, None),
}


def assert_pooled(pool: Pool, x: Tensor, ignore: Tensor | None = None, gradients: bool = True) -> None:
    grad, results = torch.randn(x.shape, dtype=x.dtype), []
    for name in ("cpu", "reference"):
        leaf = x.clone().requires_grad_()
        with surfloss.use_backend(name):
            pooled = pool(leaf, ignore)
            pooled.backward(grad)
        results.append((pooled.detach(), leaf.grad))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=0, equal_nan=True)
    if gradients:
        torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-6, atol=1e-6, equal_nan=True)


def values(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Random values, many of which tie, so that the choice of the first one matters."""
    generator = torch.Generator().manual_seed(seed)
    some = torch.rand(shape, generator=generator)
    return torch.where(cases.noise(*shape, share=0.3, seed=seed), some, (some * 3).floor() / 2).to(dtype)


# One voxel, single rows, more than a strip of 32 rows and 64 planes, rows beyond the width of any vector.
SHAPES = [(1, 1, 1, 1), (2, 3, 6, 7), (1, 1, 1, 40), (1, 2, 70, 33), (1, 1, 1, 1, 1), (2, 1, 4, 5, 6),
          (1, 1, 131, 3, 5), (1, 1, 3, 67, 18), (1, 1, 2, 3, 130)]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("with_ignore", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", POOLS)
def test_it_is_pytorchs_pooling(
    name: str, shape: tuple[int, ...], with_ignore: bool, dtype: torch.dtype
) -> None:
    pool, dims = POOLS[name]
    if dims not in (None, len(shape) - 2):
        pytest.skip("of volumes")
    ignore = cases.noise(*shape, share=0.2, seed=1) if with_ignore else None
    assert_pooled(pool, values(shape, dtype), ignore)


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("name", POOLS)
def test_on_every_instruction_set(name: str, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURFLOSS_CPU_ISA", isa)
    x = values((1, 1, 3, 9, 37), torch.float32)
    try:
        POOLS[name][0](x, None)
    except RuntimeError as error:
        pytest.skip(str(error))
    assert_pooled(POOLS[name][0], x, cases.noise(*x.shape, share=0.1))


@given(
    shape=st.lists(st.integers(1, 9), min_size=2, max_size=3),
    seed=st.integers(0, 1000),
    name=st.sampled_from(["contour", "surface"]),
    ignored=st.booleans(),
)
def test_of_any_shape(shape: list[int], seed: int, name: str, ignored: bool) -> None:
    x = values((1, 2, *shape), torch.float64, seed)
    ignore = cases.noise(*x.shape, share=0.3, seed=seed) if ignored else None
    assert_pooled(POOLS[name][0], x, ignore)


@pytest.mark.parametrize("name", POOLS)
def test_threads_change_nothing(name: str) -> None:
    x, results = values((1, 2, 70, 45, 33), torch.float32), []
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            leaf = x.clone().requires_grad_()
            POOLS[name][0](leaf, None).square().sum().backward()
            results.append(leaf.grad)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


@pytest.mark.parametrize("name", POOLS)
def test_nan_stays(name: str) -> None:
    x = torch.rand(1, 1, 3, 5, 8)
    x[cases.noise(*x.shape, share=0.04)] = torch.nan
    assert 2 < x.isnan().sum() < 12
    # It is unspecified which of several NaN gets the gradient of a surface.
    assert_pooled(POOLS[name][0], x, gradients=name != "surface")


@pytest.mark.parametrize("name", POOLS)
def test_gradients(name: str) -> None:
    """In double, against finite differences, at distinct values."""
    x = (
        torch.randperm(2 * 3 * 4, generator=torch.Generator().manual_seed(0)).double().view(1, 1, 2, 3, 4)
        / 24
    )
    assert torch.autograd.gradcheck(lambda x: POOLS[name][0](x, None), (x.requires_grad_(),))


@pytest.mark.parametrize("with_ignore", [False, True])
def test_opcheck(with_ignore: bool) -> None:
    x = torch.rand(1, 2, 3, 4, requires_grad=True)
    ignore = cases.noise(1, 2, 3, 4) if with_ignore else None
    torch.library.opcheck(contour_operator, (x, ignore, 3, "cpu"))
    torch.library.opcheck(surface_operator, (x, ignore, "cpu"))


def test_an_instruction_set_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURFLOSS_CPU_ISA", "sse9")
    with pytest.raises(ValueError, match="SURFLOSS_CPU_ISA: got 'sse9', wanted one of baseline"):
        contour_map(torch.rand(1, 1, 4, 5))
