"""Exact comparison; a failure lists the worst voxels."""

import numpy as np
import numpy.typing as npt
import torch

_SHOWN = 5


def assert_equal(got: object, wanted: object, what: str = "") -> None:
    """Both hold the same numbers. Infinities equal themselves, NaN equals nothing."""
    got, wanted = _pair(got, wanted)
    _report(got, wanted, np.where(got == wanted, 0, np.inf), 0, f"{what} equality")


def assert_within_ulp(got: object, wanted: object, ulp: float, what: str = "") -> None:
    """`got` is within `ulp` float32 units in the last place of `wanted`, which is not rounded itself."""
    got, wanted = _pair(got, wanted)
    unit = np.spacing(np.abs(wanted).astype(np.float32)).astype(np.float64)
    with np.errstate(invalid="ignore"):
        error = np.where(got == wanted, 0, np.abs(got - wanted) / unit)
    _report(got, wanted, error, ulp, f"{what} float32 ULP")


def assert_close(got: object, wanted: object, atol: float, what: str = "") -> None:
    """`got` differs from `wanted` by at most `atol`."""
    got, wanted = _pair(got, wanted)
    with np.errstate(invalid="ignore"):
        error = np.where(got == wanted, 0, np.abs(got - wanted))
    _report(got, wanted, error, atol, f"{what} absolute difference")


def _pair(got: object, wanted: object) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    arrays = []
    for value in (got, wanted):
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
        arrays.append(np.asarray(array, np.float64))
    got_array, wanted_array = arrays
    assert got_array.shape == wanted_array.shape, f"shape: got {got_array.shape}, wanted {wanted_array.shape}"
    return got_array, wanted_array


def _report(
    got: npt.NDArray[np.float64],
    wanted: npt.NDArray[np.float64],
    error: npt.NDArray[np.float64],
    limit: float,
    what: str,
) -> None:
    bad = ~(error <= limit)  # includes NaN
    if not bad.any():
        return
    order = np.argsort(np.where(bad, np.nan_to_num(error, nan=np.inf), -1), axis=None)[::-1][:_SHOWN]
    lines = [f"{what.strip()}: {bad.sum()} of {bad.size} voxels beyond {limit:g}; the worst:"]
    for place in order:
        index = tuple(int(i) for i in np.unravel_index(place, bad.shape))
        if bad[index]:
            lines.append(f"  {index}: got {got[index]!r}, wanted {wanted[index]!r} ({error[index]:g})")
    raise AssertionError("\n".join(lines))
