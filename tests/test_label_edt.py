"""`label_edt` on tensors: layout, types, errors, properties, the package `edt`, compiled graphs."""

import itertools
from collections.abc import Sequence

import edt as peer
import numpy as np
import pytest
import torch
import torch._dynamo.testing
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

import surfloss
from surfloss import distance_transform_edt, label_edt, signed_distance, two_sided_edt
from surfloss.ops import _select
from tests.support import cases, oracles, volumes
from tests.support.compare import assert_equal, assert_within_ulp

FORMS = ("one_sided", "two_sided", "signed")
BORDERS = ("open", "closed")
SPACING = (5.0, 0.42, 0.7)
INF = float("inf")


def cells(*shape: int, count: int, background: float = INF, seed: int = 0) -> np.ndarray:
    """Voronoi cells as labels 1, 2, ...; what is further than `background` from a cell's seed is 0."""
    generator = np.random.default_rng(seed)
    seeds = generator.random((count, len(shape))) * shape
    nearest, labels = np.full(shape, np.inf), np.zeros(shape, np.uint32)
    for label, place in enumerate(seeds, 1):
        squared = sum((grid - p) ** 2 for grid, p in zip(np.indices(shape), place, strict=True))
        labels = np.where(squared < nearest, label, labels)
        nearest = np.minimum(nearest, squared)
    return np.where(np.sqrt(nearest) > background, 0, labels).astype(np.uint32)


# Layout


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (2, 1, 3)])
def test_every_axis_before_space_is_batch(dims: int, batch: tuple[int, ...]) -> None:
    spatial = (5, 6, 7)[-dims:]
    labels = torch.randint(3, (*batch, *spatial))
    got = label_edt(labels, spatial_dims=dims, spacing=SPACING[-dims:])
    assert got.shape == labels.shape
    assert got.dtype == torch.float32
    for index in np.ndindex(batch):
        assert_equal(got[index], label_edt(labels[index], spatial_dims=dims, spacing=SPACING[-dims:]))


def test_each_item_its_spacing() -> None:
    labels = torch.randint(4, (2, 3, 4, 5, 6))
    by_scan = torch.tensor([[1.0, 1.0, 1.0], SPACING], dtype=torch.float64)
    got = label_edt(labels, spatial_dims=3, spacing=by_scan, border="closed")
    for scan, channel in np.ndindex(2, 3):
        alone = label_edt(labels[scan, channel], spacing=by_scan[scan].tolist(), border="closed")
        assert_equal(got[scan, channel], alone)


def test_strides_do_not_matter() -> None:
    labels = torch.randint(4, (2, 6, 7, 8))
    for view in (labels.permute(0, 3, 1, 2), labels[:, ::2, 1:, ::3], labels[:1].expand(3, 6, 7, 8)):
        copy = view.clone(memory_format=torch.contiguous_format)
        assert_equal(label_edt(view, spatial_dims=3), label_edt(copy, spatial_dims=3))


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 3, 0, 5), (0, 0, 4, 5), (3, 4, 0)])
@pytest.mark.parametrize("border", BORDERS)
def test_nothing_in_nothing_out(shape: tuple[int, ...], border: str) -> None:
    got = label_edt(torch.zeros(shape, dtype=torch.int32), spatial_dims=3, border=border)
    assert got.shape == shape
    assert got.dtype == torch.float32


# What labels are

INTEGERS = [torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16]
INTEGERS += [torch.int32, torch.int64]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("turned", [False, True])
def test_every_dtype_gives_the_same(dtype: torch.dtype, turned: bool) -> None:
    labels = torch.randint(4, (5, 6, 7))
    as_dtype = torch.from_numpy(labels.numpy().astype(str(dtype).removeprefix("torch.")))
    if turned:
        labels, as_dtype = labels.permute(2, 0, 1), as_dtype.permute(2, 0, 1)
    assert_equal(label_edt(as_dtype), label_edt(labels))


def test_negative_labels_are_labels() -> None:
    labels = torch.tensor([-1, -1, -2, -2, 0, 1, 1])
    assert label_edt(labels).tolist() == [2, 1, 1, 1, 0, 1, 2]
    assert label_edt(labels, form="two_sided").tolist() == [2, 1, 1, 1, 1, 1, 2]
    assert label_edt(labels, form="signed").tolist() == [-2, -1, -1, -1, 1, -1, -2]


def test_labels_that_meet_again_behind_another() -> None:
    labels = torch.tensor([5, 5, 5, 5, 2, 5, 5, 5, 5])
    assert label_edt(labels).tolist() == [4, 3, 2, 1, 1, 1, 2, 3, 4]


