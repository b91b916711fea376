"""SciPy: a transform for each side; it has no threads."""

import numpy as np
from scipy import ndimage

from surfloss.bench.cases import Case
from surfloss.bench.peers import Call


def edt(case: Case, threads: int) -> Call:
    def call() -> object:
        distance = ndimage.distance_transform_edt(case.voxels, sampling=case.spacing)
        distance += ndimage.distance_transform_edt(np.logical_not(case.voxels), sampling=case.spacing)
        return distance

    return call
