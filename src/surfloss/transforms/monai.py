"""A dictionary transform of MONAI that adds the target's distances. It needs MONAI (`surfloss[monai]`)."""

from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import TransformBackends, convert_to_dst_type
from torch import Tensor

from surfloss._check import SpacingLike, fail, tensor
from surfloss.transforms.distance import TargetDistance


class TargetDistanced(MapTransform):  # type: ignore[misc]
    """Adds the map of each target to the dictionary: `data["label_distance"]` beside `data["label"]`.

    Put it behind everything that moves voxels: the map is then the one that the loss would compute of the
    same crop. Flips and rotations by right angles that come later must move map and target together (name
    both in their `keys`). After zooming, padding or other rotations the map is wrong.

    Args:
        keys: of the targets: labels `(1, *spatial)` with `num_classes`, otherwise channels of 0 and 1
            `(channels, *spatial)`; a tensor or an array.
        postfix: what the key of the map has beyond the target's, after an underscore.
        spacing: voxel size in mm, see `surfloss.edt`; "pixdim" for that of the target's `MetaTensor`; None
            for distances in voxels.
        allow_missing_keys: pass over targets that the dictionary lacks.
        options: the others of `TargetDistance`.

    Raises:
        TypeError, ValueError: on an option of another form.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 (MONAI's form)

    def __init__(
        self,
        keys: KeysCollection,
        *,
        postfix: str = "distance",
        spacing: SpacingLike | Literal["pixdim"] = None,
        allow_missing_keys: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.postfix = postfix
        self.of_header = isinstance(spacing, str)
        if isinstance(spacing, str):
            if spacing != "pixdim":
                fail("spacing", repr(spacing), "None, a voxel size in mm, or 'pixdim'")
            spacing = None
        self.distance = TargetDistance(spacing=spacing, **options)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with the maps: float32 `(channels that count, *spatial)`, of the target's type.

        Raises:
            KeyError: on a missing target.
            TypeError, ValueError: on a target of another form: see `TargetDistance`.
        """
        result = dict(data)
        for key in self.keys:
            if key in result:
                result[f"{key}_{self.postfix}"] = self._map(f"data[{key!r}]", result[key])
            elif not self.allow_missing_keys:
                fail("keys", repr(key), f"keys of the data: {', '.join(map(repr, data))}", KeyError)
        return result

    def _map(self, name: str, value: Any) -> Any:
        target = torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value
        tensor(name, target)
        spacing = self._pixdim(name, value) if self.of_header else None
        if isinstance(target, MetaTensor):
            target = target.as_tensor()
        distance = self.distance(target[None], spacing=spacing, argument=name)[0]
        return convert_to_dst_type(distance, value, dtype=torch.float32)[0]

    @staticmethod
    def _pixdim(name: str, value: Any) -> Tensor:
        if not isinstance(value, MetaTensor):
            fail(name, type(value).__name__, "a MetaTensor, for spacing='pixdim'", TypeError)
        pixdim: Tensor = value.pixdim[: value.ndim - 1]  # of a plane it has a third value
        return pixdim
