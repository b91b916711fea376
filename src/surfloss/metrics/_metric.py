"""The base class of `SurfaceMetrics`: `torchmetrics.Metric`, or a stand-in where torchmetrics is missing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor


class PlainMetric:
    """The part of `torchmetrics.Metric` that `SurfaceMetrics` needs: lists of tensors on the host as states.

    Args:
        process_group: the processes of `torch.distributed` whose states `compute` joins; None for all.
    """

    device = torch.device("cpu")
    sync_on_compute = True
    dist_sync_fn = None

    compute: Callable[..., Any]

    def __init__(self, *, process_group: dist.ProcessGroup | None = None) -> None:
        self.process_group = process_group
        self._lists: list[str] = []

    def __init_subclass__(cls) -> None:
        compute = cls.compute

        @wraps(compute)
        def synced(self: PlainMetric) -> Any:
            with self.sync_context():
                return compute(self)

        cls.compute = synced

    def add_state(self, name: str, default: Tensor | list[Tensor], dist_reduce_fx: str) -> None:
        """Set an attribute; one that is a list is emptied by `reset` and joined by `sync_context`."""
        setattr(self, name, default)
        if isinstance(default, list):
            self._lists.append(name)

    def reset(self) -> None:
        """Empty the states."""
        for name in self._lists:
            setattr(self, name, [])

    @contextmanager
    def sync_context(self, **options: Any) -> Iterator[None]:
        """The states of all processes in rank order; afterwards those of this process again."""
        own = {name: getattr(self, name) for name in self._lists}
        if dist.is_available() and dist.is_initialized():
            gathered: list[Any] = [None] * dist.get_world_size(self.process_group)
            dist.all_gather_object(gathered, own, group=self.process_group)
            for name in own:
                setattr(self, name, [tensor for states in gathered for tensor in states[name]])
        try:
            yield
        finally:
            for name, state in own.items():
                setattr(self, name, state)


if TYPE_CHECKING:
    Metric = PlainMetric
else:
    try:
        from torchmetrics import Metric
    except (ImportError, RuntimeError):  # RuntimeError: its torchvision is for another build of PyTorch
        Metric = PlainMetric
