"""Fakes CuPy and cuCIM with NumPy and SciPy."""

import sys
import types

import numpy as np
import pytest
from scipy import ndimage


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the fake modules. Their transform has the keyword that only CuPy and cuCIM have."""

    def transform(image: np.ndarray, sampling: tuple[float, ...], *, float64_distances: bool) -> np.ndarray:
        assert not float64_distances
        return ndimage.distance_transform_edt(image, sampling=sampling).astype(np.float32)

    def module(name: str, **names: object) -> None:
        made = types.ModuleType(name)
        made.__dict__.update(names)
        monkeypatch.setitem(sys.modules, name, made)

    names = ("asarray", "logical_not", "from_dlpack", "empty", "float32", "add")
    module("cupy", **{name: getattr(np, name) for name in names})
    for package in ("cupyx.scipy.ndimage", "cucim.core.operations.morphology"):
        parts = package.split(".")
        for depth in range(1, len(parts)):
            module(".".join(parts[:depth]), __path__=[])
        module(package, distance_transform_edt=transform)
