"""This library, each call recorded once in a CUDA graph and replayed: the work without its launches."""

import torch

from surfloss.bench.cases import Case
from surfloss.bench.peers import Call, own


def edt(case: Case, threads: int, backend: str, device: str) -> Call:
    return _recorded(own.edt(case, threads, backend, device))


def loss(case: Case, threads: int, backend: str, device: str) -> Call:
    return _recorded(own.loss(case, threads, backend, device))


def _recorded(call: Call) -> Call:
    # On a stream of its own, as PyTorch asks, kernels are compiled before the recording begins.
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
