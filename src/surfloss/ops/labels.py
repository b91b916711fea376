"""The operator of the distance transform of many labels: schema, fake, and the backend that answers."""

from typing import Any

import torch
from torch import Tensor

from surfloss._check import Steps
from surfloss.ops._schema import Floats
from surfloss.ops._select import select_labels


@torch.library.custom_op("surfloss::label_edt", mutates_args=())
def label_edt(
    labels: Tensor,
    spacing: Floats,
    item_spacing: Tensor | None,
    form: str,
    squared: bool,
    border: str,
    backend: str | None,
) -> Tensor:
    """Distance to the nearest voxel of another label: see `LabelImplementation.label_edt`."""
    implementation = select_labels(backend, labels.device)
    return implementation.label_edt(labels, Steps(list(spacing), item_spacing), form, squared, border)


@label_edt.register_fake
def _(labels: Tensor, *_: Any) -> Tensor:
    return torch.empty(labels.shape, dtype=torch.float32, device=labels.device)
