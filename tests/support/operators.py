"""The operators with the arguments that most tests use."""

import torch
from torch import Tensor

import surfloss
from surfloss.functional import contour_map
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
    """The operator, keeping the gradient in the input's dtype."""
    return hausdorff.hausdorff_error(*arguments, None, max_distance, by_errors)


def assert_pooled(
    x: Tensor,
    kernel: int | tuple[int, ...],
    ignore: Tensor | None = None,
    backend: str = "triton",
    what: str = "",
) -> None:
    """A backend's contour and its gradient equal those of PyTorch's pooling."""
    grad, results = torch.randn(x.shape, dtype=x.dtype), []
    for name in (backend, "reference"):
        leaf = x.clone().requires_grad_()
        with surfloss.use_backend(name):
            contour = contour_map(leaf, kernel, ignore=ignore)
            contour.backward(grad)
        results.append((contour.detach(), leaf.grad))
    for got, wanted, tolerance in zip(*results, (0, 1e-6), strict=True):
        torch.testing.assert_close(
            got, wanted, rtol=tolerance, atol=tolerance, equal_nan=True, msg=lambda text: f"{what}\n{text}"
        )
