"""Errors for GPU users, tested without a GPU: fake backends behind the real selection and operators."""

import sys
import types
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

import surfloss
from surfloss.backends import reference
from surfloss.ops import _select
from surfloss.ops._select import Backend, select

CUDA = torch.device("cuda", 0)
TRITON = "Triton is not installed; pip install triton"
NVRTC = "NVRTC is not installed; pip install nvidia-cuda-nvrtc cuda-core"


def table(monkeypatch: pytest.MonkeyPatch, triton: str | None, cuda: str | None) -> None:
    """A table where "triton" is automatic on a GPU and "cuda" must be named, each with its reason or None."""
    rows = [
        Backend("triton", "fake_triton", ("cuda",), ("cuda",), lambda: triton),
        Backend("cuda", "fake_cuda", (), ("cuda",), lambda: cuda),
    ]
    for row in rows:
        monkeypatch.setitem(sys.modules, row.module, types.ModuleType(row.module))
    others = (row for row in _select.TABLE if row.name in ("cpu", "reference"))
    monkeypatch.setattr(_select, "TABLE", (*rows, *others))


@pytest.fixture(autouse=True)
def _no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SURFLOSS_BACKEND", raising=False)


@pytest.mark.parametrize(("name", "lack"), [("triton", TRITON), ("cuda", NVRTC)])
@pytest.mark.parametrize("source", ["backend", "use_backend", "SURFLOSS_BACKEND"])
def test_a_named_backend_that_is_missing(
    source: str, name: str, lack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(monkeypatch, TRITON, NVRTC)
    if source == "SURFLOSS_BACKEND":
        monkeypatch.setenv(source, name)
    context = surfloss.use_backend(name) if source == "use_backend" else nullcontext()
    with pytest.raises(RuntimeError) as error, context:
        select(name if source == "backend" else None, CUDA)
    message = f"{source}: got {name!r} for a tensor on cuda:0, wanted a backend that runs there: {lack}"
    assert str(error.value) == message


def test_neither_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One error with the reason of the automatic backend and no fallback to the CPU."""
    table(monkeypatch, TRITON, NVRTC)
    with pytest.raises(
        RuntimeError, match=r"^backend: got a tensor on cuda:0, wanted a device with"
    ) as error:
        select(None, CUDA)
    assert f"triton: {TRITON}" in str(error.value)
    for name in ("cuda", "cpu", "reference"):
        assert f"{name} is not chosen for cuda tensors unless named" in str(error.value)


def test_a_missing_backend_is_passed_over_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    table(monkeypatch, None, NVRTC)
    assert select(None, CUDA).__name__ == "fake_triton"
    with pytest.raises(RuntimeError, match="NVRTC is not installed"):
        select("cuda", CUDA)


@pytest.mark.parametrize("name", ["triton", "cuda"])
def test_a_gpus_backend_and_a_tensor_on_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table(monkeypatch, None, None)
    mask = torch.ones(2, 2, 2)
    with pytest.raises(
        RuntimeError, match=rf"^backend: got '{name}' for a tensor on cpu, .*runs on cuda ten"
    ):
        surfloss.two_sided_edt(mask, backend=name)


def test_every_backend_of_a_gpu_names_what_it_lacks() -> None:
    """In the real table, the reason of an unavailable GPU backend is a sentence."""
    for row in _select.TABLE:
        if "cuda" in (row.named_on or ()) and (reason := row.unavailable("cuda")):
            assert len(reason.split()) > 2, f"{row.name}: {reason!r}"


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """A backend named "failing": the reference, except that it raises a given error once."""
    pending: list[Exception] = []

    def first(name: str) -> Callable[..., object]:
        def function(*arguments: object) -> object:
            if pending:
                raise pending.pop()
            return getattr(reference, name)(*arguments)

        return function

    module = types.ModuleType("fake_failing")
    module.__dict__.update({name: first(name) for name in ("edt", "nearest_background", "hausdorff_error")})
    monkeypatch.setitem(sys.modules, "fake_failing", module)
    row = Backend("failing", "fake_failing", (), ("cpu",))
    monkeypatch.setattr(_select, "TABLE", (row, *_select.TABLE))
    return pending.append


def calls(mask: Tensor) -> dict[str, Callable[[], Tensor]]:
    input = mask.float()[None, None].requires_grad_()
    target = mask.roll(1, 0).float()[None, None]
    loss = surfloss.HausdorffDTLoss(include_background=True, backend="failing")
    return {
        "edt": lambda: surfloss.distance_transform_edt(mask, backend="failing"),
        "indices": lambda: surfloss.distance_transform_edt(mask, return_indices=True, backend="failing")[1],
        "boundary": lambda: surfloss.signed_distance(mask, convention="boundary", backend="failing"),
        "loss": lambda: loss(input, target),
    }


@pytest.mark.parametrize("call", ["edt", "indices", "boundary", "loss"])
@pytest.mark.filterwarnings("ignore:single-channel")
@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB"), RuntimeError("CUDA error: 700")],
    ids=["memory", "launch"],
)
def test_errors_of_the_device_are_passed_on_and_leave_nothing_behind(
    error: Exception, call: str, failing: Callable[[Exception], None]
) -> None:
    mask = torch.rand(5, 6, 7) > 0.3
    right = calls(mask)[call]()
    failing(error)
    with pytest.raises(type(error)) as raised:
        calls(mask)[call]()
    assert raised.value is error
    assert torch.equal(calls(mask)[call](), right)


HERE, THERE = torch.full((1, 2, 4, 5, 6), 0.25), torch.zeros(1, 2, 4, 5, 6, device="meta")
ON_TWO_DEVICES = {
    "target": lambda: surfloss.HausdorffDTLoss()(HERE, THERE),
    "target_distance": lambda: surfloss.HausdorffDTLoss()(HERE, HERE > 1, target_distance=THERE[:, 1:]),
    "ignore": lambda: surfloss.functional.contour_map(HERE, ignore=THERE.bool()),
}


@pytest.mark.parametrize("name", ON_TWO_DEVICES)
def test_tensors_on_two_devices(name: str) -> None:
    """The second device is PyTorch's "meta", available on every machine."""
    with pytest.raises(ValueError, match=rf"^{name}: got a tensor on meta, wanted one on the device of"):
        ON_TWO_DEVICES[name]()
