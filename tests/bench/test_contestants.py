"""Every contestant gives the reference's answer; the absent say why; a wrong answer is noticed."""

import dataclasses
import sys

import numpy as np
import pytest
import torch

from surfloss import _env, backend_status
from surfloss.bench import contestants, run
from surfloss.bench.adapters import Call, network_output, scipy_edt
from surfloss.bench.contestants import Contestant
from surfloss.bench.workloads import MASKS, VOXELS, Workload
from tests.support import oracles
from tests.support.compare import assert_close

# Nobody times Triton's interpreter.
ALL = [
    *(peer for peer in contestants.PEERS if peer.device == "cpu"),
    *(contestants.ours(name) for name in backend_status() if name != "triton"),
]


def able(task: str) -> pytest.MarkDecorator:
    chosen = [contestant for contestant in ALL if task in contestant.tasks]
    return pytest.mark.parametrize("contestant", chosen, ids=lambda contestant: contestant.name)


EDT, LOSS = Workload("edt", (2, 1, 1), "blobs"), Workload("loss", (2, 1, 1), "blobs")


def prepared(contestant: Contestant, workload: Workload) -> Call:
    if reason := contestant.absent():
        pytest.skip(f"{contestant.name}: {reason}")
    return contestant.prepare(workload, threads=1)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("spacing", [VOXELS, (5.0, 0.42, 0.42)])
@able("edt")
def test_two_sided_distance(contestant: Contestant, mask: str, spacing: tuple[float, ...]) -> None:
    workload = Workload("edt", (9, 20, 23), mask, spacing)
    got = prepared(contestant, workload)()
    wanted = oracles.scipy_two_sided(workload.voxels, spacing)
    assert run.difference(EDT, got, wanted) <= run.TOLERANCE
    assert np.asarray(got).shape == workload.size


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("task", ["ndimage", "indices"])
@able("ndimage")
def test_scipys_distance_and_indices(contestant: Contestant, task: str, mask: str) -> None:
    workload = Workload(task, (9, 20, 23), mask, (5.0, 0.42, 0.42))
    call = prepared(contestant, workload)
    wanted = contestants.ours("reference").prepare(workload, 1)()
    assert run.difference(workload, call(), wanted) <= 1e-15
    if task == "indices":
        wrong = np.zeros_like(wanted)
        assert run.difference(workload, wrong, wanted) > 0.1


def test_a_backend_held_to_an_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := contestants.ours("cpu").absent():
        pytest.skip(reason)
    (contestant, *_) = contestants.choose(peers=[], backends=["cpu:baseline"])
    assert contestant.name == "surfloss/cpu:baseline"
    asked = []
    monkeypatch.setattr(
        contestants.adapters, "two_sided_edt", lambda *_, **__: asked.append(_env.requested_isa())
    )
    monkeypatch.setenv("SURFLOSS_CPU_ISA", "avx2")
    contestant.prepare(EDT, 1)()
    assert asked == ["baseline"]
    assert _env.requested_isa() == "avx2"
    monkeypatch.setattr(contestants, "instruction_sets", lambda: ("baseline",))
    for name, message in (
        ("cpu:avx2", "this processor has baseline"),
        ("cpu:mmx", "this processor has baseline"),
    ):
        with pytest.raises(ValueError, match=f"backends: got '{name}', wanted .*{message}"):
            contestants.choose(backends=[name])


@pytest.mark.parametrize("mask", MASKS)
@able("loss")
def test_loss_and_gradient(contestant: Contestant, mask: str) -> None:
    workload = Workload("loss", (6, 12, 17), mask)
    call = prepared(contestant, workload)
    logits, target = network_output(workload)
    # Karimi & Salcudean 2020, eq. 8, written out with SciPy's distances; no mask here is empty or full.
    weight = np.zeros(logits.shape)
    for item in range(2):
        for field in ((logits[item, 0] > 0).numpy(), target[item, 0].bool().numpy()):
            weight[item, 0] += oracles.scipy_two_sided(field, (1, 1, 1)) ** 2
    off = torch.sigmoid(logits).double() - target
    for _ in range(2):  # a call leaves nothing behind for the next
        value, gradient = call()
        assert value.item() == pytest.approx(float((off**2 * torch.from_numpy(weight)).mean()), rel=1e-5)
        slope = torch.sigmoid(logits).double() * (1 - torch.sigmoid(logits).double())
        wanted = 2 * off * torch.from_numpy(weight) * slope / off.numel()
        assert_close(gradient, wanted, 1e-5 * float(wanted.abs().max()))


def test_a_missing_library_is_absent_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "edt", None)  # as if not installed
    peer = next(peer for peer in contestants.PEERS if peer.name == "edt")
    assert peer.absent().startswith("not installed")
    broken = Contestant("broken", "tests.bench.broken_package", {"edt": scipy_edt}, "")
    assert broken.absent() == "does not import: no library for this processor"


def test_who_takes_part() -> None:
    names = [contestant.name for contestant in contestants.choose()]
    assert names == [f"surfloss/{contestants.fastest_backend()}", "edt", "simpleitk", "scipy", "monai"]
    assert [c.name for c in contestants.choose([], ["reference"])] == ["surfloss/reference"]
    assert [c.name for c in contestants.choose(["scipy", "edt"], ["reference"])][1:] == ["edt", "scipy"]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"peers": ["cupy"]}, "peers: got 'cupy', wanted some of edt, simpleitk, scipy, monai, or none"),
        ({"backends": ["gpu"]}, "backends: got 'gpu', wanted some of .*reference"),
    ],
)
def test_unknown_names(chosen: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        contestants.choose(**chosen)


def test_a_backend_that_cannot_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    table = tuple(
        dataclasses.replace(row, problem=lambda: "no compiled library") for row in contestants.TABLE
    )
    monkeypatch.setattr(contestants, "TABLE", table)
    with pytest.raises(ValueError, match="backends: got 'cpu', wanted backends that run here: no compiled"):
        contestants.choose(backends=["cpu"])


def test_differences() -> None:
    inf = np.inf
    assert run.difference(EDT, [1.0, inf], np.array([1.0, inf])) == 0
    assert run.difference(EDT, [1.0, 2.2], np.array([1.0, 2.0])) == pytest.approx(0.1)
    for wrong in ([1.0, 2.0], [inf, inf], [np.nan, inf], [1.0, -inf], [1.0]):
        assert run.difference(EDT, wrong, np.array([1.0, inf])) == inf
    one, two = torch.tensor(1.0), torch.tensor([2.0, 0.0])

    def off(value: torch.Tensor, gradient: torch.Tensor) -> float:
        return run.difference(LOSS, (value, gradient), (one, two))

    assert off(one, two) == 0
    assert off(one * 1.5, two) == pytest.approx(0.5)
    assert off(one, torch.tensor([2.0, 0.5])) == pytest.approx(0.25)
    assert off(one, two * torch.nan) == inf
    assert run.difference(LOSS, (one, torch.zeros(2)), (one, torch.zeros(2))) == 0
