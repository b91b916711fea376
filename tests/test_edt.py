"""The distance functions on tensors: layout, types, spacing, items of one label, real volumes."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

import surfloss
from surfloss import distance_transform_edt, signed_distance, two_sided_edt
from tests.support import cases, oracles, volumes
from tests.support.cases import MASK_SAMPLES, MaskSample
from tests.support.compare import assert_close, assert_equal, assert_within_ulp

Function: TypeAlias = Callable[..., Tensor]

FUNCTIONS = [distance_transform_edt, two_sided_edt, signed_distance]
SPACING = (5.0, 0.42, 0.7)
INF = float("inf")


def boundary(mask: Tensor, **options: object) -> Tensor:
    return signed_distance(mask, convention="boundary", **options)


# Layout


@pytest.mark.parametrize("function", [*FUNCTIONS, boundary])
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (2, 1, 3)])
def test_every_axis_before_space_is_batch(function: Function, dims: int, batch: tuple[int, ...]) -> None:
    spatial = (5, 6, 7)[-dims:]
    mask = cases.noise(*batch, *spatial, share=0.7)
    got = function(mask, spatial_dims=dims, spacing=SPACING[-dims:])
    assert got.shape == mask.shape
    assert got.dtype == torch.float32
    for index in np.ndindex(batch):
        assert_equal(got[index], function(mask[index], spatial_dims=dims, spacing=SPACING[-dims:]))


def test_all_of_up_to_three_axes_are_space() -> None:
    mask = cases.few(3, 3, 3, at=((1, 1, 1),), value=False)[0]
    assert distance_transform_edt(mask)[0, 0, 0] == pytest.approx(3**0.5)
    assert distance_transform_edt(mask[1])[0, 0] == pytest.approx(2**0.5)
    assert distance_transform_edt(mask[1, 1])[0] == 1
    assert distance_transform_edt(mask, spatial_dims=2)[0, 0, 0] == INF
    _, indices = distance_transform_edt(mask[1], return_indices=True)
    assert indices.shape == (2, 3, 3)


@pytest.mark.parametrize("function", [*FUNCTIONS, boundary])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 3, 4, 5)])
def test_more_axes_need_the_number_of_those_in_space(function: Function, shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"^spatial_dims: got None with mask of shape .*2 for \(B, C, H, W\)"
    ):
        function(torch.ones(shape))


@pytest.mark.parametrize("function", [*FUNCTIONS, boundary])
def test_strides_do_not_matter(function: Function, seen_masks: list[Tensor]) -> None:
    mask = cases.noise(2, 6, 7, 8, share=0.7)
    for view in (mask.permute(0, 3, 1, 2), mask[:, ::2, 1:, ::3], mask[:1].expand(3, 6, 7, 8), mask.flip(2)):
        copy = view.clone(memory_format=torch.contiguous_format)
        options = {"spatial_dims": 3, "backend": "reference"}
        assert_equal(function(view, **options), function(copy, **options))
    assert all(seen.is_contiguous() and seen.dtype == torch.bool for seen in seen_masks)
    assert len(seen_masks) == 8


@pytest.mark.parametrize("function", [*FUNCTIONS, boundary])
@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 3, 0, 5), (0, 0, 4, 5), (3, 4, 0)])
def test_nothing_in_nothing_out(function: Function, shape: tuple[int, ...]) -> None:
    got = function(torch.zeros(shape), spatial_dims=3)
    assert got.shape == shape
    assert got.dtype == torch.float32


def test_indices_of_nothing() -> None:
    _, indices = distance_transform_edt(torch.zeros(0, 2, 3, 4, 5), spatial_dims=3, return_indices=True)
    assert indices.shape == (0, 2, 3, 3, 4, 5)


# What counts as foreground


DTYPES = [torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16]
DTYPES += [torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("function", [*FUNCTIONS, boundary])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_gives_the_same(function: Function, dtype: torch.dtype) -> None:
    mask = cases.noise(4, 5, 6, share=0.7)
    assert_equal(function(mask.to(dtype)), function(mask))


@pytest.mark.parametrize("value", [-1.0, 255.0, 1e-45, INF])
def test_what_is_not_zero_is_foreground(value: float) -> None:
    mask = torch.tensor([value, value, 0.0, -0.0])
    assert distance_transform_edt(mask, spatial_dims=1).tolist() == [2, 1, 0, 0]


@pytest.mark.parametrize("function", [*FUNCTIONS, boundary])
def test_mask_is_a_constant_and_is_left_alone(function: Function) -> None:
    mask = torch.rand(4, 5, 6).round().requires_grad_()
    before = mask.detach().clone()
    assert not function(mask).requires_grad
    assert torch.equal(mask, before)
    bools = mask.detach().bool()
    function(bools)
    assert torch.equal(bools, before.bool())


@pytest.mark.parametrize(
    ("mask", "options", "error", "message"),
    [
        (np.ones((3, 4, 5)), {}, TypeError, "mask: got ndarray, wanted a torch.Tensor"),
        (torch.ones(3, 4, 5, dtype=torch.complex64), {}, TypeError, "mask: got dtype torch.complex64"),
        (torch.ones(3, 4, 5).to(torch.float8_e4m3fn), {}, TypeError, "mask: got dtype torch.float8"),
        (torch.full((3, 4, 5), float("nan")), {}, ValueError, "mask: got 60 NaN of 60 values"),
        (torch.ones(4, 5), {"spatial_dims": 3}, ValueError, r"mask: got shape \(4, 5\), wanted at least 3"),
        (torch.tensor(1.0), {}, ValueError, r"mask: got shape \(\), wanted at least 1 axes"),
        (torch.ones(3, 4, 5), {"spatial_dims": 4}, ValueError, "spatial_dims: got 4, wanted 1, 2 or 3"),
        (torch.ones(3, 4, 5), {"spatial_dims": 3.0}, ValueError, "spatial_dims: got 3.0"),
        (torch.ones(3, 4, 5), {"spatial_dims": True}, ValueError, "spatial_dims: got True"),
        (torch.ones(3, 4, 5), {"spatial_dims": 0}, ValueError, "spatial_dims: got 0"),
        (torch.ones(3, 4, 5), {"spatial_dims": -1}, ValueError, "spatial_dims: got -1"),
        (torch.ones(3, 4, 5), {"spacing": (1, 2)}, ValueError, "spacing: got 2 values"),
        (torch.ones(3, 4, 5), {"spacing": 0.0}, ValueError, "spacing: got .*positive"),
        (torch.ones(3, 4, 5), {"spacing": torch.ones(2, 3)}, ValueError, r"spacing: got shape \(2, 3\)"),
        (torch.ones(3, 4, 5), {"backend": "abacus"}, ValueError, "backend: got 'abacus', wanted one of"),
        (torch.ones(3, 4, 5, device="meta"), {"backend": "abacus"}, None, ""),
    ],
)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_one_clear_error(
    function: Function, mask: Tensor, options: dict, error: type | None, message: str
) -> None:
    if error is None:  # no data, so no backend: only shape and type are known
        assert function(mask, **options).shape == mask.shape
        return
    with pytest.raises(error, match=f"^{message}"):
        function(mask, **options)


def test_unknown_convention() -> None:
    with pytest.raises(ValueError, match="convention: got 'middle', wanted 'voxel' or 'boundary'"):
        signed_distance(torch.ones(3, 4, 5), convention="middle")


@pytest.mark.parametrize(
    ("function", "of_empty", "of_full"),
    [
        (distance_transform_edt, 0, INF),
        (two_sided_edt, INF, INF),
        (signed_distance, INF, -INF),
        (boundary, INF, -INF),
    ],
)
@pytest.mark.parametrize("squared", [False, True])
def test_items_of_one_label(
    function: Function, of_empty: float, of_full: float, squared: bool, backend: str
) -> None:
    for dims in (1, 2, 3):
        mask = torch.stack([torch.zeros((3, 4, 5)[-dims:]), torch.ones((3, 4, 5)[-dims:])])
        got = function(mask, spatial_dims=dims, squared=squared, backend=backend)
        assert got[0].eq(of_empty).all()
        assert got[1].eq(of_full).all()


# Spacing, squares and indices


@pytest.mark.large
@pytest.mark.parametrize("function", [*FUNCTIONS, boundary])
def test_forms_of_one_spacing_agree(function: Function, backend: str) -> None:
    mask = cases.noise(2, 3, 4, 5, 6, share=0.7)
    options = {"spatial_dims": 3, "backend": backend}
    wanted = function(mask, spacing=[2.0, 2.0, 2.0], **options)
    for spacing in (2, 2.0, np.float32(2), torch.tensor(2.0), torch.full((3,), 2), torch.full((2, 3), 2.0)):
        assert_equal(function(mask, spacing=spacing, **options), wanted)


@pytest.mark.large
@pytest.mark.parametrize("function", [*FUNCTIONS, boundary])
def test_each_item_its_spacing(function: Function, backend: str) -> None:
    mask = cases.noise(2, 3, 4, 5, 6, share=0.7)
    by_scan = torch.tensor([[1.0, 1.0, 1.0], SPACING], dtype=torch.float64)
    by_channel = by_scan[:, None] * torch.tensor([1.0, 2.0, 3.0])[:, None]
    scans = function(mask, spatial_dims=3, spacing=by_scan, backend=backend)
    channels = function(mask, spatial_dims=3, spacing=by_channel, backend=backend)
    for scan, channel in np.ndindex(2, 3):
        alone = function(mask[scan, channel], spacing=by_scan[scan].tolist(), backend=backend)
        assert_equal(scans[scan, channel], alone)
        alone = function(mask[scan, channel], spacing=by_channel[scan, channel].tolist(), backend=backend)
        assert_equal(channels[scan, channel], alone)


@pytest.mark.parametrize("function", [*FUNCTIONS, boundary])
def test_squared_is_the_square_with_the_sign(function: Function, backend: str) -> None:
    mask = cases.noise(4, 5, 6, share=0.7)
    distance = function(mask, spacing=SPACING, backend=backend)
    squared = function(mask, spacing=SPACING, squared=True, backend=backend)
    assert_within_ulp(distance, squared.double().abs().sqrt() * squared.sign(), 1)


def test_indices_lead_to_the_nearest_zero_voxel_of_the_item(backend: str) -> None:
    mask = cases.noise(2, 3, 4, 5, 6, share=0.9)
    mask[1, 2] = True
    options = {"spatial_dims": 3, "spacing": SPACING, "backend": backend}
    distance, indices = distance_transform_edt(mask, return_indices=True, **options)
    assert indices.dtype == torch.int32
    assert indices.shape == (2, 3, 3, 4, 5, 6)
    assert indices[1, 2].eq(-1).all()
    assert_equal(distance, distance_transform_edt(mask, **options))
    grid = torch.stack(torch.meshgrid(*map(torch.arange, (4, 5, 6)), indexing="ij"))
    for item in list(np.ndindex(2, 3))[:-1]:
        assert not mask[item][tuple(indices[item])].any()
        steps = (indices[item] - grid) * torch.tensor(SPACING, dtype=torch.float64).view(3, 1, 1, 1)
        assert_within_ulp(distance[item], steps.square().sum(0).sqrt(), 2)


# Signed distance


SMALL = [sample for sample in MASK_SAMPLES if sample.mask.numel() < 3000]


@pytest.mark.parametrize("sample", SMALL, ids=[sample.name for sample in SMALL])
def test_signed_distance_is_two_sided_with_a_sign(sample: MaskSample, backend: str) -> None:
    dims = len(sample.spacing)
    got = signed_distance(sample.mask, spatial_dims=dims, spacing=sample.spacing, backend=backend)
    assert_equal(
        got.abs(), two_sided_edt(sample.mask, spatial_dims=dims, spacing=sample.spacing, backend=backend)
    )
    assert torch.equal(got < 0, sample.mask)


@pytest.mark.large
@pytest.mark.parametrize("sample", SMALL, ids=[sample.name for sample in SMALL])
def test_boundary_is_the_surface_of_the_voxels_boxes(sample: MaskSample, backend: str) -> None:
    dims = len(sample.spacing)
    got = boundary(sample.mask, spatial_dims=dims, spacing=sample.spacing, backend=backend)
    for mask, signed in zip(sample.mask.numpy(), got, strict=True):
        right = np.sqrt(oracles.squared_two_sided(mask, sample.spacing, shrink=0.5))
        assert_within_ulp(signed, np.where(mask, -right, right), 2, sample.name)


def test_boundary_scene_drawn_by_hand() -> None:
    # One foreground voxel, 2 mm high and 1 mm wide, at the bottom left.
    mask = torch.tensor([[0, 0, 0], [0, 0, 0], [1, 0, 0]])
    wanted = torch.tensor([[3.0, 3.0, 3.0], [1.0, 1.0, 1.0], [-0.5, 0.0, 0.0]])
    wanted[0, 1:] = torch.tensor([9.25**0.5, 11.25**0.5])
    wanted[1, 1:] = torch.tensor([1.25**0.5, 3.25**0.5])
    wanted[2, 1:] = torch.tensor([0.5, 1.5])
    assert_equal(boundary(mask, spatial_dims=2, spacing=(2.0, 1.0)), wanted)


def test_boundary_is_half_a_step_nearer_on_a_line() -> None:
    mask = cases.noise(4, 50, share=0.8)
    voxel, face = signed_distance(mask, spatial_dims=1), boundary(mask, spatial_dims=1)
    assert_equal(face, voxel - 0.5 * voxel.sign())


def test_outer_border_is_no_boundary() -> None:
    mask = torch.tensor([1, 1, 1, 1, 0])
    assert boundary(mask, spatial_dims=1).tolist() == [-3.5, -2.5, -1.5, -0.5, 0.5]


# Properties


MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=7))
STEPS = st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3)


@given(mask=MASKS, steps=STEPS)
def test_any_mask_at_any_spacing(mask: np.ndarray, steps: list[float]) -> None:
    spacing, tensor = steps[: mask.ndim], torch.from_numpy(mask)
    options = {"spatial_dims": mask.ndim, "spacing": spacing}
    assert_within_ulp(
        distance_transform_edt(tensor, **options), np.sqrt(oracles.squared_edt(mask, spacing)), 2
    )
    right = np.sqrt(oracles.squared_two_sided(mask, spacing))
    assert_within_ulp(two_sided_edt(tensor, **options), right, 2)
    right = np.sqrt(oracles.squared_two_sided(mask, spacing, shrink=0.5))
    assert_within_ulp(boundary(tensor, **options), np.where(mask, -right, right), 2)


@given(mask=MASKS)
def test_squared_distances_are_integers(mask: np.ndarray) -> None:
    got = two_sided_edt(torch.from_numpy(mask), spatial_dims=mask.ndim, squared=True)
    assert_equal(got, oracles.squared_two_sided(mask, [1.0] * mask.ndim))


@given(mask=MASKS, steps=STEPS, data=st.data())
def test_turning_the_grid_turns_the_distances(
    mask: np.ndarray, steps: list[float], data: st.DataObject
) -> None:
    dims, tensor = mask.ndim, torch.from_numpy(mask)
    order = data.draw(st.permutations(range(dims)))
    flipped = data.draw(st.lists(st.sampled_from(range(dims)), unique=True))
    turned = tensor.permute(order).flip(flipped)
    for function in (distance_transform_edt, signed_distance, boundary):
        got = function(turned, spatial_dims=dims, spacing=[steps[axis] for axis in order])
        wanted = function(tensor, spatial_dims=dims, spacing=steps[:dims]).permute(order).flip(flipped)
        assert_within_ulp(got, wanted, 1)


@given(mask=MASKS, steps=STEPS)
def test_swapping_the_labels_swaps_the_sign(mask: np.ndarray, steps: list[float]) -> None:
    tensor, options = torch.from_numpy(mask), {"spatial_dims": mask.ndim, "spacing": steps[: mask.ndim]}
    for function in (signed_distance, boundary):
        assert_equal(function(~tensor, **options), -function(tensor, **options))


# Real volumes


@pytest.mark.large
def test_distances_that_fsl_computed(backend: str) -> None:
    label, spacing = volumes.load("i132")
    right, _ = volumes.load("f132")
    outside = torch.from_numpy(label == 0)
    assert_close(distance_transform_edt(outside, spacing=spacing, backend=backend), right, 2e-5)


@pytest.mark.large
@pytest.mark.parametrize("name", volumes.LABELS)
def test_real_volumes_as_scipy(name: str, backend: str) -> None:
    label, spacing = volumes.load(name)
    mask = volumes.crop(label, margin=5) > 0
    got = two_sided_edt(torch.from_numpy(mask), spacing=spacing, backend=backend)
    assert_within_ulp(got, oracles.scipy_two_sided(mask, spacing), 2, name)
    squared = two_sided_edt(torch.from_numpy(mask), squared=True, backend=backend)
    assert_equal(squared, np.rint(oracles.scipy_two_sided(mask, (1.0, 1.0, 1.0)) ** 2), name)


# Compiled graphs


@pytest.mark.parametrize("function", [*FUNCTIONS, boundary])
def test_compiles_to_one_graph(function: Function) -> None:
    mask = cases.noise(2, 4, 5, 6, share=0.7)

    def field(mask: Tensor, spacing: object) -> Tensor:
        return function(mask > 0, spatial_dims=3, spacing=spacing) * 2

    torch.compiler.reset()
    compiled = torch.compile(field, fullgraph=True, backend="aot_eager")
    by_item = [(1.0, 1.0, 1.0), SPACING]
    rows = list(torch.tensor(by_item))
    for spacing in (None, 0.5, 0.7, SPACING, (5.0, 0.45, 0.45), torch.tensor(by_item), by_item, rows):
        assert_equal(compiled(mask.float(), spacing), field(mask.float(), spacing))


def test_new_values_of_a_spacing_tensor_do_not_compile_anew() -> None:
    torch.compiler.reset()
    graphs = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(two_sided_edt, fullgraph=True, backend=graphs)
    mask = cases.noise(2, 4, 5, 6)
    right = partial(two_sided_edt, mask, spatial_dims=3)
    for scale in (1.0, 2.0, 3.0):
        spacing = scale * torch.tensor([[1.0, 1.0, 1.0], SPACING])
        assert_equal(compiled(mask, spatial_dims=3, spacing=spacing), right(spacing=spacing))
    assert graphs.frame_count == 1


@pytest.mark.parametrize("function", [*FUNCTIONS, boundary])
def test_exports(function: Function) -> None:
    class Field(torch.nn.Module):
        def forward(self, mask: Tensor) -> Tensor:
            return function(mask, spacing=SPACING)

    mask = torch.rand(4, 5, 6).round()
    assert_equal(torch.export.export(Field(), (mask,)).module()(mask), function(mask, spacing=SPACING))


def test_indices_compile_with_inductor() -> None:
    mask = cases.noise(2, 4, 5, 6, share=0.7)

    def both(mask: Tensor) -> tuple[Tensor, Tensor]:
        distance, indices = distance_transform_edt(mask, spatial_dims=3, return_indices=True)
        return distance + 1, indices * 2

    for got, wanted in zip(torch.compile(both, fullgraph=True)(mask), both(mask), strict=True):
        assert_equal(got, wanted)


def test_answers_do_not_depend_on_the_run() -> None:
    mask = cases.noise(9, 10, 11, share=0.9)
    with surfloss.use_backend("reference"):
        assert_equal(two_sided_edt(mask, spacing=SPACING), two_sided_edt(mask.clone(), spacing=SPACING))
