"""SciPy's signature: the same values, types, in-place outputs and refusals as SciPy's own function."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage as scipy_ndimage

import surfloss
from surfloss import ndimage
from tests.support import cases, volumes
from tests.support.compare import assert_equal

ours, scipys = ndimage.distance_transform_edt, scipy_ndimage.distance_transform_edt

MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=7))
INPUTS = {
    "1-D": np.array([1, 1, 0, 0, 1, 1, 1]),
    "2-D": cases.noise(9, 11, share=0.9).numpy(),
    "3-D": cases.noise(5, 6, 7, share=0.9).numpy(),
    "no background": np.ones((3, 4, 5)),
    "no background, 1-D": np.ones(4),
    "no foreground": np.zeros((3, 4)),
    "scalar": np.array(1),
    "list": [[1, 0, 2], [3, 4, 5]],
    "no voxels": np.ones((0, 3)),
    "NaN and infinity are true": np.array([np.nan, 0, np.inf, -1]),
    "complex": np.array([1j, 0, 1]),
    "big-endian": np.array([1, 2, 0], ">f4"),
    "strided": cases.noise(8, 9, 10, share=0.9).numpy()[::2, ::-1, 1::3],
    "column-major": np.asfortranarray(cases.noise(5, 6, share=0.9).numpy()),
    "labels": np.arange(12, dtype=np.uint8).reshape(3, 4) % 5,
}


@pytest.mark.parametrize(
    "sampling",
    [torch.tensor([2.0, 1.0]), np.array([2.0, 1.0], np.float32), [np.int64(2), 1], torch.tensor(3.0)],
    ids=repr,
)
def test_sampling_of_any_type(sampling: object) -> None:
    plain = np.asarray(sampling).tolist()
    np.testing.assert_allclose(ours(INPUTS["2-D"], sampling), scipys(INPUTS["2-D"], plain), rtol=4e-16)


@pytest.mark.parametrize("sampling", [None, 2, 0.3, "each"])
@pytest.mark.parametrize("input", INPUTS.values(), ids=INPUTS.keys())
def test_same_distances_as_scipy(input: object, sampling: object) -> None:
    if sampling == "each":
        sampling = (5.0, 0.42, 0.7)[: np.atleast_1d(input).ndim]
    got, indices = ours(input, sampling, return_indices=True)
    wanted, wanted_indices = scipys(input, sampling, return_indices=True)
    assert (got.dtype, indices.dtype) == (wanted.dtype, wanted_indices.dtype)
    assert indices.shape == wanted_indices.shape
    for distances in (got, ours(input, sampling)):
        if sampling in (None, 2):
            assert_equal(distances, wanted)
        else:
            np.testing.assert_array_max_ulp(distances, wanted, 2)


def test_without_background_the_nearest_voxel_is_before_the_first() -> None:
    distances, indices = ours(np.ones((2, 3)), return_indices=True)
    assert_equal(distances, np.sqrt([[1, 2, 5], [4, 5, 8]]))
    assert indices[0].tolist() == [[-1] * 3] * 2
    assert indices[1].tolist() == [[0] * 3] * 2


@pytest.mark.parametrize("shape", [(5000,), (3, 2500), (2, 1700, 1700)], ids=str)
@pytest.mark.parametrize("sampling", [None, (3.0, 1.0, 1.0), (5.0, 0.42, 0.42), (5.0, 0.42, 0.7)], ids=str)
def test_distances_beyond_the_exact_squares_of_a_float(
    shape: tuple[int, ...], sampling: tuple[float, ...] | None
) -> None:
    mask = np.ones(shape, bool)
    mask[(0,) * mask.ndim] = False
    steps = None if sampling is None else sampling[-len(shape) :]
    wanted = scipys(mask, steps)
    for got in (ours(mask, steps), ours(mask, steps, return_indices=True)[0]):
        np.testing.assert_array_max_ulp(got, wanted, 0 if steps is None or set(steps) <= {1.0, 3.0} else 2)


def test_an_axis_longer_than_a_float_counts_steps() -> None:
    mask = np.ones(2**24 + 2, bool)
    mask[0] = False
    assert_equal(ours(mask, 0.5)[-3:], 0.5 * np.arange(2**24 - 1, 2**24 + 2))


@given(mask=MASKS, steps=st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3))
def test_any_mask_at_any_sampling(mask: np.ndarray, steps: list[float]) -> None:
    sampling = steps[: mask.ndim]
    distances, indices = ours(mask, sampling, return_indices=True)
    np.testing.assert_allclose(distances, scipys(mask, sampling), rtol=4e-16, atol=0)
    if not mask.all():
        assert not mask[tuple(indices)].any()


@pytest.mark.large
@pytest.mark.parametrize("name", ["brain1_label", "hippocampus_label"])
def test_real_volume_as_scipy(name: str, backend: str) -> None:
    label, spacing = volumes.load(name)
    mask = volumes.crop(label, margin=5) == 0
    with surfloss.use_backend(backend):
        np.testing.assert_allclose(ours(mask, spacing), scipys(mask, spacing), rtol=4e-16, atol=0)


def test_many_lesions_as_scipy_bit_by_bit() -> None:
    label, spacing = volumes.load("ms_lesions_label")
    assert spacing == (1, 1, 1)
    mask = volumes.crop(label, margin=5) == 0
    wanted, wanted_indices = scipys(mask, return_indices=True)
    for got in (ours(mask), ours(mask, return_indices=True)[0]):
        assert_equal(got, wanted)
    indices = ours(mask, return_distances=False, return_indices=True)
    for side in (indices, wanted_indices):
        assert not mask[tuple(side)].any()


def test_input_is_left_alone_and_outputs_are_the_callers() -> None:
    mask = INPUTS["3-D"].copy()
    mask.flags.writeable = False
    first, second = ours(mask), ours(mask)
    first += 1
    assert_equal(second, scipys(mask))


def test_the_operator_gets_one_contiguous_item(seen_masks: list) -> None:
    with surfloss.use_backend("reference"):
        ours(INPUTS["strided"])
        ours(INPUTS["column-major"])
    assert all(seen.is_contiguous() and len(seen) == 1 for seen in seen_masks)
    assert len(seen_masks) == 2


@pytest.mark.parametrize("wants", [(True, False), (False, True), (True, True)])
def test_return_value_is_what_was_asked_for(wants: tuple[bool, bool]) -> None:
    got, wanted = ours(INPUTS["2-D"], None, *wants), scipys(INPUTS["2-D"], None, *wants)
    assert type(got) is type(wanted)
    got, wanted = (value if isinstance(value, tuple) else (value,) for value in (got, wanted))
    assert [(array.shape, array.dtype) for array in got] == [(array.shape, array.dtype) for array in wanted]


@pytest.mark.parametrize("given_indices", [False, True])
@pytest.mark.parametrize("given_distances", [False, True])
@pytest.mark.parametrize("strided", [False, True])
def test_outputs_in_place(given_distances: bool, given_indices: bool, strided: bool) -> None:
    mask = INPUTS["3-D"]
    results = []
    for function in (ours, scipys):
        distances = np.full((*mask.shape, 2), -7.0)[..., 0] if strided else np.full(mask.shape, -7.0)
        indices = np.full((3, *mask.shape), -7, np.int32)
        returned = function(
            mask,
            return_indices=True,
            distances=distances if given_distances else None,
            indices=indices if given_indices else None,
        )
        results.append((returned, distances, indices))
    (mine, *my_outputs), (theirs, *their_outputs) = results
    assert type(mine) is type(theirs)
    assert_equal(my_outputs[0], their_outputs[0])
    assert (my_outputs[1] == -7).all() == (their_outputs[1] == -7).all()
    if given_indices:
        assert not mask[tuple(my_outputs[1])].any()
    if given_distances and not given_indices:
        assert mine.dtype == np.int32
    if given_indices and not given_distances:
        assert_equal(mine, theirs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"return_distances": False}, "return_distances: got neither it nor return_indices"),
        (
            {"distances": np.zeros(3), "return_distances": False, "return_indices": True},
            "distances: got an array",
        ),
        ({"indices": np.zeros((1, 3), np.int32)}, "indices: got an array, but return_indices=False"),
        (
            {"distances": np.zeros(4)},
            r"distances: got float64 \(4,\), wanted a float64 array of shape \(3,\)",
        ),
        ({"distances": np.zeros(3, np.float32)}, "distances: got float32"),
        ({"indices": np.zeros(3, np.int32), "return_indices": True}, r"indices: got int32 \(3,\)"),
        ({"indices": np.zeros((1, 3), np.int64), "return_indices": True}, "indices: got int64"),
        ({"sampling": (1, 2)}, "sampling: got 2 values"),
    ],
)
def test_refuses_what_scipy_refuses(options: dict, message: str) -> None:
    with pytest.raises(RuntimeError):
        scipys([1, 0, 1], **options)
    error = ValueError if "sampling" in options else RuntimeError
    with pytest.raises(error, match=f"^{message}"):
        ours([1, 0, 1], **options)


@pytest.mark.parametrize(
    ("input", "options", "error", "message"),
    [
        (np.ones((2, 2, 2, 2)), {}, ValueError, "input: got 4 axes, wanted 1 to 3"),
        ([1, 0], {"sampling": 0}, ValueError, "sampling: got .*positive"),
        ([1, 0], {"sampling": float("nan")}, ValueError, "sampling: got .*positive"),
        ([1, 0], {"distances": [0.0, 0.0]}, RuntimeError, "distances: got list, wanted a float64 array"),
    ],
)
def test_refuses_more_than_scipy(input: object, options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        ours(input, **options)
