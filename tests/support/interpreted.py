"""Triton's interpreter, fast enough to test with, and what it is given of the tests of every backend.

It takes some 20 microseconds an operation of a tile, so that a kernel takes a second for 1,000 voxels.
"""

import dataclasses

import numpy as np
import pytest

from tests.support.cases import MaskSample

# Of `cases.MASK_SAMPLES`: every kind of mask, and tiles that are full, cut off, several, or none.
NAMES = {
    "full, empty and mixed items",
    "one background voxel",
    "two voxels in opposite corners",
    "a single voxel",
    "batch 0",
    "axis of size 0",
    "half noise",
    "noise (7, 1, 9)",
    "noise (2, 3, 97)",
    "1-D",
    "2-D",
    "blob at (5.0, 0.42, 0.42)",
    "full, empty and mixed items at (1e-07, 1.0, 100000000.0)",
}


def too_slow(request: pytest.FixtureRequest) -> bool:
    """Whether a test is not for the interpreter: marked `large`, or of a mask that is not above."""
    sample = getattr(request.node, "callspec", None) and request.node.callspec.params.get("sample")
    is_slow = isinstance(sample, MaskSample) and sample.name not in NAMES
    return bool(request.node.get_closest_marker("large")) or is_slow


def hasten() -> None:
    """Scan with NumPy, prepare the language once a launch, do not look for overflow: no answer changes."""
    from triton.runtime import interpreter

    element_by_element, call = interpreter.ScanOps.generic_scan, interpreter.InterpretedFunction.__call__

    def scan(self, values: tuple) -> list:
        operation = {"greater": np.maximum, "lesser": np.minimum}.get(self.combine_fn.__name__)
        if operation is None:
            return element_by_element(self, values)
        return [self.to_tensor(operation.accumulate(v.handle.data, axis=self.axis), v.dtype) for v in values]

    def device_call(self, *args: object, **kwargs: object) -> object:
        ours = self.fn.__module__.startswith("surfloss.")
        return self.rewrite()(*args, **kwargs) if ours else call(self, *args, **kwargs)

    interpreter.ScanOps.generic_scan = scan
    interpreter.InterpretedFunction.__call__ = device_call
    options = dataclasses.replace(interpreter.interpreter_builder.options, sanitize_overflow=False)
    interpreter.interpreter_builder.options = options
