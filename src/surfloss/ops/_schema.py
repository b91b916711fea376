"""Types of operators' arguments, as `torch.library.custom_op` reads them."""

from typing import Sequence, TypeAlias  # noqa: UP035 - PyTorch 2.6 reads no other Sequence

Floats: TypeAlias = Sequence[float]