def test_closed_border_scene_drawn_by_hand() -> None:
    labels = torch.full((3, 5), 7)
    wanted = torch.tensor([[2.0, 2.0, 2.0, 2.0, 2.0], [3.0, 4.0, 4.0, 4.0, 3.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
    assert_equal(label_edt(labels, spacing=(2, 3), border="closed"), wanted)
    assert label_edt(labels[:1], spacing=(2, 3), border="closed").tolist() == [[2.0] * 5]
    assert label_edt(labels[:1], spacing=(2, 3)).eq(INF).all()


@pytest.mark.parametrize("label", [0, 3])
def test_items_of_one_label(label: int) -> None:
    labels = torch.full((2, 3, 4), label)
    wanted = {"one_sided": INF if label else 0, "two_sided": INF, "signed": -INF if label else INF}
    for form, value in wanted.items():
        assert label_edt(labels, form=form).eq(value).all()


def test_bool_bytes_other_than_one() -> None:
    """A bool that came from elsewhere may hold any nonzero byte; it is one label."""
    mask = cases.noise(5, 6, 13)
    odd = (mask.to(torch.uint8) * torch.randint(1, 256, mask.shape)).to(torch.uint8).view(torch.bool)
    assert_equal(label_edt(odd, backend="cpu"), label_edt(mask, backend="cpu"))


def test_of_a_mask_it_is_the_other_functions() -> None:
    mask = cases.noise(9, 20, 40, share=0.8)
    functions = (distance_transform_edt, two_sided_edt, signed_distance)
    for form, function in zip(FORMS, functions, strict=True):
        for value in (mask, mask.int() * 9):
            assert_equal(label_edt(value, form=form, spacing=SPACING), function(mask, spacing=SPACING))


@pytest.mark.parametrize("name", volumes.LABELS)
def test_real_labels(name: str) -> None:
    volume, spacing = volumes.load(name)
    labels = volumes.crop(volume, margin=9).astype(np.int16)
    got = label_edt(torch.from_numpy(labels), spacing=spacing)
    right = label_edt(torch.from_numpy(labels), spacing=spacing, backend="reference")
    assert_within_ulp(got, right.double(), 2)


# Errors


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        (np.ones((3, 4)), {}, TypeError, "labels: got ndarray, wanted a torch.Tensor"),
        (torch.ones(3, 4), {}, TypeError, "labels: got dtype torch.float32, wanted bool or integer labels"),
        (torch.full((3,), torch.nan), {}, TypeError, "labels: got dtype torch.float32, wanted bool or"),
        (
            torch.ones(3, 4, dtype=torch.cfloat),
            {},
            TypeError,
            "labels: got dtype torch.complex64, wanted bool",
        ),
        (torch.ones(2, 3, 4, 5).int(), {}, ValueError, "spatial_dims: got None with labels of shape"),
        (torch.ones(4, 5).int(), {"spatial_dims": 3}, ValueError, r"labels: got shape \(4, 5\), wanted at"),
        (torch.ones(4, 5).int(), {"spatial_dims": 4}, ValueError, "spatial_dims: got 4, wanted 1, 2 or 3"),
        (torch.ones(4, 5).int(), {"spacing": (1, 2, 3)}, ValueError, "spacing: got 3 values"),
        (torch.ones(4, 5).int(), {"spacing": 0.0}, ValueError, "spacing: got .*positive"),
        (torch.ones(4, 5).int(), {"spacing": 1e-30}, ValueError, "spacing: got .*squares"),
        (torch.ones(4, 5).int(), {"border": "black"}, ValueError, "border: got 'black', wanted 'open' or"),
        (torch.ones(4, 5).int(), {"border": True}, ValueError, "border: got True, wanted 'open' or 'closed'"),
        (torch.ones(4, 5).int(), {"form": "both"}, ValueError, "form: got 'both', wanted 'one_sided',"),
        (torch.ones(4, 5).int(), {"backend": "abacus"}, ValueError, "backend: got 'abacus', wanted one of"),
    ],
)
def test_one_clear_error(labels: Tensor, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        label_edt(labels, **options)


def test_step_to_a_closed_border_outside_the_range_of_floats() -> None:
    labels, spacing = torch.tensor([[1, 2]]), (1e-30, 1.0)
    assert label_edt(labels, spacing=spacing, backend="cpu").tolist() == [[1, 1]]
    with pytest.raises(ValueError, match=r"^spacing: got .*squares"):
        label_edt(labels, spacing=spacing, border="closed", backend="cpu")


def test_backends_without_it_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = torch.ones(3, 4, dtype=torch.int32)
    message = r"^backend: got 'cuda' for label_edt, wanted one of .*cpu, reference, running there"
    with pytest.raises(NotImplementedError, match=message):
        label_edt(labels, backend="cuda")
    with (
        surfloss.use_backend("cuda"),
        pytest.raises(NotImplementedError, match=r"^use_backend: got 'cuda' for label_edt"),
    ):
        label_edt(labels)
    monkeypatch.setattr(_select, "TABLE", _select.TABLE[:1])
    with pytest.raises(NotImplementedError, match=r"^backend: got a tensor on cpu for label_edt"):
        label_edt(labels)


# Properties

SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=7)
LABELS = SHAPES.flatmap(lambda shape: arrays.arrays(np.int8, shape, elements=st.integers(-2, 3)))
STEPS = st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3)


