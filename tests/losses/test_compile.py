"""Every loss in a compiled graph without a break, and as a module that travels."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from surfloss import (
    BoundaryLoss,
    CompoundLoss,
    ContourLoss,
    DiceCELoss,
    GeneralizedSurfaceLoss,
    HausdorffConvLoss,
    HausdorffDTLoss,
    HausdorffERLoss,
    LogHausdorffDTLoss,
    SurfaceDiceLoss,
    signed_distance,
    two_sided_edt,
    use_backend,
)
from surfloss.schedules import LinearWarmup
from tests.losses.fields import in_channels, labels, logits, result

INPUT, TARGET = logits(3, 3), labels(3, 3)
IGNORING = TARGET.masked_fill(torch.arange(7) > 4, 255)
BOTH = {"softmax": True, "to_onehot_y": True}
SPACINGS = torch.tensor([[5.0, 0.4, 0.4], [1.0, 1, 1]])

LOSSES: dict[str, tuple[nn.Module, Tensor, dict[str, Any]]] = {
    "hausdorff": (HausdorffDTLoss(**BOTH), TARGET, {}),
    "hausdorff, ignored voxels": (HausdorffDTLoss(1.0, **BOTH, ignore_index=255, spacing=2.0), IGNORING, {}),
    "hausdorff, spacing an item": (
        HausdorffDTLoss(**BOTH, normalize="diagonal", empty="diagonal"),
        TARGET,
        {"spacing": SPACINGS},
    ),
    "hausdorff, target distance": (
        HausdorffDTLoss(sigmoid=True, empty="scipy", reduction="none"),
        in_channels(TARGET, 3),
        {"target_distance": two_sided_edt(in_channels(TARGET, 3)[:, 1:], spatial_dims=3)},
    ),
    "log hausdorff": (LogHausdorffDTLoss(**BOTH, batch=True), TARGET, {}),
    "erosion loss": (HausdorffERLoss(**BOTH), TARGET, {}),
    "erosion loss, stretched": (HausdorffERLoss(1.0, 3, rescale="minmax", **BOTH), TARGET, {}),
    "convolution loss": (
        HausdorffConvLoss(radii=(1, 2.5), **BOTH, spacing=(2.0, 1.0, 0.5), ignore_index=255),
        IGNORING,
        {},
    ),
    "boundary": (BoundaryLoss(**BOTH, normalize="diagonal", empty="diagonal"), TARGET, {"spacing": SPACINGS}),
    "boundary, ignored voxels": (BoundaryLoss(**BOTH, ignore_index=255, spacing=2.0), IGNORING, {}),
    "boundary, target map": (
        BoundaryLoss(sigmoid=True, reduction="none"),
        in_channels(TARGET, 3),
        {"target_distance": signed_distance(in_channels(TARGET, 3)[:, 1:], spatial_dims=3)},
    ),
    "generalized surface": (GeneralizedSurfaceLoss(**BOTH), TARGET, {"spacing": list(SPACINGS)}),
    "generalized surface, weights": (
        GeneralizedSurfaceLoss(**BOTH, class_weights=(0.3, 0.7), empty="diagonal", ignore_index=255),
        IGNORING,
        {},
    ),
    "surface dice": (SurfaceDiceLoss(1.0, **BOTH), TARGET, {"spacing": SPACINGS.tolist()}),
    "surface dice, ignored voxels": (SurfaceDiceLoss(1.0, **BOTH, ignore_index=255), IGNORING, {}),
    "contour map": (ContourLoss(**BOTH), TARGET, {}),
    "contour length": (ContourLoss("length", (1, 3, 3), **BOTH, ignore_index=255), IGNORING, {}),
    "dice_ce": (DiceCELoss(), TARGET, {}),
    "dice_ce, ignored voxels": (DiceCELoss(batch=True, ignore_index=255), IGNORING, {}),
    "dice_ce, regions": (DiceCELoss(sigmoid=True), in_channels(TARGET, 3), {}),
    "compound": (
        CompoundLoss(
            {"dice_ce": (DiceCELoss(), 1.0), "surface": (HausdorffDTLoss(**BOTH), LinearWarmup(1e-2, 5))}
        ),
        TARGET,
        {},
    ),
}
IN_FULL = ("hausdorff", "compound")


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch._dynamo.reset()


@pytest.mark.parametrize("name", LOSSES)
def test_one_graph_with_the_same_answer(name: str) -> None:
    loss, target, call = LOSSES[name]
    right = result(loss, INPUT, target, **call)
    got = result(torch.compile(loss, fullgraph=True, backend="aot_eager"), INPUT, target, **call)
    torch.testing.assert_close((got.value, got.gradient), (right.value, right.gradient))


@pytest.mark.parametrize("name", IN_FULL)
def test_generated_code_gives_the_same_answer(name: str) -> None:
    loss, target, call = LOSSES[name]
    right = result(loss, INPUT, target, **call)
    got = result(torch.compile(loss, fullgraph=True), INPUT, target, **call)
    torch.testing.assert_close((got.value, got.gradient), (right.value, right.gradient))


@pytest.mark.parametrize(
    ("make", "plain", "numpys"),
    [
        (HausdorffDTLoss, {"spacing": (5.0, 0.5, 0.25)}, {"spacing": np.array([5, 0.5, 0.25])}),
        (HausdorffDTLoss, {"spacing": 0.5}, {"spacing": np.float32(0.5)}),
        (HausdorffDTLoss, {"spacing": SPACINGS}, {"spacing": [(5.0, 0.4, 0.4), (1.0, 1, 1)]}),
        (HausdorffDTLoss, {"alpha": 1.0}, {"alpha": np.float32(1)}),
        (ContourLoss, {"kernel_size": 5}, {"kernel_size": np.int64(5)}),
    ],
)
def test_options_of_numpy_break_no_graph(
    make: type[nn.Module], plain: dict[str, Any], numpys: dict[str, Any]
) -> None:
    compiled = torch.compile(make(**BOTH, **numpys), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(INPUT, TARGET), make(**BOTH, **plain)(INPUT, TARGET))


@pytest.mark.skipif(torch.__version__ < "2.11", reason="older compilers replace the message")
@pytest.mark.parametrize(
    ("loss", "call", "message"),
    [
        (HausdorffDTLoss(**BOTH, empty="raise"), {}, "empty: got 'raise'"),
        (BoundaryLoss(**BOTH, empty="raise"), {}, "empty: got 'raise'"),
        (GeneralizedSurfaceLoss(**BOTH, empty="raise"), {}, "empty: got 'raise'"),
        (SurfaceDiceLoss(1.0, **BOTH, empty="raise"), {}, "empty: got 'raise'"),
        (HausdorffConvLoss(**BOTH), {"spacing": SPACINGS}, "spacing: got a tensor"),
        (CompoundLoss({"a": (ContourLoss(**BOTH), 1.0)}, nonfinite="skip"), {}, "nonfinite: got 'skip'"),
    ],
    ids=["hausdorff", "boundary", "generalized surface", "surface dice", "convolution", "compound"],
)
def test_reading_values_is_refused_in_a_graph(loss: nn.Module, call: dict[str, Any], message: str) -> None:
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    with pytest.raises(torch._dynamo.exc.Unsupported, match=f"{message} in a compiled graph, wanted"):
        compiled(INPUT, TARGET, **call)


def test_a_backend_may_be_named_around_a_graph() -> None:
    compiled = torch.compile(LOSSES["hausdorff"][0], fullgraph=True, backend="aot_eager")
    with use_backend("reference"):
        torch.testing.assert_close(compiled(INPUT, TARGET), LOSSES["hausdorff"][0](INPUT, TARGET))


def test_single_channel_compiles() -> None:
    loss, target = HausdorffDTLoss(sigmoid=True), in_channels(labels(3, 1), 1)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    value = compiled(logits(3, 1), target)
    with pytest.warns(UserWarning, match="single-channel"):
        torch.testing.assert_close(value, loss(logits(3, 1), target))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_compiles_under_autocast(dtype: torch.dtype) -> None:
    loss, target, _ = LOSSES["hausdorff"]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    got = result(compiled, INPUT, target, autocast=dtype)
    right = result(loss, INPUT, target)
    torch.testing.assert_close((got.value, got.gradient), (right.value, right.gradient))


def test_steps_do_not_compile_anew() -> None:
    loss = copy.deepcopy(LOSSES["compound"][0])
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    eager = copy.deepcopy(loss)
    for _ in range(8):
        torch.testing.assert_close(compiled(INPUT, TARGET), eager(INPUT, TARGET))
        torch.testing.assert_close(loss.last_terms, eager.last_terms)
        loss.step()
        eager.step()
    assert counter.frame_count == 1


def test_new_spacings_do_not_compile_anew() -> None:
    loss, target, _ = LOSSES["hausdorff, spacing an item"]
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    for scale in (1, 2, 3):
        spacing = SPACINGS * scale
        torch.testing.assert_close(
            compiled(INPUT, target, spacing=spacing), loss(INPUT, target, spacing=spacing)
        )
    assert counter.frame_count == 1


@pytest.mark.parametrize("name", LOSSES)
def test_pickled_and_copied(name: str) -> None:
    loss, target, call = LOSSES[name]
    right = loss(INPUT, target, **call)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(twin(INPUT, target, **call), right)
        assert repr(twin) == repr(loss)
