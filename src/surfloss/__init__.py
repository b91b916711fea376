"""Surface losses, exact Euclidean distance transforms and surface metrics for 3-D segmentation."""

from surfloss.ops._select import available_backends, use_backend

__version__ = "0.1.0"
__all__ = ["available_backends", "use_backend"]