@given(labels=LABELS, steps=STEPS, border=st.sampled_from(BORDERS))
def test_any_labels_at_any_spacing(labels: np.ndarray, steps: list[float], border: str) -> None:
    spacing = steps[: labels.ndim]
    right = oracles.squared_to_other_labels(labels, spacing, border == "closed")
    for backend in ("reference", None):
        options = {"spatial_dims": labels.ndim, "form": "two_sided", "border": border, "backend": backend}
        got = label_edt(torch.from_numpy(labels), spacing=spacing, **options)
        assert_within_ulp(got, np.sqrt(right), 2)
        whole = label_edt(torch.from_numpy(labels), squared=True, **options)
        assert_equal(whole, oracles.squared_to_other_labels(labels, [1.0] * labels.ndim, border == "closed"))


@given(labels=LABELS, names=st.permutations(range(-100, -94)))
def test_names_of_labels_do_not_matter(labels: np.ndarray, names: Sequence[int]) -> None:
    renamed = np.asarray(names)[labels + 2]
    options = {"spatial_dims": labels.ndim, "form": "two_sided"}
    assert_equal(
        label_edt(torch.from_numpy(renamed), **options), label_edt(torch.from_numpy(labels), **options)
    )


@given(labels=LABELS, steps=STEPS, data=st.data())
def test_turning_the_grid_turns_the_distances(
    labels: np.ndarray, steps: list[float], data: st.DataObject
) -> None:
    dims, tensor = labels.ndim, torch.from_numpy(labels)
    order = data.draw(st.permutations(range(dims)))
    flipped = data.draw(st.lists(st.sampled_from(range(dims)), unique=True))
    got = label_edt(
        tensor.permute(order).flip(flipped), spatial_dims=dims, spacing=[steps[axis] for axis in order]
    )
    wanted = label_edt(tensor, spatial_dims=dims, spacing=steps[:dims]).permute(order).flip(flipped)
    assert_within_ulp(got, wanted, 1)


# The package edt


@given(labels=LABELS, border=st.sampled_from(BORDERS))
def test_small_labels_as_edt(labels: np.ndarray, border: str) -> None:
    tensor, options = torch.from_numpy(labels), {"spatial_dims": labels.ndim, "border": border}
    black = border == "closed"
    assert_equal(label_edt(tensor, squared=True, **options), peer.edtsq(labels, black_border=black))
    assert_equal(label_edt(tensor, form="signed", **options), -peer.sdf(labels, black_border=black))


CELLS = {
    "full": cells(40, 50, 61, count=30),
    "with background": cells(40, 50, 61, count=60, background=7),
    "many": cells(24, 30, 35, count=400),
    "2-D": cells(130, 150, count=40, background=12),
}


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("name", CELLS)
def test_cells_as_edt(name: str, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURFLOSS_CPU_ISA", isa)
    labels = CELLS[name]
    tensor = torch.from_numpy(labels)
    try:
        label_edt(tensor[:1], backend="cpu")
    except RuntimeError as error:
        pytest.skip(str(error))
    for border, squared in itertools.product(BORDERS, (False, True)):
        options = {"border": border, "squared": squared, "backend": "cpu"}
        black = border == "closed"
        edt, sdf = (peer.edtsq, peer.sdfsq) if squared else (peer.edt, peer.sdf)
        assert_equal(label_edt(tensor, **options), edt(labels, black_border=black), name)
        assert_equal(label_edt(tensor, form="signed", **options), -sdf(labels, black_border=black), name)
        steps = SPACING[-labels.ndim :]
        right = edt(labels, anisotropy=steps, black_border=black)
        # edt computes with spacings of float32, and its squares are off by a few units more.
        np.testing.assert_allclose(label_edt(tensor, spacing=steps, **options), right, rtol=2e-6)


def test_number_of_threads_changes_nothing() -> None:
    tensor, before = torch.from_numpy(CELLS["full"]).int().repeat(2, 2, 1), torch.get_num_threads()
    tensor[:5], tensor[-9:-5], tensor[-5:] = 1, 2, 3
    answers = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            answers.append(label_edt(tensor, spacing=SPACING))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*answers)


# In PyTorch


def test_compiles_to_one_graph() -> None:
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")

    def function(labels: Tensor) -> Tensor:
        return label_edt(labels, spatial_dims=3, spacing=SPACING, border="closed") + 1

    labels = torch.randint(5, (2, 5, 6, 7))
    compiled = torch.compile(function, fullgraph=True, backend=counter)
    assert_equal(compiled(labels), function(labels))
    assert counter.frame_count == 1


def test_shape_and_dtype_without_values() -> None:
    labels = torch.empty(2, 5, 6, 7, dtype=torch.int64, device="meta")
    got = label_edt(labels, spatial_dims=3)
    assert (got.shape, got.dtype, got.device.type) == (labels.shape, torch.float32, "meta")
