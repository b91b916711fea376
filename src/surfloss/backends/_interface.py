"""What the operators ask of a backend: these functions, with the meanings given here.

Tensors are contiguous and on the device that the backend was chosen for. The first axis counts the items; all
others are space.
"""

import math
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from surfloss._check import Steps

# The names of the options `form` and `empty`, and the numbers that the compiled kernels know them by.
FORMS = {"one_sided": 0, "two_sided": 1, "signed": 2}
EMPTY = {"zero": 0, "diagonal": 1, "scipy": 2}


class HausdorffArguments(NamedTuple):
    """What the Hausdorff error is computed from; p is the prediction, g the target."""

    input: Tensor  # float32 or float64 (items, *spatial): p, or with `sigmoid` its logits
    target: Tensor  # bool, or of the input's dtype (items, *spatial): g
    input_squared: Tensor | None  # float32 (items, *spatial), mm^2: distances to take for those of p > 0.5
    target_squared: Tensor | None  # float32 (items, *spatial), mm^2: the same of g > 0.5; inf for none
    ignore: Tensor | None  # bool (items, *spatial): finite voxels of weight 0, without a label
    sigmoid: bool  # p = sigmoid(input), and p > 0.5 is taken as input > 0
    alpha: float  # exponent of the distances; 0^0 is 1
    steps: Steps
    empty: str  # the distance in an item of one label: "zero", its "diagonal" in mm, or "scipy", SciPy's
    max_distance: float = math.inf  # mm: longer distances, those of `empty` too, count as this one
    with_plain: bool = False  # also the errors with weight 1, or 0 where ignored
    allowed: tuple[float, float] | None = None  # for a `ValueCheckingImplementation`: see there


class Implementation(Protocol):
    """The functions of every backend's module."""

    def edt(self, mask: Tensor, steps: Steps, form: str, squared: bool) -> Tensor:
        """Distance to the nearest voxel of another label.

        Args:
            mask: bool, uint8 or floating `(items, *spatial)`; nonzero is foreground.
            form: "one_sided", from the foreground to the nearest zero voxel, 0 elsewhere; "two_sided", from
                every voxel to the opposite label; "signed", the same, negative in the foreground.
            squared: no root; "signed" keeps the sign.

        Returns:
            float32 `(items, *spatial)`, in mm or mm^2; inf where there is no such voxel.
        """
        ...

    def nearest_background(self, mask: Tensor, steps: Steps) -> Tensor:
        """Index of the nearest zero voxel along each axis, int32 `(items, dims, *spatial)`; -1 for none."""
        ...

    def hausdorff_error(self, arguments: HausdorffArguments) -> tuple[Tensor, Tensor]:
        """Mean of `weight * (p - g)^2` over an item's voxels, `weight = d_p^alpha + d_g^alpha`.

        Returns:
            The errors `(1, items)`, or with `with_plain` `(2, items)`: weighted, then plain; and the gradient
            of the weighted ones with respect to the input, `(items, *spatial)`. Both in the input's dtype.
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
    """The function of a backend that measures in float64; of others the indices tell the distance."""

    def background_distance(self, mask: Tensor, steps: Steps, indices: bool) -> tuple[Tensor, Tensor | None]:
        """Distance to the nearest zero voxel, within 2 units in the last place of float64.

        Returns:
            float64 `(items, *spatial)`, in mm, inf for none; with `indices` also what `nearest_background`
            returns.
        """
        ...


class LabelImplementation(Protocol):
    """The function of a backend that also measures between many labels."""

    def label_edt(self, labels: Tensor, steps: Steps, form: str, squared: bool, border: str) -> Tensor:
        """Distance to the nearest voxel of another label.

        Args:
            labels: bool or integer `(items, *spatial)`.
            form: "one_sided", label 0 has distance 0; "two_sided", it is a label as the others; "signed", the
                same, with the distances of all others negative.
            squared: no root; "signed" keeps the sign.
            border: "open", or "closed": the outside of an item is another label.

        Returns:
            float32 `(items, *spatial)`, in mm or mm^2; inf where there is no such voxel.
        """
        ...


class PoolingImplementation(Protocol):
    """The functions of a backend that also pools; ops/contour.py and ops/surface.py give their meanings."""

    def contour_map(self, x: Tensor, ignore: Tensor | None, depth: int) -> tuple[Tensor, Tensor, Tensor]: ...

    def contour_map_gradient(self, grad: Tensor, highest: Tensor, lowest: Tensor, depth: int) -> Tensor: ...

    def surface_map(self, x: Tensor, ignore: Tensor | None) -> tuple[Tensor, Tensor]: ...

    def surface_map_gradient(self, grad: Tensor, lowest: Tensor) -> Tensor: ...


def ceil_div(whole: int, part: int) -> int:
    """How many parts cover the whole."""
    return -(-whole // part)
