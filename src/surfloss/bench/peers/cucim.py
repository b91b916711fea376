"""cuCIM: the parallel banding algorithm, from which CuPy has its own."""

from cucim.core.operations.morphology import distance_transform_edt

from surfloss.bench.cases import Case
from surfloss.bench.peers import Call, _cupy


def edt(case: Case, threads: int, device: str) -> Call:
    return _cupy.edt(case, distance_transform_edt)


def loss(case: Case, threads: int, device: str) -> Call:
    return _cupy.loss(case, distance_transform_edt, device)
