"""Contestants of `make gpu` in addition to those of `surfloss bench`.

They are this library's calls recorded in CUDA graphs, and the Hausdorff loss on distances of CuPy and cuCIM.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from surfloss.bench import contestants
from surfloss.bench.adapters import Adapter, Call, banding, both_passes
from surfloss.bench.contestants import CUCIM, CUPYX, Contestant
from surfloss.bench.workloads import VOXELS, Workload


def choose(device: str, backends: Sequence[str] | None) -> list[Contestant]:
    """Return this library's backends, the default one first, and the GPU libraries.

    On the CPU, in a trial, graphs are omitted.
    """
    first = contestants.fastest_backend(device)
    if device == "cuda":
        named = sorted(backends or [first], key=lambda name: name != first)
        own = [made for name in named for made in (contestants.ours(name, device), replayed(name))]
    else:
        own = [contestants.ours(first)]
    return own + [
        replace(_with_loss(peer), device=device) for peer in contestants.PEERS if peer.device == "cuda"
    ]


def replayed(backend: str) -> Contestant:
    """This library with its launches recorded in a CUDA graph, which removes the launch time."""
    direct = contestants.ours(backend, "cuda")
    tasks = {task: partial(_graph, adapter=direct.tasks[task]) for task in ("edt", "loss")}
    computes = "the same, recorded once in a CUDA graph and replayed"
    return replace(direct, name=f"{direct.name} graph", tasks=tasks, computes=computes)


def _graph(workload: Workload, threads: int, device: str, *, adapter: Callable[..., Call]) -> Call:
    call = adapter(workload, threads, device)
    # Compile the kernels before recording, on a separate stream as PyTorch requires.
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()

    def replay() -> object:
        graph.replay()
        return result

    return replay


def _with_loss(peer: Contestant) -> Contestant:
    if peer.package not in (CUPYX, CUCIM):
        return peer
    loss: Adapter = partial(cupy_loss, module=peer.package)
    tasks = {**peer.tasks, "loss": loss}
    return replace(
        peer, tasks=tasks, computes=f"{peer.computes}; loss: eq. 8 in PyTorch with these distances"
    )


def cupy_loss(workload: Workload, threads: int, device: str, *, module: str) -> Call:
    """The loss of Karimi & Salcudean 2020, eq. 8, as in MONAI, with distances of `module`."""
    import cupy

    def distances(mask: Tensor) -> Tensor:
        inside = cupy.from_dlpack(mask.flatten(0, 1).view(torch.uint8))
        field: Tensor = from_dlpack(banding(module, inside, inside == 0, VOXELS))
        return field.view(mask.shape)

    def hausdorff(logits: Tensor, target: Tensor) -> Tensor:
        prediction = logits.sigmoid()
        with torch.no_grad():
            weight = distances(prediction > 0.5) ** 2 + distances(target > 0.5) ** 2
        return ((prediction - target) ** 2 * weight).mean()

    return both_passes(hausdorff, workload, device)
