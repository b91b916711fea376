"""The Hausdorff error operator: value against SciPy and brute force, gradient, and PyTorch's opcheck.

Gradients are checked as weights: gradient = 2 weight (p - g) dp / voxels.
"""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from surfloss.ops import hausdorff
from tests.support import cases, oracles
from tests.support.operators import hausdorff_error

pytestmark = pytest.mark.usefixtures("poisoned_scratch")

SPACING = [5.0, 0.42, 0.7]
ITEM_SPACING = torch.tensor([[1.0, 1.0, 1.0], SPACING], dtype=torch.float64)
SHAPE = (2, 4, 5, 6)


def probabilities(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Values in (0, 1), not close to either end or to the threshold, where the error jumps."""
    values = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (0.02 + 0.94 * values + 0.02 * (values > 0.5)).to(dtype)


def call(
    input: Tensor,
    target: Tensor,
    target_distance: Tensor | None = None,
    ignore: Tensor | None = None,
    alpha: float = 2.0,
    spacing: list[float] = SPACING,
    item_spacing: Tensor | None = None,
    empty: str = "zero",
    backend: str | None = None,
    sigmoid: bool = False,
) -> tuple[Tensor, Tensor]:
    """The errors, and the weights computed from the gradient."""
    error, gradient, _ = hausdorff_error(
        input, target, target_distance, ignore, sigmoid, alpha, spacing, item_spacing, empty, backend
    )
    assert (gradient.shape, gradient.dtype) == (input.shape, input.dtype)
    prediction = input.detach().double()
    slope = torch.ones_like(prediction)
    if sigmoid:
        prediction = prediction.sigmoid()
        slope = prediction * (1 - prediction)
    per_weight = 2 * (prediction - target.detach().double()) * slope / max(1, input[:1].numel())
    return error, gradient.double() / per_weight


def distances(values: Tensor, steps: list[list[float]]) -> Tensor:
    fields = [oracles.scipy_two_sided(item.numpy() > 0.5, s) for item, s in zip(values, steps, strict=True)]
    return torch.from_numpy(np.stack(fields))


@pytest.mark.large
@pytest.mark.parametrize("item_spacing", [None, ITEM_SPACING], ids=["shared spacing", "item spacing"])
@pytest.mark.parametrize("alpha", [1.0, 2.0, 2.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_weight_are_the_formula_on_scipy_distances(
    dtype: torch.dtype, alpha: float, item_spacing: Tensor | None, backend: str
) -> None:
    input, target = probabilities(*SHAPE, dtype=dtype), probabilities(*SHAPE, seed=1, dtype=dtype)
    error, weight = call(input, target, alpha=alpha, item_spacing=item_spacing, backend=backend)
    steps = [SPACING] * 2 if item_spacing is None else item_spacing.tolist()
    right = distances(input, steps) ** alpha + distances(target, steps) ** alpha
    assert error.dtype == dtype
    torch.testing.assert_close(weight, right, rtol=1e-6, atol=0)
    wanted = ((input.double() - target.double()) ** 2 * right).flatten(1).mean(1)
    torch.testing.assert_close(error.double(), wanted, rtol=2e-6, atol=0)


@pytest.mark.large
def test_given_target_distance_is_what_would_be_computed(backend: str) -> None:
    input, target = probabilities(*SHAPE), probabilities(*SHAPE, seed=1)
    given = distances(target, [SPACING] * 2).float()
    for alpha in (1.0, 2.0, 3.0):
        got = call(input, target, given, alpha=alpha, backend=backend)
        # The target's values still enter the square; its mask no longer determines the distance.
        torch.testing.assert_close(got, call(input, target, alpha=alpha, backend=backend), rtol=1e-6, atol=0)


@pytest.mark.large
@pytest.mark.parametrize("alpha", [1.0, 2.0, 2.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sigmoid_is_that_of_the_probabilities(dtype: torch.dtype, alpha: float, backend: str) -> None:
    logits = (torch.randn(SHAPE, dtype=torch.float64) * 4).to(dtype).requires_grad_()
    logits.data[0, 0, 0, :4] = torch.tensor([0.0, 1e-3, -80.0, 80.0])
    target = probabilities(*SHAPE, seed=1, dtype=dtype)
    error, _ = call(logits, target, alpha=alpha, backend=backend, sigmoid=True)
    error.sum().backward()
    got = logits.grad
    logits.grad = None
    plain, _ = call(logits.sigmoid(), target, alpha=alpha, backend=backend)
    plain.sum().backward()
    torch.testing.assert_close(error, plain, rtol=2e-6, atol=0)
    torch.testing.assert_close(got, logits.grad, rtol=4e-6, atol=5e-7 * float(logits.grad.abs().max()))


def test_logits_far_from_zero_stay_finite(backend: str) -> None:
    logits = torch.tensor([[-1e30, -1e3, -88.0, 0.0, 88.0, 1e3, 1e30]], requires_grad=True)
    target = torch.tensor([[0.0, 1, 1, 1, 0, 0, 1]])
    error, _ = call(logits, target, spacing=[1.0], backend=backend, sigmoid=True)
    error.sum().backward()
    assert logits.grad.isfinite().all()
    # p is 0 0 0 .5 1 1 1. Squared distances are 16 9 4 1 1 4 9 for its mask, 1 1 4 1 1 1 1 for the target's.
    torch.testing.assert_close(error.detach(), torch.tensor([(10 + 8 + 0.25 * 2 + 2 + 5) / 7]))


@pytest.mark.large
def test_bool_target_is_its_numbers(backend: str) -> None:
    input, mask = probabilities(*SHAPE, dtype=torch.float32), cases.noise(*SHAPE, seed=4)
    for sigmoid in (False, True):
        for got, wanted in zip(
            *(call(input, target, backend=backend, sigmoid=sigmoid) for target in (mask, mask.float())),
            strict=True,
        ):
            assert torch.equal(got, wanted)
    odd = (mask.byte() * 254).view(torch.bool)
    assert torch.equal(call(input, odd, backend=backend)[0], call(input, mask, backend=backend)[0])


@pytest.mark.large
@pytest.mark.parametrize("given", [False, True], ids=["computed", "given target distance"])
@pytest.mark.parametrize("value", [0.1, 0.9], ids=["empty", "full"])
@pytest.mark.parametrize("item_spacing", [None, ITEM_SPACING], ids=["shared spacing", "item spacing"])
@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_policies_for_one_label_only(
    value: float, item_spacing: Tensor | None, alpha: float, given: bool, backend: str
) -> None:
    input, target = probabilities(*SHAPE), torch.full(SHAPE, value, dtype=torch.float64)
    target_distance = torch.full(SHAPE, torch.inf) if given else None
    steps = [SPACING] * 2 if item_spacing is None else item_spacing.tolist()
    diagonal = [np.linalg.norm(np.multiply(SHAPE[1:], s)) for s in steps]
    fillers = {
        "zero": torch.zeros(SHAPE, dtype=torch.float64),
        "diagonal": torch.tensor(np.array(diagonal)).view(2, 1, 1, 1).expand(SHAPE),
        "scipy": distances(target, steps),
    }
    for empty, filler in fillers.items():
        _, weight = call(input, target, target_distance, None, alpha, SPACING, item_spacing, empty, backend)
        right = distances(input, steps) ** alpha + filler**alpha
        torch.testing.assert_close(
            weight.double(), right, rtol=1e-6, atol=0, msg=lambda m, e=empty: f"{e}: {m}"
        )


def test_both_empty_is_no_error_and_no_gradient(backend: str) -> None:
    input = torch.full(SHAPE, 0.2, requires_grad=True)
    error, _ = call(input, torch.zeros(SHAPE), alpha=1.0, backend=backend)
    error.sum().backward()
    assert not error.any()
    assert not input.grad.any()


@pytest.mark.large
def test_ignored_voxels_are_no_label_no_error_and_no_gradient(backend: str) -> None:
    input, target = probabilities(*SHAPE).requires_grad_(), probabilities(*SHAPE, seed=1)
    ignore = cases.noise(*SHAPE, share=0.3, seed=2)
    error, weight = call(input, target, None, ignore, backend=backend)
    error.sum().backward()
    right = np.zeros(SHAPE)
    for values in (input.detach(), target):
        for item, (mask, out) in enumerate(zip((values > 0.5).numpy(), ignore.numpy(), strict=True)):
            right[item] += oracles.squared_to(mask & ~out, ~mask & ~out, SPACING)
            right[item] += oracles.squared_to(~mask & ~out, mask & ~out, SPACING)
    torch.testing.assert_close(weight.double(), torch.from_numpy(right), rtol=1e-6, atol=0)
    assert not input.grad[ignore].any()
    changed = torch.where(ignore, 1 - target, target)
    assert torch.equal(call(input, changed, None, ignore, backend=backend)[0], error)


def test_everything_ignored(backend: str) -> None:
    error, weight = call(
        probabilities(*SHAPE), probabilities(*SHAPE, seed=1), None, torch.ones(SHAPE).bool(), backend=backend
    )
    assert not error.any()
    assert not weight.any()


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 3, 0, 5)], ids=["batch 0", "no voxels"])
@pytest.mark.parametrize("empty", ["zero", "diagonal", "scipy"])
def test_nothing_to_compare_is_zero(shape: tuple[int, ...], empty: str, backend: str) -> None:
    input = torch.rand(shape, requires_grad=True)
    error, weight = call(input, torch.rand(shape), empty=empty, backend=backend)
    error.sum().backward()
    assert error.tolist() == [0.0] * shape[0]
    assert weight.shape == input.grad.shape == shape


def test_exponent_zero_counts_every_voxel_twice(backend: str) -> None:
    input, target = probabilities(*SHAPE), torch.zeros(SHAPE, dtype=torch.float64)
    error, weight = call(input, target, alpha=0.0, backend=backend)
    torch.testing.assert_close(weight, torch.full_like(weight, 2))
    torch.testing.assert_close(error, 2 * (input**2).flatten(1).mean(1))


def test_half_is_background(backend: str) -> None:
    input = torch.tensor([[0.5, 0.5001, 0.1]])
    _, weight = call(input, torch.zeros(1, 3), spacing=[2.0], backend=backend)
    torch.testing.assert_close(weight.float(), torch.full((1, 3), 4.0))


@pytest.mark.large
@pytest.mark.parametrize("with_ignore", [False, True], ids=["all voxels", "some ignored"])
@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_gradcheck(alpha: float, with_ignore: bool, backend: str) -> None:
    input = probabilities(2, 2, 3, 4).requires_grad_()
    target = probabilities(2, 2, 3, 4, seed=1).requires_grad_()
    ignore = cases.noise(2, 2, 3, 4, share=0.2) if with_ignore else None

    def error(input: Tensor, target: Tensor) -> Tensor:
        return call(input, target, None, ignore, alpha, item_spacing=ITEM_SPACING, backend=backend)[0]

    assert torch.autograd.gradcheck(error, (input, target))


@pytest.mark.large
def test_gradcheck_through_the_sigmoid(backend: str) -> None:
    logits = probabilities(2, 2, 3, 4).logit(1e-3).requires_grad_()
    target = probabilities(2, 2, 3, 4, seed=1)
    assert torch.autograd.gradcheck(lambda x: call(x, target, backend=backend, sigmoid=True)[0], (logits,))


def test_second_derivatives_are_refused(backend: str) -> None:
    input = probabilities(*SHAPE).requires_grad_()
    error, _ = call(input, probabilities(*SHAPE, seed=1), backend=backend)
    (gradient,) = torch.autograd.grad(error.sum(), input, create_graph=True)
    with pytest.raises(RuntimeError, match="create_graph: got a second derivative, wanted the first alone"):
        gradient.sum().backward()


def test_target_with_a_gradient_beside_the_fused_sigmoid_is_refused(backend: str) -> None:
    target = probabilities(*SHAPE).requires_grad_()
    error, _ = call(probabilities(*SHAPE), target, backend=backend, sigmoid=True)
    with pytest.raises(RuntimeError, match="target: got one that requires a gradient"):
        error.sum().backward()


def test_gradient_goes_only_where_it_is_asked_for(backend: str) -> None:
    input, target = probabilities(*SHAPE), probabilities(*SHAPE, seed=1).requires_grad_()
    error, weight = call(input, target, distances(target.detach(), [SPACING] * 2).float(), backend=backend)
    assert not weight.requires_grad
    error[0].backward()
    assert target.grad[0].any()
    assert not target.grad[1].any()
    assert input.grad is None


@pytest.mark.large
@pytest.mark.parametrize("compiler", ["aot_eager", "inductor"])
def test_compiles_to_one_graph_with_the_same_answer(compiler: str, backend: str) -> None:
    def loss(logits: Tensor, target: Tensor, item_spacing: Tensor) -> Tensor:
        error, _ = call(logits.sigmoid(), target, item_spacing=item_spacing, backend=backend)
        return error.mean()

    logits = torch.randn(SHAPE)
    target = cases.noise(*SHAPE).float()
    results = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend=compiler)):
        leaf = logits.clone().requires_grad_()
        value = function(leaf, target, ITEM_SPACING)
        value.backward()
        results.append((value.detach(), leaf.grad))
    torch.testing.assert_close(*results)


def _sample(*shape: int, **options: object) -> tuple[tuple, dict]:
    input = probabilities(*shape, dtype=torch.float32).requires_grad_()
    return (input, cases.noise(*shape, seed=3).float()), options


SAMPLES = {
    "plain": _sample(*SHAPE),
    "2-D": _sample(2, 4, 5, spacing=[1.0, 2.0]),
    "float64": ((probabilities(*SHAPE).requires_grad_(), probabilities(*SHAPE, seed=1).requires_grad_()), {}),
    "item spacing": _sample(*SHAPE, item_spacing=ITEM_SPACING),
    "batch 0": _sample(0, 3, 4, 5),
    "no voxels": _sample(2, 3, 0, 5),
    "ignore": _sample(*SHAPE, ignore=cases.noise(*SHAPE, share=0.2)),
    "target distance, alpha 1": _sample(*SHAPE, target_distance=torch.rand(SHAPE) * 9, alpha=1.0),
    "sigmoid": _sample(*SHAPE, sigmoid=True),
    "bool target": ((probabilities(*SHAPE).requires_grad_(), cases.noise(*SHAPE, seed=3)), {}),
    "kept in bfloat16": _sample(*SHAPE, kept_dtype=torch.bfloat16),
    "kept in float16": _sample(*SHAPE, kept_dtype=torch.float16),
    "max distance": _sample(*SHAPE, max_distance=2.0),
    "by errors": _sample(*SHAPE, by_errors=True),
    "by errors, batch 0": _sample(0, 3, 4, 5, by_errors=True),
    "by errors, in float16": _sample(*SHAPE, by_errors=True, kept_dtype=torch.float16),
    "alpha 2.5, diagonal": _sample(*SHAPE, alpha=2.5, empty="diagonal"),
    "reference policy, item spacing": _sample(*SHAPE, item_spacing=ITEM_SPACING, empty="scipy"),
    "target only": ((probabilities(*SHAPE), probabilities(*SHAPE, seed=1).requires_grad_()), {}),
}


@pytest.mark.large
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
def test_opcheck(sample: tuple[tuple, dict], backend: str) -> None:
    (input, target), options = sample
    defaults = {
        "target_distance": None,
        "ignore": None,
        "sigmoid": False,
        "alpha": 2.0,
        "spacing": SPACING,
        "item_spacing": None,
        "empty": "zero",
    }
    named = defaults | options
    last = {"kept_dtype": None, "max_distance": None, "by_errors": False}
    last |= {name: named.pop(name) for name in last if name in named}
    arguments = (input, target, *named.values(), backend, *last.values())
    torch.library.opcheck(hausdorff.hausdorff_error, arguments)


def formula(
    input: Tensor, target: Tensor, ignore: Tensor | None, alpha: float, most: float, fill: float
) -> tuple[Tensor, Tensor]:
    """Weights from SciPy's distances, and squared errors, both in double."""
    weight = torch.zeros(input.shape, dtype=torch.float64)
    for values in (input, target):
        distance = distances(values.detach(), [SPACING] * len(values))
        weight += distance.where(distance.isfinite(), fill).clamp_max(most) ** alpha
    error = (input.double() - target.double()) ** 2
    kept = 1 if ignore is None else (~ignore).double()
    return weight * kept, error * kept


@pytest.mark.large
@pytest.mark.parametrize("most", [None, 0.5, 3.0, 1e9])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_by_errors_on_limited_distances(
    dtype: torch.dtype, alpha: float, most: float | None, backend: str
) -> None:
    """With `by_errors` the value is the plain squared error, and the gradient has weights of mean 1."""
    input = probabilities(*SHAPE, dtype=dtype).requires_grad_()
    target = probabilities(*SHAPE, seed=1, dtype=dtype)
    options = (None, None, False, alpha, SPACING, None, "zero", backend)
    weight, error = formula(input, target, None, alpha, most or math.inf, 0)
    plain, _, _ = hausdorff_error(input, target, *options, max_distance=most)
    torch.testing.assert_close(plain.double(), (weight * error).flatten(1).mean(1), rtol=2e-6, atol=0)

    got, _, scale = hausdorff_error(input, target, *options, max_distance=most, by_errors=True)
    mean = (weight * error).detach().flatten(1).sum(1) / error.detach().flatten(1).sum(1)
    assert scale.shape == (len(input),)
    torch.testing.assert_close(scale.double(), 1 / mean, rtol=4e-6, atol=0)
    torch.testing.assert_close(got.double(), error.flatten(1).mean(1), rtol=2e-6, atol=0)
    (gradient,) = torch.autograd.grad(got.sum(), input)
    normal = (weight / mean.view(-1, 1, 1, 1) * error).flatten(1).mean(1).sum()
    torch.testing.assert_close(gradient, torch.autograd.grad(normal, input)[0], rtol=8e-6, atol=0)


@pytest.mark.large
@pytest.mark.parametrize("empty", ["zero", "diagonal", "scipy"])
def test_limit_holds_for_masks_of_one_label_too(empty: str, backend: str) -> None:
    input, target = torch.full(SHAPE, 0.25), torch.zeros(SHAPE)
    options = (None, None, False, 1.0, SPACING, None, empty, backend)
    error, *_ = hausdorff_error(input, target, *options, max_distance=0.125)
    # Both SciPy's distance to a voxel before the first one and the diagonal exceed the limit.
    wanted = 0.0 if empty == "zero" else 2 * 0.125 * 0.25**2
    torch.testing.assert_close(error, torch.full((2,), wanted))


@pytest.mark.large
def test_errors_without_a_weight_are_nothing(backend: str) -> None:
    input, target = torch.full(SHAPE, 0.25).requires_grad_(), torch.zeros(SHAPE)
    options = (None, None, False, 2.0, SPACING, None, "zero", backend)
    error, *_ = hausdorff_error(input, target, *options, by_errors=True)
    error.sum().backward()
    assert error.tolist() == [0, 0]
    assert not input.grad.any()


@pytest.mark.large
def test_ignored_voxels_are_no_part_of_either_sum(backend: str) -> None:
    input, target = probabilities(*SHAPE), probabilities(*SHAPE, seed=1)
    ignore = cases.noise(*SHAPE, share=0.3)
    options = (None, ignore, False, 2.0, SPACING, None, "zero", backend)
    error, gradient, scale = hausdorff_error(input, target, *options, by_errors=True)
    counted = ((input - target) ** 2).masked_fill(ignore, 0).flatten(1)
    torch.testing.assert_close(error, counted.mean(1), rtol=2e-6, atol=0)
    weighted = (gradient * (input - target) / 2).flatten(1).sum(1)
    torch.testing.assert_close(scale, error / weighted, rtol=4e-6, atol=0)
    assert not gradient[ignore].any()


def kept(input: Tensor, target: Tensor, backend: str, dtype: torch.dtype | None) -> tuple[Tensor, Tensor]:
    """The saved gradient, and the input's gradient of the sum of the errors."""
    leaf = input.clone().requires_grad_()
    arguments = (None, None, False, 2.0, SPACING, None, "zero", backend, dtype, None, False)
    error, gradient, scale = hausdorff.hausdorff_error(leaf, target, *arguments)
    assert (gradient.dtype, len(scale)) == (dtype or input.dtype, len(input) * (dtype == torch.float16))
    error.sum().backward()
    assert leaf.grad.dtype == input.dtype
    return gradient, leaf.grad


@pytest.mark.parametrize("digits", [8, 11])
@pytest.mark.parametrize("wanted", [torch.float32, torch.float64])
def test_gradient_kept_in_half_the_memory(wanted: torch.dtype, digits: int, backend: str) -> None:
    input, target = probabilities(*SHAPE, dtype=wanted), cases.noise(*SHAPE, seed=3)
    dtype = torch.bfloat16 if digits == 8 else torch.float16
    (_, plain), (_, rounded) = (kept(input, target, backend, dtype) for dtype in (None, dtype))
    torch.testing.assert_close(rounded, plain, rtol=2.0**-digits, atol=0)
    assert not torch.equal(rounded, plain)


def test_float16_has_the_range_of_every_item(backend: str) -> None:
    """Errors of very different sizes per item; float16 alone covers only 2^-24 to 2^16."""
    target = torch.zeros(4, 3, 4, 5)
    target[:, 1, 1:3, 2:4] = 1
    by = torch.tensor([1e12, 1.0, 1e-15, 0.0]).view(-1, 1, 1, 1)
    input = target + by * torch.linspace(0.1, 0.4, 60).view(3, 4, 5)
    gradient, rounded = kept(input, target, backend, torch.float16)
    _, plain = kept(input, target, backend, None)
    assert gradient.isfinite().all()
    greatest = gradient.abs().amax((1, 2, 3))
    assert ((greatest[:3] >= 2**14) & (greatest[:3] <= 2**15)).all()
    torch.testing.assert_close(rounded, plain, rtol=2**-11, atol=0)
    assert not rounded[3].any()


def test_float16_of_a_gradient_of_nothing(backend: str) -> None:
    for shape in ((2, 3, 4, 5), (2, 3, 0, 5), (0, 3, 4, 5)):
        gradient, rounded = kept(torch.zeros(shape), torch.zeros(shape), backend, torch.float16)
        assert not gradient.any()
        assert not rounded.any()
