"""Who takes part: this library's backends and other libraries.

To add a library, write its adapter (`adapters.py`) and give it a row in `PEERS`.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from surfloss._check import fail
from surfloss.bench import adapters
from surfloss.bench.adapters import Adapter, Call
from surfloss.bench.workloads import Workload
from surfloss.ops._select import TABLE, backend_status


@dataclass(frozen=True)
class Contestant:
    """One column of the comparison.

    Attributes:
        package: what must be importable for it.
        tasks: how it does what it can, "edt", "loss" or "contour".
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
            return unavailable(self.backend, self.device)
        try:
            importlib.import_module(self.package)
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == self.package.split(".")[0]
            return "not installed" if missing else f"does not import: {error}"
        return None

    def prepare(self, workload: Workload, threads: int) -> Call:
        """The call to be timed; what only brings the input into form is done before."""
        return self.tasks[workload.task](workload, threads, self.device)


def _gpu(name: str, package: str, tasks: Mapping[str, Adapter], computes: str) -> Contestant:
    return Contestant(name, package, tasks, computes, device="cuda")


def _banding(name: str, module: str) -> Contestant:
    """CuPy, or cuCIM, from which CuPy has its own; both have SciPy's function."""
    by_task = {"edt": adapters.cupy_edt, "loss": adapters.cupy_loss}
    tasks = {task: partial(adapter, module=module) for task, adapter in by_task.items()}
    return _gpu(name, module, tasks, "a call a mask and side; loss: eq. 8 in PyTorch with these distances")


_EDT, _LOSS = {"edt": adapters.scipy_edt}, {"loss": adapters.monai_loss}
_MONAI = "HausdorffDTLoss, forward and backward"
_LABELS = "one multi-label transform of the labels 1 and 2, all threads"
_MAPS = "SignedMaurerDistanceMap of m and of ~m"
PEERS = (
    Contestant("edt", "edt", {"edt": adapters.edt_edt}, _LABELS),
    Contestant("simpleitk", "SimpleITK", {"edt": adapters.simpleitk_edt}, _MAPS),
    Contestant("scipy", "scipy.ndimage", _EDT, "distance_transform_edt(m) + (~m), one thread"),
    Contestant("monai", "monai.losses", _LOSS, f"{_MONAI}; distances by SciPy"),
)
GPU_PEERS = (
    _banding("cupyx", "cupyx.scipy.ndimage"),
    _banding("cucim", "cucim.core.operations.morphology"),
    _gpu("monai", "monai.losses", _LOSS, f"{_MONAI}; by cuCIM or else SciPy"),
    _gpu("scipy", "scipy.ndimage", _EDT, "through the CPU and back"),
)


def ours(backend: str, device: str = "cpu") -> Contestant:
    """This library, answered by one backend."""
    own = {"edt": adapters.own_edt, "loss": adapters.own_loss, "contour": adapters.own_contour}
    tasks = {task: partial(adapter, backend=backend) for task, adapter in own.items()}
    computes = "two_sided_edt; HausdorffDTLoss, forward and backward"
    return Contestant(f"surfloss/{backend}", "surfloss", tasks, computes, device, backend)


def replayed(backend: str, device: str) -> Contestant:
    """This library, its launches recorded in a CUDA graph: what is left without the time of launching."""
    direct = ours(backend, device)
    tasks = {task: partial(adapters.replayed, adapter=direct.tasks[task]) for task in ("edt", "loss")}
    computes = "the same, recorded once in a CUDA graph and replayed"
    return replace(direct, name=f"{direct.name} graph", tasks=tasks, computes=computes)


def unavailable(backend: str, device: str) -> str | None:
    """Why a backend cannot run here on tensors of that device type, or None where it can."""
    return next(row for row in TABLE if row.name == backend).unavailable(device)


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
        peers: names from `PEERS`, for a GPU from `GPU_PEERS`; None for all.
        backends: names of backends; None for the one that answers when none is named.
        device: "cpu" or "cuda".

    Raises:
        ValueError: on an unknown name, or a backend that cannot run here.
        RuntimeError: if no backend runs on the device.
    """
    known = {peer.name: peer for peer in (PEERS if device == "cpu" else GPU_PEERS)}
    for name in peers or ():
        if name not in known:
            fail("peers", repr(name), f"some of {', '.join(known)}, or none")
    for name in backends or ():
        if name not in backend_status():
            fail("backends", repr(name), f"some of {', '.join(backend_status())}")
        if reason := unavailable(name, device):
            fail("backends", repr(name), f"backends that run here: {reason}")
    kinds = (ours,) if device == "cpu" else (ours, replayed)
    own = [kind(name, device) for name in backends or [fastest_backend(device)] for kind in kinds]
    return own + [peer for name, peer in known.items() if peers is None or name in peers]
