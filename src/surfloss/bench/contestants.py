"""Who takes part: this library's backends and other libraries.

To add a library, write its adapter (`adapters.py`) and give it a row in `PEERS`.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from surfloss._check import fail
from surfloss.bench import adapters
from surfloss.bench.adapters import Adapter, Call
from surfloss.bench.workloads import Workload
from surfloss.losses.contour import ContourLoss
from surfloss.losses.hausdorff import HausdorffDTLoss
from surfloss.ops._select import TABLE, backend_status


@dataclass(frozen=True)
class Contestant:
    """One column of the comparison.

    Attributes:
        package: what must be importable for it.
        tasks: how it does what it can, by the name of the task.
        computes: what exactly is timed, for the reader of a table.
        device: where it runs, "cpu" or "cuda".
        backend: which of this library's backends; None for other libraries.
    """

    name: str
    package: str
    tasks: Mapping[str, Adapter]
    computes: str
    device: str = "cpu"
    backend: str | None = None

    def absent(self) -> str | None:
        """Why it cannot take part here, or None where it can."""
        if self.backend is not None:
            return next(row for row in TABLE if row.name == self.backend).unavailable(self.device)
        try:
            importlib.import_module(self.package)
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == self.package.split(".")[0]
            return "not installed" if missing else f"does not import: {error}"
        return None

    def prepare(self, workload: Workload, threads: int) -> Call:
        """The call to be timed; what only brings the input into form is done before."""
        return self.tasks[workload.task](workload, threads, self.device)


CUPYX, CUCIM = "cupyx.scipy.ndimage", "cucim.core.operations.morphology"
_EDT, _LOSS = {"edt": adapters.scipy_edt}, {"loss": adapters.monai_loss}
_LABELS = "one multi-label transform of the labels 1 and 2, all threads"
_MAPS = "SignedMaurerDistanceMap of m and of ~m"
_SIDES = "distance_transform_edt, a call a mask and side"
_MONAI = "HausdorffDTLoss, forward and backward"
PEERS = (
    Contestant("edt", "edt", {"edt": adapters.edt_edt}, _LABELS),
    Contestant("simpleitk", "SimpleITK", {"edt": adapters.simpleitk_edt}, _MAPS),
    Contestant("scipy", "scipy.ndimage", _EDT, "distance_transform_edt(m) + (~m), one thread"),
    Contestant("monai", "monai.losses", _LOSS, f"{_MONAI}; distances by SciPy"),
    Contestant("cupyx", CUPYX, {"edt": partial(adapters.cupy_edt, module=CUPYX)}, _SIDES, "cuda"),
    Contestant("cucim", CUCIM, {"edt": partial(adapters.cupy_edt, module=CUCIM)}, _SIDES, "cuda"),
    Contestant("monai", "monai.losses", _LOSS, f"{_MONAI}; by cuCIM or else SciPy", "cuda"),
    Contestant("scipy", "scipy.ndimage", _EDT, "through the CPU and back", "cuda"),
)


def ours(backend: str, device: str = "cpu") -> Contestant:
    """This library, answered by one backend."""
    tasks = {
        "edt": partial(adapters.own_edt, backend=backend),
        "loss": partial(adapters.own_loss, loss=HausdorffDTLoss, backend=backend),
        "contour": partial(adapters.own_loss, loss=ContourLoss, backend=backend),
    }
    computes = "two_sided_edt; HausdorffDTLoss or ContourLoss, forward and backward"
    return Contestant(f"surfloss/{backend}", "surfloss", tasks, computes, device, backend)


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
        backends: names of backends; None for the one that answers when none is named.
        device: "cpu" or "cuda".

    Raises:
        ValueError: on an unknown name, or a backend that cannot run here.
        RuntimeError: if no backend runs on the device.
    """
    known = {peer.name: peer for peer in PEERS if peer.device == device}
    for name in peers or ():
        if name not in known:
            fail("peers", repr(name), f"some of {', '.join(known)}, or none")
    for name in backends or ():
        if name not in backend_status():
            fail("backends", repr(name), f"some of {', '.join(backend_status())}")
        if reason := ours(name, device).absent():
            fail("backends", repr(name), f"backends that run here: {reason}")
    own = [ours(name, device) for name in backends or [fastest_backend(device)]]
    return own + [peer for name, peer in known.items() if peers is None or name in peers]
