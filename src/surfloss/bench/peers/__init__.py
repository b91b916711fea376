"""Who takes part: this library's backends, and one adapter for each other library.

An adapter is a module with a function for each task it can do, `edt(case, threads)` or `loss(case, threads)`.
It brings the case into its library's own form and returns the call to be timed, without arguments:

- `edt`: the two-sided distance, float32 or float64, anything NumPy can read, `(z, y, x)`;
- `loss`: one forward and backward pass; the loss, and its gradient on the logits.

To add one, write the module and give it a row in `PEERS`; the rest follows from that row.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from surfloss._check import fail
from surfloss.bench.cases import Case
from surfloss.ops._select import TABLE, available_backends

Call: TypeAlias = Callable[[], Any]


@dataclass(frozen=True)
class Contestant:
    """One column of the comparison.

    Attributes:
        adapter: its module in this package.
        package: what must be importable for it.
        tasks: what it can do, "edt", "loss".
        computes: what exactly is timed, for the reader of a table.
        backend: which of this library's backends; None for other libraries.
    """

    name: str
    adapter: str
    package: str
    tasks: tuple[str, ...]
    computes: str
    backend: str | None = None

    def absent(self) -> str | None:
        """Why it cannot take part here, or None where it can."""
        if self.backend is not None:
            return available_backends()[self.backend]
        try:
            importlib.import_module(self.package)
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == self.package.split(".")[0]
            return "not installed" if missing else f"does not import: {error}"
        return None

    def prepare(self, task: str, case: Case, threads: int) -> Call:
        """The call to be timed for this case; what only brings the input into form is done before."""
        adapter = importlib.import_module(f"{__name__}.{self.adapter}")
        options = {} if self.backend is None else {"backend": self.backend}
        call: Call = getattr(adapter, task)(case, threads, **options)
        return call


PEERS = (
    Contestant("edt", "edt", "edt", ("edt",), "one multi-label transform of the labels 1 and 2, all threads"),
    Contestant("simpleitk", "simpleitk", "SimpleITK", ("edt",), "SignedMaurerDistanceMap of m and of ~m"),
    Contestant("scipy", "scipy", "scipy.ndimage", ("edt",), "distance_transform_edt(m) + (~m), one thread"),
    Contestant("monai", "monai", "monai.losses", ("loss",), "HausdorffDTLoss, forward and backward"),
)


def ours(backend: str) -> Contestant:
    """This library, answered by one backend."""
    return Contestant(
        f"surfloss/{backend}",
        "own",
        "surfloss",
        ("edt", "loss"),
        "two_sided_edt; HausdorffDTLoss, forward and backward",
        backend,
    )


def fastest_backend(device: str = "cpu") -> str:
    """The one that answers on the device when none is named."""
    for backend in TABLE:
        if device in backend.automatic_on and backend.unavailable(device) is None:
            return backend.name
    fail("backend", f"none for {device} tensors", "a backend that runs there", RuntimeError)


def choose(peers: Sequence[str] | None = None, backends: Sequence[str] | None = None) -> list[Contestant]:
    """This library first, then the others; whether they are installed or not.

    Args:
        peers: names from `PEERS`; None for all.
        backends: names of backends; None for the one that answers when none is named.

    Raises:
        ValueError: on an unknown name, or a backend that cannot run here.
    """
    known = {peer.name: peer for peer in PEERS}
    for name in peers or ():
        if name not in known:
            fail("peers", repr(name), f"some of {', '.join(known)}, or none")
    for name in backends or ():
        if name not in available_backends():
            fail("backends", repr(name), f"some of {', '.join(available_backends())}")
        if reason := available_backends()[name]:
            fail("backends", repr(name), f"backends that run here: {reason}")
    chosen = [peer for name, peer in known.items() if peers is None or name in peers]
    return [ours(name) for name in backends or [fastest_backend()]] + chosen
