"""The functions that a backend implements, and their specification.

Tensors are contiguous and on the device that the backend was selected for. The first axis is the batch; all
others are spatial.
"""

import math
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from surfloss._check import Steps

# The values of the options `form` and `empty`, and their numbers in the compiled kernels.
FORMS = {"one_sided": 0, "two_sided": 1, "signed": 2}
EMPTY = {"zero": 0, "diagonal": 1, "scipy": 2}


class HausdorffArguments(NamedTuple):
    """The arguments of the Hausdorff error; p is the prediction, g the target."""

    input: Tensor  # float32 or float64 (items, *spatial): p, or with `sigmoid` its logits
    target: Tensor  # bool, or the input's dtype (items, *spatial): g
    input_squared: Tensor | None  # float32 (items, *spatial), mm^2: known distances of p > 0.5; inf for none
    target_squared: Tensor | None  # float32 (items, *spatial), mm^2: known distances of g > 0.5; inf for none
    ignore: Tensor | None  # bool (items, *spatial): voxels of weight 0 with finite values and no label
    sigmoid: bool  # p = sigmoid(input), and p > 0.5 is computed as input > 0
    alpha: float  # exponent of the distances; 0^0 is 1
    steps: Steps
    empty: str  # the distance in an item with one label: "zero", "diagonal" (its own, mm), "scipy" (SciPy's)
    max_distance: float = math.inf  # mm: cap of the distances, including those of `empty`
    with_plain: bool = False  # also compute the errors with weight 1, or 0 where ignored
    allowed: tuple[float, float] | None = None  # range of the input; see `ValueCheckingImplementation`


class Implementation(Protocol):
    """The functions that every backend has."""

    def edt(self, mask: Tensor, steps: Steps, form: str, squared: bool) -> Tensor:
        """Distance to the nearest voxel of another label.

        Args:
            mask: bool, uint8 or floating `(items, *spatial)`; nonzero is foreground.
            form: "one_sided": from the foreground to the nearest zero voxel, 0 elsewhere. "two_sided": from
                every voxel to the opposite label. "signed": two-sided, negative in the foreground.
            squared: return squared distances; "signed" keeps the sign.

        Returns:
            float32 `(items, *spatial)`, in mm or mm^2; inf if there is no such voxel.
        """
        ...

    def nearest_background(self, mask: Tensor, steps: Steps) -> Tensor:
        """Index of the nearest zero voxel along each axis, int32 `(items, dims, *spatial)`; -1 for none."""
        ...

    def hausdorff_error(self, arguments: HausdorffArguments) -> tuple[Tensor, Tensor]:
        """Mean of `weight * (p - g)^2` over an item's voxels, `weight = d_p^alpha + d_g^alpha`.

        Returns:
            The errors, `(1, items)`: weighted; or `(2, items)` if `with_plain`: weighted, then plain. And the
            gradient of the weighted errors with respect to the input, `(items, *spatial)`. Both have the
            input's dtype.
        """
        ...


@runtime_checkable
class ValueCheckingImplementation(Protocol):
    """A backend whose `hausdorff_error` checks values on its way.

    Given `allowed`, it raises `WrongValues` if the input has values outside this range, or a floating target
    has values other than 0 and 1. NaN is wrong in both.
    """

    checks_values: Literal[True]


@runtime_checkable
class BackgroundImplementation(Protocol):
    """A backend that also measures in float64. For others, the distance is computed from the indices."""

    def background_distance(self, mask: Tensor, steps: Steps, indices: bool) -> tuple[Tensor, Tensor | None]:
        """Distance to the nearest zero voxel, within 2 units in the last place of float64.

        Returns:
            float64 `(items, *spatial)`, in mm, inf for none; with `indices` also the result of
            `nearest_background`.
        """
        ...


class LabelImplementation(Protocol):
    """A backend that also measures between many labels."""

    def label_edt(self, labels: Tensor, steps: Steps, form: str, squared: bool, border: str) -> Tensor:
        """Distance to the nearest voxel of another label.

        Args:
            labels: bool or integer `(items, *spatial)`.
            form: "one_sided": label 0 has distance 0. "two_sided": label 0 is a label like the others.
                "signed": two-sided, negative in all labels but 0.
            squared: return squared distances; "signed" keeps the sign.
            border: "open", or "closed": the outside of an item is another label.

        Returns:
            float32 `(items, *spatial)`, in mm or mm^2; inf if there is no such voxel.
        """
        ...


class PoolingImplementation(Protocol):
    """A backend that also pools. See ops/contour.py and ops/surface.py for the meaning of the functions."""

    def contour_map(self, x: Tensor, ignore: Tensor | None, depth: int) -> tuple[Tensor, Tensor, Tensor]: ...

    def contour_map_gradient(self, grad: Tensor, highest: Tensor, lowest: Tensor, depth: int) -> Tensor: ...

    def surface_map(self, x: Tensor, ignore: Tensor | None) -> tuple[Tensor, Tensor]: ...

    def surface_map_gradient(self, grad: Tensor, lowest: Tensor) -> Tensor: ...


def ceil_div(whole: int, part: int) -> int:
    """The quotient, rounded up."""
    return -(-whole // part)
