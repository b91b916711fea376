"""CuPy: the parallel banding algorithm, exact (PBA+; Cao, Tang, Mohamed & Tan 2010)."""

from cupyx.scipy.ndimage import distance_transform_edt

from surfloss.bench.cases import Case
from surfloss.bench.peers import Call, _cupy


def edt(case: Case, threads: int, device: str) -> Call:
    return _cupy.edt(case, distance_transform_edt)


def loss(case: Case, threads: int, device: str) -> Call:
    return _cupy.loss(case, distance_transform_edt, device)
