"""Which backend is selected, and the reasons given for the others."""

import sys
import types
from contextlib import nullcontext
from typing import Any

import pytest
import torch

import surfloss
from surfloss.backends import reference
from surfloss.ops import _select
from surfloss.ops._select import TABLE, Backend, select

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Broken(Backend):
    """A backend that is not available on this machine."""

    def unavailable(self, device: str | None = None) -> str | None:
        return "its library is not built"


@pytest.fixture(autouse=True)
def _no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SURFLOSS_BACKEND", raising=False)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, types.ModuleType]:
    """A table of three backends, best first: one for GPUs, one broken, one for the CPU."""
    modules = {name: types.ModuleType(f"fake_{name}") for name in ("gpu", "broken", "fast")}
    for module in modules.values():
        monkeypatch.setitem(sys.modules, module.__name__, module)
    table = (
        Backend("gpu", "fake_gpu", automatic_on=("cuda",), named_on=("cuda",)),
        Broken("broken", "fake_broken", automatic_on=("cpu", "cuda"), named_on=None),
        Backend("fast", "fake_fast", automatic_on=("cpu",), named_on=("cpu",)),
        *_select.TABLE,
    )
    monkeypatch.setattr(_select, "TABLE", table)
    return modules


def test_first_that_runs_on_the_device_is_chosen(modules: dict[str, types.ModuleType]) -> None:
    assert select(None, CPU) is modules["fast"]
    assert select(None, CUDA) is modules["gpu"]


def test_argument_comes_before_context_before_environment(
    modules: dict[str, types.ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURFLOSS_BACKEND", "reference")
    assert select(None, CPU) is reference
    with surfloss.use_backend("fast"):
        assert select(None, CPU) is modules["fast"]
        assert select("reference", CPU) is reference
        with surfloss.use_backend("reference"):
            assert select(None, CPU) is reference
        assert select(None, CPU) is modules["fast"]
    assert select(None, CPU) is reference
    monkeypatch.setenv("SURFLOSS_BACKEND", "")
    assert select(None, CPU) is modules["fast"]


def test_context_ends_with_an_exception() -> None:
    with pytest.raises(KeyError), surfloss.use_backend("reference"):
        raise KeyError
    assert _select._override.get() is None


@pytest.mark.parametrize("source", ["backend", "use_backend", "SURFLOSS_BACKEND"])
def test_unknown_name_lists_the_known_ones(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if source == "SURFLOSS_BACKEND":
        monkeypatch.setenv(source, "cuad")
    context = surfloss.use_backend("cuad") if source == "use_backend" else nullcontext()
    with pytest.raises(ValueError, match=rf"^{source}: got 'cuad', wanted one of .*reference"), context:
        select("cuad" if source == "backend" else None, CPU)


@pytest.mark.usefixtures("modules")
def test_a_named_backend_runs_or_raises() -> None:
    with pytest.raises(RuntimeError, match=r"'gpu' for a tensor on cpu.*it runs on cuda tensors"):
        select("gpu", CPU)
    with pytest.raises(RuntimeError, match="its library is not built"), surfloss.use_backend("broken"):
        select(None, CPU)


def test_a_gpu_tensor_never_goes_to_the_cpu_unasked() -> None:
    with pytest.raises(RuntimeError, match=r"a tensor on meta.*reference is not chosen for meta tensors"):
        select(None, torch.device("meta"))
    assert select("reference", CUDA) is reference


@pytest.mark.usefixtures("modules")
def test_available_backends_are_those_that_run() -> None:
    status = surfloss.backend_status()
    assert list(status) == ["gpu", "broken", "fast", *(row.name for row in TABLE)]
    assert status["broken"] == "its library is not built"
    available = surfloss.available_backends()
    assert "broken" not in available
    assert "reference" in available
    assert available == tuple(name for name, reason in status.items() if reason is None)


def test_the_choice_reaches_the_operators() -> None:
    mask = torch.ones(2, 2, 2)
    with pytest.raises(ValueError, match="backend: got 'cuad'"):
        surfloss.two_sided_edt(mask, backend="cuad")
    transforms: tuple[Any, ...] = (
        surfloss.distance_transform_edt,
        surfloss.two_sided_edt,
        surfloss.signed_distance,
    )
    for transform in transforms:
        with pytest.raises(ValueError, match=r"^backend: got 1, wanted None or the name of a backend"):
            transform(mask, backend=1)
    with surfloss.use_backend("reference"):
        assert surfloss.two_sided_edt(mask).isinf().all()
