"""The Triton backend in the interpreter: tile and chunk boundaries, long axes, work, compiled graphs.

tests/ops checks the results of all backends. This file adds masks that cross tiles; it needs no GPU.
test_triton_compiled.py checks the compiled kernels.
"""

import importlib
import itertools
import os
import re
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor

import surfloss
from surfloss._check import Steps
from surfloss.backends._interface import HausdorffArguments
from surfloss.functional import contour_loss, contour_map, hausdorff_dt_loss
from surfloss.ops import _select
from surfloss.ops.contour import contour_map as contour_operator
from surfloss.ops.edt import edt, nearest_background
from surfloss.ops.hausdorff import hausdorff_error as hausdorff_operator
from tests.support import cases, visits
from tests.support.compare import assert_equal, assert_within_ulp
from tests.support.operators import assert_pooled, hausdorff_error

REASON = _select._by_name("backend", "triton").unavailable("cpu")
pytestmark = [
    pytest.mark.skipif(REASON is not None, reason=f"triton: {REASON}"),
    pytest.mark.usefixtures("poisoned_scratch"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # from rows past the end, which are not stored
    pytest.mark.filterwarnings("ignore:single-channel"),
]
if REASON is None:
    backend = importlib.import_module("surfloss.backends.triton")
    kernels = importlib.import_module("surfloss.backends.triton.edt")
    import triton

FORMS = ("one_sided", "two_sided", "signed")
SLICES = [5.0, 0.42, 0.42]
ITEM_SPACING = torch.tensor([SLICES, [1.0, 2.0, 0.7]], dtype=torch.float64)


def both(function: object, *arguments: object) -> tuple[object, object]:
    return function(*arguments, "triton"), function(*arguments, "reference")


# Two blocks of rows along y and z, and two of lanes; the second has only one row or lane.
CROSSING = {
    "blob": cases.blob(1, 9, 9, 33),
    "sparse noise": cases.noise(1, 9, 9, 33, share=0.005),
    "2-D": cases.noise(2, 17, 33, share=0.97),
}


@pytest.mark.parametrize("name", CROSSING)
@pytest.mark.parametrize("form", FORMS)
def test_tiles_are_crossed(name: str, form: str) -> None:
    mask = CROSSING[name]
    dims = mask.ndim - 1
    assert_equal(*both(edt, mask, [1.0] * dims, None, form, True), name)
    assert_within_ulp(*both(edt, mask, SLICES[-dims:], None, form, False), 2, name)


@pytest.mark.parametrize("chunk", [8, 64, 128])
def test_rows_of_several_chunks_and_words(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "CHUNK", chunk)
    mask = cases.noise(2, 2, 3, 69, share=0.9)
    mask[1, 1, 2, :40] = mask[0, 1, 2] = True
    for form in FORMS:
        assert_equal(*both(edt, mask, [1.0] * 3, None, form, True))


@pytest.mark.parametrize("value", [True, False], ids=["few foreground", "few background"])
@pytest.mark.parametrize("size", [32767, 32768, 46349])
def test_long_rows(size: int, value: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes beyond 16 bits, and with squares that overflow 32 bits."""
    monkeypatch.setattr(backend, "LANES", 8192)
    mask = cases.few(1, size, at=((0, 3), (0, size // 2)), value=value)
    assert_within_ulp(*both(edt, mask, [1.0, 1.0], None, "two_sided", False), 0.5)


@pytest.mark.parametrize(("size", "block", "spacing"), [(46349, 1024, [1.0, 1.0]), (4999, 256, [0.42, 0.7])])
def test_long_columns(size: int, block: int, spacing: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "BLOCK", block)
    monkeypatch.setattr(backend, "LANES", 1)
    mask = cases.few(size, 1, at=((0, 0),))
    assert_within_ulp(*both(edt, mask, spacing, None, "two_sided", False), 1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_value_but_zero_is_foreground(dtype: torch.dtype) -> None:
    mask = cases.noise(1, 4, 9)
    values = torch.where(
        mask, torch.randn(mask.shape).sign() * 1e-3, torch.tensor([0.0, -0.0, 0.0]).repeat(3)
    )
    values = mask * 254 if dtype == torch.uint8 else values
    assert_equal(edt(values.to(dtype), [1.0] * 2, None, "signed", True, "triton"),
                 edt(mask, [1.0] * 2, None, "signed", True, "reference"))  # fmt: skip


@pytest.mark.parametrize("shape", [(9, 3, 5), (10, 33), (41,)], ids=str)
def test_indices(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "TRACED", 64)
    mask, steps = cases.noise(2, *shape, share=0.95), SLICES[-len(shape) :]
    indices = nearest_background(mask, steps, None, "triton").numpy()
    right = edt(mask, steps, None, "one_sided", False, "reference")
    for item, nearest in enumerate(indices):
        assert not mask[item].numpy()[tuple(nearest)].any()
        offsets = (nearest - np.indices(shape)) * np.reshape(steps, (-1, *(1,) * len(shape)))
        assert_within_ulp(np.sqrt((offsets**2).sum(0)), right[item], 2)


# The amount of work of a search: calls of the kernel, compared with its rules in NumPy.


def across(size: int, lanes: int = 32) -> dict[str, Tensor]:
    """Planes `(1, size, lanes)` whose search along columns is long, or would be without summaries."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(lanes), indexing="ij")
    masks = {
        "a corner": (y + x) == 0,
        "half": y < size // 2,
        "diagonal": y * lanes < x * size,
        "stripes": y // (size // 4) % 2 == 0,
        "noise": cases.noise(size, lanes),
        "sparse noise": cases.noise(size, lanes, share=0.001),
        "none": (y + x) < 0,
    }
    return {name: mask[None] for name, mask in masks.items()}


def counted(mask: Tensor, ahead: int = 8) -> visits.Visits:
    rows = edt(mask[0], [1.0], None, "signed", True, "reference").numpy()
    total = visits.Visits()
    found = visits.count(-rows, 1.0, total, ahead=ahead)
    assert_equal(found, edt(mask, [1.0, 1.0], None, "two_sided", True, "reference")[0])
    return total


@pytest.mark.parametrize("name", across(64))
def test_the_search_looks_where_its_rules_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = across(64)[name]
    monkeypatch.setattr(kernels, "LOOK_AHEAD", triton.language.constexpr(2))
    seen, squared, asked, turns = [], kernels._squared, [], kernels._turns_for_nothing
    spy = lambda value, *rest: (seen.append(len(value.shape)), squared(value, *rest))[1]  # noqa: E731
    monkeypatch.setattr(kernels, "_squared", spy)
    spy_turns = lambda *rest: (asked.append(int(turns(*rest))), asked[-1])[1]  # noqa: E731
    monkeypatch.setattr(kernels, "_turns_for_nothing", spy_turns)
    assert_equal(*(edt(mask, [1.0, 1.0], None, "two_sided", True, name) for name in ("triton", "reference")))
    rules = counted(mask, 2)
    assert asked.count(4) == rules.skipped
    assert seen.count(1) == rules.summaries
    assert seen.count(2) == rules.tiles + rules.blocks


@pytest.mark.parametrize("name", across(64))
def test_work_does_not_grow_with_the_distance(name: str) -> None:
    """Compares candidates per voxel with those of columns eight times as long."""
    near, far = (counted(across(size)[name]).per_voxel() for size in (128, 1024))
    assert far <= max(1.25 * near, 40)


# The Hausdorff error, whose last pass is the search.


@pytest.mark.parametrize("empty", ["zero", "diagonal", "scipy"])
@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize(
    ("shape", "alpha"), [((2, 9, 2, 17), 2.0), ((2, 9, 33), 1.0), ((2, 5), 2.5), ((2, 2, 2, 3), 0.0)], ids=str
)
def test_error_and_gradient_of_every_option(
    shape: tuple[int, ...], alpha: float, sigmoid: bool, empty: str
) -> None:
    dims = len(shape) - 1
    dtype = torch.float64 if alpha == 2.5 else torch.float32
    input, target = torch.randn(shape, dtype=dtype), cases.noise(*shape, share=0.9)
    target[0] = True
    item_spacing = ITEM_SPACING[:, -dims:] if sigmoid else None
    ignore = cases.noise(*shape, share=0.2) if empty == "zero" else None
    given = edt(target, [2.0] * dims, None, "two_sided", False, "reference") if alpha == 0.0 else None
    goal = target if sigmoid else target.to(dtype)
    arguments = (input, goal, given, ignore, sigmoid, alpha, SLICES[-dims:], item_spacing, empty)
    torch.testing.assert_close(*both(hausdorff_error, *arguments), rtol=3e-6, atol=1e-6)


def test_slices_of_a_single_row_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Summaries are then as large as the rows."""
    monkeypatch.setattr(backend, "SMALL", 0)
    input, target = torch.randn(1, 9, 1, 21), cases.noise(1, 9, 1, 21, share=0.8)
    arguments = (input, target, None, None, True, 2.0, SLICES, None, "zero")
    torch.testing.assert_close(*both(hausdorff_error, *arguments), rtol=3e-6, atol=1e-6)


def test_rounds_share_scratch_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    input, target = torch.randn(3, 3, 2, 5), cases.noise(3, 3, 2, 5)
    item_spacing = torch.rand(3, 3, dtype=torch.float64) + 0.5
    arguments = (input, target, None, None, True, 2.0, [1.0] * 3, item_spacing, "zero", "triton")
    together = hausdorff_error(*arguments)
    monkeypatch.setattr(backend, "ROUND", 2 * 30)
    for got, wanted in zip(hausdorff_error(*arguments), together, strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize(
    ("dtype", "given"), [(torch.float32, False), (torch.float32, True), (torch.float64, False)]
)
def test_strips_of_rows_change_nothing(
    dtype: torch.dtype, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient's memory holds the row distances of both masks, and is overwritten strip by strip."""
    input, target = torch.randn(2, 2, 3, 9, dtype=dtype), cases.noise(2, 2, 3, 9, share=0.8)
    distance = edt(target, SLICES, None, "two_sided", False, "reference") if given else None
    arguments = (input, target, distance, None, True, 2.0, SLICES, None, "scipy", "triton")
    whole = hausdorff_error(*arguments)
    monkeypatch.setattr(backend._Layout, "strip_width", lambda *_: 4)
    in_strips = hausdorff_error(*arguments)
    assert torch.equal(in_strips[1], whole[1])
    torch.testing.assert_close(in_strips[0], whole[0], rtol=1e-6, atol=0)


def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make launches do nothing, so that only their planning runs, on meta tensors."""

    class Launch:
        def __getitem__(self, grid: tuple[int, ...]) -> object:
            assert all(size > 0 for size in grid), grid
            return lambda *_, **__: None

    for module, names in (
        (backend, ("scan_rows", "hausdorff_pass")),
        (kernels, ("middle_pass", "last_pass", "trace_indices")),
        (backend.contour_kernels, ("contour_pass", "contour_gradient_pass")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, Launch())


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_every_small_shape_has_a_plan(dims: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In rounds and strips as for large volumes, by lowering the limits."""
    without_kernels(monkeypatch)
    monkeypatch.setattr(backend, "SMALL", 0)
    monkeypatch.setattr(backend, "ROUND", 200)
    unit = Steps([1.0] * dims, None)
    for shape in itertools.product((0, 1, 3), *[(0, 1, 2, 7, 8, 9, 17)] * dims):
        float32 = torch.empty(shape, device="meta")
        for input, given in ((float32, None), (float32, float32), (float32.double(), None)):
            options = (None, given, None, True, 2.0, unit, "zero")
            error, gradient = backend.hausdorff_error(HausdorffArguments(input, input > 0, *options))
            assert error.shape == (1, *shape[:1])
            assert gradient.shape == shape
        assert backend.edt(float32, unit, "signed", True).shape == shape
        assert backend.nearest_background(float32, unit).shape == (shape[0], dims, *shape[1:])
        if dims == 3:
            contour, highest, lowest = backend.contour_map(float32, None, 3)
            assert backend.contour_map_gradient(contour, highest, lowest, 3).shape == shape


SHAPES = [(1, 16, 320, 320), (2, 16, 320, 320), (3, 16, 320, 320), (8, 16, 320, 320), (1, 128, 128, 128),
          (2, 64, 192, 192), (1, 3, 1024, 1024), (1, 64, 512, 512), (4, 1024, 1024)]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_memory_of_the_error(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Besides the gradient, the adapter allocates at most a float32 tensor of the input's size."""
    without_kernels(monkeypatch)
    meta = torch.empty(shape, device="meta")
    live, peak = weakref.WeakSet(), [0]
    for name in ("empty", "zeros", "empty_like"):

        def counted(*arguments: object, make: object = getattr(torch, name), **options: object) -> Tensor:
            made = make(*arguments, **options)
            live.add(made.untyped_storage())
            peak[0] = max(peak[0], sum(storage.nbytes() for storage in live))
            return made

        monkeypatch.setattr(torch, name, counted)
    options = (None, None, None, True, 2.0, Steps([1.0] * (len(shape) - 1), None), "zero")
    backend.hausdorff_error(HausdorffArguments(meta, meta.bool(), *options))
    assert peak[0] <= 2 * 4 * meta.numel() + 2**16


def test_gradient_of_the_loss() -> None:
    """In double, against finite differences."""
    input = torch.rand(1, 2, 3, dtype=torch.float64).mul(0.4).add(0.05).requires_grad_()
    target = torch.tensor([[[0.9, 0.1, 0.8], [0.2, 0.7, 0.1]]], dtype=torch.float64)

    def error(x: Tensor) -> Tensor:
        return hausdorff_error(x, target, None, None, False, 2.0, SLICES[1:], None, "diagonal", "triton")[0]

    assert torch.autograd.gradcheck(error, (input,))


# Contours, against PyTorch's pooling.


# Strips have 4 rows, 28 columns and here 3 planes, so the larger shapes have several.
CONTOURS = [
    ((2, 1, 6, 7), 3, torch.float64, True),
    ((1, 2, 5, 30), 3, torch.float32, False),
    ((1, 1, 4, 5, 6), 3, torch.float64, True),
    ((1, 1, 5, 5, 30), 3, torch.float32, False),
    ((1, 1, 1, 2, 9), 3, torch.float32, True),
    ((1, 2, 2, 5, 6), (1, 3, 3), torch.float32, True),
    ((1, 1, 2, 5, 6), (1, 3, 3), torch.float64, False),
]


@pytest.mark.parametrize(("shape", "kernel", "dtype", "with_ignore"), CONTOURS, ids=str)
def test_contour_is_that_of_pooling(
    shape: tuple[int, ...],
    kernel: int | tuple[int, ...],
    dtype: torch.dtype,
    with_ignore: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many values tie, so that the choice of the first one matters."""
    monkeypatch.setattr(backend, "CONTOUR_PLANES", 3)
    x = torch.where(cases.noise(*shape, share=0.3), torch.rand(shape), torch.randint(3, shape) / 2).to(dtype)
    assert_pooled(x, kernel, cases.noise(*shape, share=0.2, seed=1) if with_ignore else None)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_contour_of_one_value_is_none(value: float) -> None:
    assert_pooled(torch.full((1, 1, 2, 3, 4), value), 3)


def test_contour_of_other_windows_is_pooled() -> None:
    x = torch.rand(1, 1, 7, 8)
    with surfloss.use_backend("triton"):
        got = contour_map(x, 5)
    assert_equal(got, contour_map(x, 5))


def test_contour_keeps_nan_as_pooling_does() -> None:
    """The gradient of NaN goes to the last NaN of a window."""
    x = torch.rand(1, 1, 3, 5, 8)
    x[cases.noise(*x.shape, share=0.04)] = torch.nan
    assert 2 < x.isnan().sum() < 12
    assert_pooled(x, 3)


# Integration with PyTorch.


@pytest.mark.parametrize("form", FORMS)
def test_opcheck_of_the_transform(form: str) -> None:
    torch.library.opcheck(edt, (cases.noise(2, 2, 3), [1.0, 2.0], None, form, False, "triton"))


def test_opcheck_of_the_indices() -> None:
    torch.library.opcheck(nearest_background, (cases.noise(2, 2, 3), [1.0, 2.0], None, "triton"))


def test_opcheck_of_the_error() -> None:
    input = torch.rand(1, 2, 3, requires_grad=True)
    options = (None, None, True, 2.0, [1.0, 2.0], None, "zero", "triton", None, 1.5, True)
    torch.library.opcheck(hausdorff_operator, (input, cases.noise(1, 2, 3), *options))


@pytest.mark.parametrize("with_ignore", [False, True])
def test_opcheck_of_the_contour(with_ignore: bool) -> None:
    ignore = cases.noise(1, 2, 3, 4) if with_ignore else None
    torch.library.opcheck(contour_operator, (torch.rand(1, 2, 3, 4, requires_grad=True), ignore, 3, "triton"))


@pytest.mark.parametrize("autocast", [False, True])
def test_losses_compile_to_one_graph(autocast: bool) -> None:
    def loss(logits: Tensor, target: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            scaled = logits @ torch.eye(3)
            surface = hausdorff_dt_loss(scaled, target, sigmoid=True, spacing=SLICES[1:], backend="triton")
            return surface + contour_loss(scaled, target, sigmoid=True)

    logits, target = torch.randn(1, 1, 2, 3), cases.noise(1, 1, 2, 3).float()
    results = []
    with surfloss.use_backend("triton"):
        for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
            leaf = logits.clone().requires_grad_()
            value = function(leaf, target)
            value.backward()
            results.append((value.detach(), leaf.grad))
    assert results[0][0].dtype == torch.float32
    torch.testing.assert_close(*results)


def test_strides_do_not_matter() -> None:
    mask = cases.noise(5, 4, 3)
    for view in (mask.permute(2, 0, 1), mask[::2, 1:, ::2], mask.flip(1)):
        got, right = (
            surfloss.two_sided_edt(view, spacing=SLICES, backend=name) for name in ("triton", "reference")
        )
        assert_within_ulp(got, right, 2)


def test_tensors_on_two_devices_are_refused() -> None:
    mask = cases.noise(2, 3, 4)
    with pytest.raises(ValueError, match="spacing: got a tensor on meta, wanted one on cpu"):
        backend.edt(mask, Steps([1.0] * 2, torch.empty(2, 2, device="meta")), "signed", True)
    with pytest.raises(ValueError, match="ignore: got a tensor on meta, wanted one on cpu"):
        backend.contour_map(torch.rand(1, 1, 2, 3), mask.to("meta"), 3)


@pytest.mark.parametrize("spacing", [1e-30, 1e18])
def test_squares_that_are_no_floats_are_refused(spacing: float) -> None:
    with pytest.raises(ValueError, match=r"spacing: got .*, wanted steps whose squares"):
        edt(cases.noise(1, 90, 4), [spacing] * 2, None, "signed", True, "triton")


def test_without_a_gpu_or_the_interpreter_there_is_a_reason() -> None:
    code = (
        "import torch, surfloss\n"
        "try: surfloss.two_sided_edt(torch.ones(2, 2, 2), backend='triton')\n"
        "except RuntimeError as error: print(error)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    arguments = ([sys.executable, "-c", code], environment)
    output = subprocess.run(arguments[0], env=arguments[1], capture_output=True, text=True, check=True).stdout
    wanted = (
        "it runs on cuda tensors" if torch.cuda.is_available() else "PyTorch finds no GPU.*TRITON_INTERPRET=1"
    )
    assert re.search(f"backend: got 'triton' for a tensor on cpu, wanted .*{wanted}", output)
