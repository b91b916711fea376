"""Makes Triton's interpreter fast enough for tests, and selects the shared tests that it runs.

The interpreter takes about 20 microseconds per tile operation, so a kernel takes a second for 1,000 voxels.
"""

import dataclasses

import numpy as np
import pytest

from tests.support.cases import MaskSample

# A subset of `cases.MASK_SAMPLES` with every kind of mask, and with full, partial, several and no tiles.
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
    """Whether a test is too slow for the interpreter: marked `large`, or with a mask that is not in NAMES."""
    sample = getattr(request.node, "callspec", None) and request.node.callspec.params.get("sample")
    is_slow = isinstance(sample, MaskSample) and sample.name not in NAMES
    return bool(request.node.get_closest_marker("large")) or is_slow


def hasten() -> None:
    """Scan with NumPy, prepare the language once per launch, skip overflow checks. Results stay the same."""
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
