"""Checkpoints of trainings, read as data: nothing in such a file is executed."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surfloss._check import fail

# NumPy's scalars, which nnU-Net's log holds, under the names of NumPy 1 and 2.
_SCALAR = np.float64(0).__reduce__()[0]
_DTYPES = (np.bool_, np.int32, np.int64, np.float16, np.float32, np.float64)
_NUMPY: list[Any] = [
    np.dtype,
    *(type(np.dtype(scalar)) for scalar in _DTYPES),
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
]


def read_checkpoint(file: str | Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """A checkpoint of nnU-Net or of our trainers, which may come from a stranger.

    Args:
        file: as `torch.save` wrote it.
        device: where its tensors are put.

    Raises:
        ValueError: if the file is damaged, holds no dictionary, or anything but tensors, numbers, texts and
            containers of these, such as code to be run on loading.
    """
    try:
        with torch.serialization.safe_globals(_NUMPY):
            checkpoint = torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch's message goes on with advice to load the file without this check.
        found = next((line for line in str(error).splitlines() if "GLOBAL" in line), "objects of other types")
        fail("checkpoint", f"{file}: {found.strip()}", "tensors, numbers and texts only")
    except (EOFError, RuntimeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        fail("checkpoint", f"{file}, which cannot be read ({reason})", "a whole checkpoint")
    if not isinstance(checkpoint, dict):
        fail("checkpoint", f"{file}: {type(checkpoint).__name__}", "a dictionary")
    return checkpoint
