"""The operators, called as the tests mostly want them."""

from torch import Tensor

from surfloss.ops import hausdorff
from surfloss.ops.edt import edt


def squared_edt(
    mask: Tensor, spacing: list[float], item_spacing: Tensor | None, two_sided: bool, backend: str | None
) -> Tensor:
    """The squared distance to the nearest zero voxel, or to the other label."""
    return edt(mask, spacing, item_spacing, "two_sided" if two_sided else "one_sided", True, backend)


def hausdorff_error(
    *arguments: object, max_distance: float | None = None, by_errors: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator with the gradient kept in the input's dtype."""
    return hausdorff.hausdorff_error(*arguments, None, max_distance, by_errors)
