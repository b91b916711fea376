"""The argument checks: what passes, in which form, and that an error names argument, value and wish."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

from surfloss import _check

CPU = torch.device("cpu")


def spacing(value: object, dims: int = 3, batch: tuple[int, ...] = (2, 3)) -> tuple:
    return _check.spacing(value, dims, batch, CPU)


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (None, [1.0, 1.0, 1.0]),
        (2, [2.0, 2.0, 2.0]),
        (np.float32(0.5), [0.5, 0.5, 0.5]),
        (np.int64(2), [2.0, 2.0, 2.0]),
        ((5, 0.42, 0.42), [5.0, 0.42, 0.42]),
        (np.array([5.0, 0.42, 0.42]), [5.0, 0.42, 0.42]),
        (np.array(2), [2.0, 2.0, 2.0]),
        (np.array([5, 0.42, 0.42], np.float32), [5.0, 0.42, 0.42]),
        (np.array([5, 0.42, 0.42], ">f4"), [5.0, 0.42, 0.42]),
        (np.array([5, 0.42, 0.42], np.float16), [5.0, 0.42, 0.42]),
        (np.array([5, 0.42, 0.42], np.longdouble), [5.0, 0.42, 0.42]),
        (np.array([5, 0.42, 0.42], object), [5.0, 0.42, 0.42]),
        (np.array([5, 2, 2], np.uint16), [5.0, 2.0, 2.0]),
        (np.float32(0.42), [0.42, 0.42, 0.42]),
        ([np.float32(5), np.float16(0.42), 0.42], [5.0, 0.42, 0.42]),
    ],
)
def test_shared_spacing_becomes_floats(value: object, numbers: list[float]) -> None:
    assert spacing(value) == (numbers, None)
    assert all(type(number) is float for number in spacing(value)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32])
def test_spacing_tensor_is_spread_over_the_items(dtype: torch.dtype) -> None:
    per_batch = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=dtype)
    _, items = spacing(per_batch)
    assert items.dtype == torch.float64
    assert items.tolist() == [[1, 2, 3]] * 3 + [[4, 5, 6]] * 3
    per_channel = per_batch[:, None].expand(2, 3, 3) * torch.tensor([1, 2, 3], dtype=dtype)[:, None]
    assert spacing(per_channel)[1].tolist() == per_channel.reshape(6, 3).tolist()
    assert spacing(per_batch[0])[1].tolist() == [[1, 2, 3]] * 6
    assert spacing(per_batch[0, 1])[1].tolist() == [[2, 2, 2]] * 6
    assert spacing(per_batch[0], batch=())[1].tolist() == [[1, 2, 3]]
    assert spacing(torch.ones(0, 3), batch=(0, 3))[1].shape == (0, 3)


PIXDIMS = torch.tensor([[5, 0.42, 0.42], [3, 0.5, 0.5]])


@pytest.mark.parametrize(
    "value",
    [
        PIXDIMS,
        PIXDIMS.numpy(),
        [(5, 0.42, 0.42), (3, 0.5, 0.5)],
        list(PIXDIMS),  # as MONAI's `MetaTensor.pixdim` of a batch
        list(PIXDIMS.numpy()),
        [(5, 0.42, 0.42), PIXDIMS[1]],
        [[np.float32(5), torch.tensor(0.42), 0.42], (3, 0.5, 0.5)],
    ],
    ids=repr,
)
def test_forms_of_a_spacing_for_each_item(value: object) -> None:
    assert spacing(value)[1].tolist() == [[5, 0.42, 0.42]] * 3 + [[3, 0.5, 0.5]] * 3


@pytest.mark.parametrize("dims", [2, 3])
def test_flat_is_per_axis_and_nested_per_item_whatever_the_batch(dims: int) -> None:
    numbers = [1.0, 2.0, 3.0][:dims]
    assert spacing(numbers, dims, (dims,)) == (numbers, None)
    assert spacing(torch.tensor(numbers), dims, (dims,))[1].tolist() == [numbers] * dims
    nested = [[n] * dims for n in numbers]
    assert spacing(nested, dims, (dims,))[1].tolist() == nested
    assert spacing([numbers], dims, (1,))[1].tolist() == [numbers]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_low_precision_stands_for_the_shortest_decimal(dtype: torch.dtype) -> None:
    places = 2 if dtype == torch.float32 else 1
    right = [round(n * 10**-places, places) for n in range(1, 10 * 10**places)]
    rounded = torch.tensor(right, dtype=torch.float64).to(dtype)
    assert _check.decimals(rounded).tolist() == right
    odd = torch.tensor([0.488281, 1 / 3, 0.0, float("inf")])
    assert _check.decimals(odd).tolist() == [0.488281, 0.33333334, 0.0, float("inf")]


def test_an_array_of_spacings_is_taken_as_a_tensor_is() -> None:
    per_batch = np.array([[3, 2, 1], [6, 5, 4]], np.float32)[:, ::-1]
    assert torch.equal(spacing(per_batch)[1], spacing(torch.tensor([[1.0, 2, 3], [4, 5, 6]]))[1])


@pytest.mark.parametrize("value", [[5.0, 0.5, 0.4], np.array([5, 0.5, 0.4]), torch.tensor([5, 0.5, 0.4])])
def test_spacing_of_one(value: object) -> None:
    for one in (value, [value]):
        assert _check.spacing_of_one(one, 3) == [5, 0.5, 0.4]
        with pytest.raises(ValueError, match=r"^sampling: got .*, wanted 2 numbers, one for each"):
            _check.spacing_of_one(one, 2, "sampling")
    for more in ([value, value], [[value]]):
        with pytest.raises(ValueError, match=r"^spacing: got shape .*, wanted 3 numbers"):
            _check.spacing_of_one(more, 3)


def test_spacing_is_no_part_of_the_graph() -> None:
    _, items = spacing(torch.ones(2, 3, requires_grad=True))
    assert not items.requires_grad


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, 2), "got 2 values.*wanted 3"),
        (0, "wanted positive finite"),
        (-1.0, "wanted positive finite"),
        ((1, float("nan"), 1), "wanted positive finite"),
        ((1, float("inf"), 1), "wanted positive finite"),
        ("fine", "got 'fine'"),
        ("123", "got '123', wanted a number"),
        (True, "got True, wanted a number"),
        ((1, True, 1), "wanted a number"),
        (object(), "wanted a number, one for each"),
        (np.ones((3, 3)), r"got shape \(3, 3\).*batch shape \(2, 3\)"),
        (np.zeros((2, 3)), "wanted positive finite"),
        (torch.ones(2), r"got shape \(2,\), wanted 3 numbers, .*or shape \(\*lead, 3\)"),
        (torch.ones(1), r"got shape \(1,\), wanted 3 numbers"),
        ([0.5], r"got 1 values \[0.5\], wanted 3 numbers"),
        ([], "got 0 values"),
        ([(5, 0.42, 0.42), (3, 0.5)], "wanted as many numbers for every item"),
        ([(5, 0.42, 0.42), 0.5], "wanted as many numbers for every item"),
        ([(5, 0.42, 0.42)] * 3, r"got shape \(3, 3\)"),
        ([(5, 0.42, 0.42)], r"got shape \(1, 3\)"),
        ([(5, 0.42), (3, 0.5)], r"got shape \(2, 2\)"),
        (
            [(5, 0.42, 0.42), (3, -0.5, 0.5)],
            r"got \[\[5.0, 0.42, 0.42\], \[3.0, -0.5, 0.5\]\], wanted positive",
        ),
        ([(5, 0.42, 0.42), None], "wanted a number, one for each"),
        ([None] * 3, "wanted a number, one for each"),
        ({5.0, 0.42, 0.3}, "wanted a number, one for each"),
        (b"123", "wanted a number, one for each"),
        (np.array(["5", "1", "1"]), "got '5', wanted a number"),
        (np.array([1, None, 1], object), "wanted a number"),
        (np.ones(3, bool), "got True, wanted a number"),
        (np.ones(3, complex), "wanted a number"),
        (torch.ones(3, dtype=torch.bool), "got dtype torch.bool, wanted positive finite"),
        (torch.ones(3, dtype=torch.complex64), "got dtype torch.complex64"),
        (torch.ones(3).to(torch.float8_e5m2), "got dtype torch.float8"),
        (torch.ones(3, 3), r"got shape \(3, 3\).*batch shape \(2, 3\)"),
        (torch.ones(2, 3, 1, 3), r"got shape \(2, 3, 1, 3\)"),
        (torch.tensor([1.0, 0.0, 1.0]), "wanted positive finite"),
        (torch.tensor([1.0, float("nan"), 1.0]), "wanted positive finite"),
    ],
)
def test_wrong_spacing(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s)^spacing: .*{message}"):
        spacing(value)


def test_spacing_error_can_use_the_callers_name() -> None:
    with pytest.raises(ValueError, match=r"^sampling: got \[0.0\], wanted positive finite numbers"):
        _check.spacing(0.0, 3, (), CPU, argument="sampling")


def test_fail_has_one_form() -> None:
    with pytest.raises(TypeError, match=r"^speed: got 3, wanted 4$"):
        _check.fail("speed", 3, "4", TypeError)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (np.float32(0.5), 0.5),
        (torch.tensor(2), 2),
        (np.array([[1, 2]]), ((1, 2),)),
        ([torch.tensor(0.5), np.int64(3)], (0.5, 3)),
        (range(3), (0, 1, 2)),
        (torch.tensor(True), True),
        ("12", "12"),
        (None, None),
    ],
)
def test_plain_numbers(value: Any, wanted: Any) -> None:
    got = _check.plain(value)
    assert got == wanted
    assert type(got) is type(wanted)


def test_can_read() -> None:
    here, elsewhere = torch.ones(1), torch.ones(1, device="meta")
    assert _check.can_read(here)
    assert not _check.can_read(elsewhere)
    assert not _check.can_read(here, validate=False)
    with FakeTensorMode():
        assert not _check.can_read(torch.ones(1))
    assert not _check.can_read(elsewhere, validate=True)  # there is nothing to read
    on_a_gpu: Any = SimpleNamespace(device=torch.device("cuda"), is_meta=False)
    assert _check.can_read(on_a_gpu, validate=True)
    assert not _check.can_read(on_a_gpu)

    def compiled(x: torch.Tensor) -> torch.Tensor:
        return x + _check.can_read(x)

    assert torch.compile(compiled, fullgraph=True, backend="eager")(here) == 1


def test_same_device() -> None:
    _check.same_device("target", torch.ones(1), "input", torch.ones(1))
    with pytest.raises(
        ValueError, match="target: got a tensor on meta, wanted one on the device of input, cpu"
    ):
        _check.same_device("target", torch.ones(1, device="meta"), "input", torch.ones(1))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_finite(bad: float) -> None:
    _check.finite("input", torch.tensor([1.0, 2.0]))
    _check.finite("input", torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="input: got 1 NaN or infinite values of 2"):
        _check.finite("input", torch.tensor([1.0, bad]))
