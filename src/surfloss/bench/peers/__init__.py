"""Who takes part: this library's backends, and one adapter for each other library.

An adapter is a module with a function for each task it can do, `edt(case, threads)` or `loss(case, threads)`;
those of GPUs take a `device` too. It brings the case into its library's own form and returns the call to be
timed, without arguments; on a GPU the call may return before its work is done:

- `edt`: the two-sided distance, float32 or float64, `(z, y, x)` or as `Case.batch` has it: anything that
  NumPy can read, or an array of a GPU library;
- `loss`: one forward and backward pass; the loss, and its gradient on the logits;
- `contour`: the same of the contour loss.

To add one, write the module and give it a row in `PEERS`; the rest follows from that row.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from surfloss._check import fail
from surfloss.bench.cases import Case
from surfloss.ops._select import TABLE, backend_status

Call: TypeAlias = Callable[[], Any]


@dataclass(frozen=True)
class Contestant:
    """One column of the comparison.

    Attributes:
        adapter: its module in this package.
        package: what must be importable for it.
        tasks: what it can do, "edt", "loss", "contour".
        computes: what exactly is timed, for the reader of a table.
        backend: which of this library's backends; None for other libraries.
        device: where it runs; None for the CPU.
    """

    name: str
    adapter: str
    package: str
    tasks: tuple[str, ...]
    computes: str
    backend: str | None = None
    device: str | None = None

    def absent(self) -> str | None:
        """Why it cannot take part here, or None where it can."""
        if self.backend is not None:
            return unavailable(self.backend, self.device or "cpu")
        try:
            importlib.import_module(self.package)
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == self.package.split(".")[0]
            return "not installed" if missing else f"does not import: {error}"
        return None

    def prepare(self, task: str, case: Case, threads: int) -> Call:
        """The call to be timed for this case; what only brings the input into form is done before."""
        adapter = importlib.import_module(f"{__name__}.{self.adapter}")
        named = (("backend", self.backend), ("device", self.device))
        options = {name: value for name, value in named if value is not None}
        call: Call = getattr(adapter, task)(case, threads, **options)
        return call


_LOSS = "HausdorffDTLoss, forward and backward"
PEERS = (
    Contestant("edt", "edt", "edt", ("edt",), "one multi-label transform of the labels 1 and 2, all threads"),
    Contestant("simpleitk", "simpleitk", "SimpleITK", ("edt",), "SignedMaurerDistanceMap of m and of ~m"),
    Contestant("scipy", "scipy", "scipy.ndimage", ("edt",), "distance_transform_edt(m) + (~m), one thread"),
    Contestant("monai", "monai", "monai.losses", ("loss",), f"{_LOSS}; distances by SciPy"),
)
_CUPY = "a call a mask and side; loss: eq. 8 in PyTorch with these distances"
GPU_PEERS = (
    Contestant("cupyx", "cupyx", "cupyx.scipy.ndimage", ("edt", "loss"), _CUPY, device="cuda"),
    Contestant("cucim", "cucim", "cucim.core.operations", ("edt", "loss"), _CUPY, device="cuda"),
    Contestant(
        "monai", "monai", "monai.losses", ("loss",), f"{_LOSS}; by cuCIM or else SciPy", device="cuda"
    ),
    Contestant("scipy", "round_trip", "scipy.ndimage", ("edt",), "through the CPU and back", device="cuda"),
)


def ours(backend: str, device: str | None = None) -> Contestant:
    """This library, answered by one backend."""
    tasks, computes = ("edt", "loss", "contour"), "two_sided_edt; HausdorffDTLoss, forward and backward"
    return Contestant(f"surfloss/{backend}", "own", "surfloss", tasks, computes, backend, device)


def replayed(backend: str, device: str) -> Contestant:
    """This library, its launches recorded in a CUDA graph: what is left without the time of launching."""
    tasks, computes = ("edt", "loss"), "the same, recorded once in a CUDA graph and replayed"
    return Contestant(f"surfloss/{backend} graph", "graph", "surfloss", tasks, computes, backend, device)


def unavailable(backend: str, device: str) -> str | None:
    """Why a backend cannot run here on tensors of that device type, or None where it can."""
    if reason := backend_status()[backend]:
        return reason
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
    chosen = [peer for name, peer in known.items() if peers is None or name in peers]
    backends = backends or [fastest_backend(device)]
    if device == "cpu":
        return [ours(name) for name in backends] + chosen
    own = [make(name, device) for name in backends for make in (ours, replayed)]
    return own + chosen
