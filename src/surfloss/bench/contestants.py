"""Who takes part: this library's backends and other libraries.

To add a library, write its adapter (`adapters.py`) and give it a row in `PEERS`.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from surfloss import _env
from surfloss._check import fail
from surfloss.bench import adapters
from surfloss.bench.adapters import Adapter, Call
from surfloss.bench.workloads import Workload
from surfloss.losses.contour import ContourLoss
from surfloss.losses.hausdorff import HausdorffDTLoss
from surfloss.ops._select import TABLE, backend_status, instruction_sets


@dataclass(frozen=True)
class Contestant:
    """One column of the comparison.

    Attributes:
        package: what must be importable for it.
        tasks: how it does what it can, by the name of the task.
        computes: what exactly is timed, for the reader of a table.
        device: where it runs, "cpu" or "cuda".
        backend: which of this library's backends; None for other libraries.
        isa: the instruction set that the backend "cpu" is held to; None for its choice.
    """

    name: str
    package: str
    tasks: Mapping[str, Adapter]
    computes: str
    device: str = "cpu"
    backend: str | None = None
    isa: str | None = None

    def absent(self) -> str | None:
        """Why it cannot take part here, or None where it can."""
        if self.backend is not None:
            problem = next(row for row in TABLE if row.name == self.backend).unavailable(self.device)
            if problem or self.isa is None or self.isa in instruction_sets():
                return problem
            return f"this processor has {', '.join(instruction_sets())}"
        try:
            importlib.import_module(self.package)
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == self.package.split(".")[0]
            return "not installed" if missing else f"does not import: {error}"
        return None

    def prepare(self, workload: Workload, threads: int) -> Call:
        """The call to be timed; what only brings the input into form is done before."""
        call = self.tasks[workload.task](workload, threads, self.device)
        return call if self.isa is None else partial(_held_to, self.isa, call)


def _held_to(isa: str, call: Call) -> Any:
    with _env.instruction_set(isa):
        return call()


CUPYX, CUCIM = "cupyx.scipy.ndimage", "cucim.core.operations.morphology"
_EDT, _LOSS = {"edt": adapters.scipy_edt}, {"loss": adapters.monai_loss}
_SCIPY = _EDT | {"ndimage": adapters.scipy_ndimage, "indices": partial(adapters.scipy_ndimage, indices=True)}
_LABELS = "one multi-label transform, for edt of the labels 1 and 2, all threads"
_MAPS = "SignedMaurerDistanceMap of m and of ~m"
_SIDES = "distance_transform_edt, a call a mask and side"
_MONAI = "HausdorffDTLoss, forward and backward"
PEERS = (
    Contestant("edt", "edt", {"edt": adapters.edt_edt, "labels": adapters.edt_labels}, _LABELS),
    Contestant("simpleitk", "SimpleITK", {"edt": adapters.simpleitk_edt}, _MAPS),
    Contestant(
        "scipy", "scipy.ndimage", _SCIPY, "distance_transform_edt, for edt of m and of ~m, one thread"
    ),
    Contestant("monai", "monai.losses", _LOSS, f"{_MONAI}; distances by SciPy"),
    Contestant("cupyx", CUPYX, {"edt": partial(adapters.cupy_edt, module=CUPYX)}, _SIDES, "cuda"),
    Contestant("cucim", CUCIM, {"edt": partial(adapters.cupy_edt, module=CUCIM)}, _SIDES, "cuda"),
    Contestant("monai", "monai.losses", _LOSS, f"{_MONAI}; by cuCIM or else SciPy", "cuda"),
    Contestant("scipy", "scipy.ndimage", _EDT, "through the CPU and back", "cuda"),
)


def ours(backend: str, device: str = "cpu", isa: str | None = None) -> Contestant:
    """This library, answered by one backend, and there by one instruction set."""
    tasks: dict[str, Adapter] = {
        "edt": partial(adapters.own_edt, backend=backend),
        "loss": partial(adapters.own_loss, loss=HausdorffDTLoss, backend=backend),
        "contour": partial(adapters.own_loss, loss=ContourLoss, backend=backend),
    }
    if device == "cpu":
        tasks["ndimage"] = partial(adapters.own_ndimage, backend=backend)
        tasks["indices"] = partial(adapters.own_ndimage, backend=backend, indices=True)
        tasks["labels"] = partial(adapters.own_labels, backend=backend)
    computes = (
        "two_sided_edt or label_edt; HausdorffDTLoss or ContourLoss, forward and backward; "
        "surfloss.ndimage.distance_transform_edt"
    )
    name = f"surfloss/{backend}" + (f":{isa}" if isa else "")
    return Contestant(name, "surfloss", tasks, computes, device, backend, isa)


def _named(name: str, device: str) -> Contestant:
    """A backend of this library, as "cpu", or with an instruction set, as "cpu:avx2"."""
    backend, _, isa = name.partition(":")
    if backend not in backend_status():
        fail("backends", repr(name), f"some of {', '.join(backend_status())}")
    if isa and backend != "cpu":
        fail("backends", repr(name), "an instruction set of the backend cpu alone")
    contestant = ours(backend, device, isa or None)
    if reason := contestant.absent():
        fail("backends", repr(name), f"backends that run here: {reason}")
    return contestant


def fastest_backend(device: str = "cpu") -> str:
    """The one that answers on the device when none is named."""
    for backend in TABLE:
        if device in backend.automatic_on and backend.unavailable(device) is None:
            return backend.name
    fail("backend", f"none for {device} tensors", "a backend that runs there", RuntimeError)


def choose(
    peers: Sequence[str] | None = None, backends: Sequence[str] | None = None, device: str = "cpu"
) -> list[Contestant]:
    """This library first, then the others; whether they are installed or not.

    Args:
        peers: names from `PEERS`, of those that run on the device; None for all.
        backends: names of backends, as "cpu", or "cpu:avx2" for one of its instruction sets; None for the one
            that answers when none is named.
        device: "cpu" or "cuda".

    Raises:
        ValueError: on an unknown name, or a backend that cannot run here.
        RuntimeError: if no backend runs on the device.
    """
    known = {peer.name: peer for peer in PEERS if peer.device == device}
    for name in peers or ():
        if name not in known:
            fail("peers", repr(name), f"some of {', '.join(known)}, or none")
    own = [_named(name, device) for name in backends or [fastest_backend(device)]]
    return own + [peer for name, peer in known.items() if peers is None or name in peers]
