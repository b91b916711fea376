"""`SurfaceMetrics` with torchmetrics and without, if torchmetrics is installed."""

import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

INSTALLED = importlib.util.find_spec("torchmetrics") is not None
OURS = ("surfloss.metrics._metric", "surfloss.metrics.running")
PARTS = ("torchmetrics", "lightning_utilities")  # a failed import leaves modules and caches of these behind


@contextmanager
def surface_metrics(torchmetrics: bool) -> Iterator[Any]:
    """The class imported again, based on `torchmetrics.Metric`, or as if torchmetrics were missing."""
    version = importlib.metadata.version

    def without_torchvision(name: str) -> str:
        if name == "torchvision":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    with pytest.MonkeyPatch.context() as patch:
        if torchmetrics:
            # PyPI's torchvision does not import with a CPU build of PyTorch. torchmetrics does not need it.
            patch.setattr(importlib.metadata, "version", without_torchvision)
            patch.setitem(sys.modules, "torchvision", None)
        else:
            patch.setitem(sys.modules, "torchmetrics", None)
        for name in list(sys.modules):
            if name in OURS or (name.split(".")[0] in PARTS and sys.modules[name] is not None):
                patch.delitem(sys.modules, name)
        yield importlib.import_module("surfloss.metrics.running").SurfaceMetrics
