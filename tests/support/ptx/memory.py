"""What memory a launch may touch, and what of it is set: tensors, and those that a backend allocates."""

import mmap
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tests.support.ptx.library import HISTORY_BYTES

Bytes = npt.NDArray[np.uint8]
_LARGE = 2**28  # bytes, of which no copy is kept

_initialised: WeakKeyDictionary[torch.UntypedStorage, Bytes] = WeakKeyDictionary()
"""Of tensors from `fresh`: a flag per byte, set where a kernel has written."""
_random = np.random.default_rng(0)


@dataclass(frozen=True)
class Options:
    """How a launch is emulated."""

    blocks_backwards: bool = False  # the order of the blocks
    warps_backwards: bool = False  # the order of a block's warps
    ends: int | None = None  # so many blocks at either end alone
    race_limit: int = 2**20  # bytes of memory that a launch may have for races to be looked for
    traffic: bool = False  # count sectors of memory
    budget: int = 2**34  # branches


class Stretch(NamedTuple):
    """A range of addresses with the names of its tensors."""

    name: str
    begin: int
    end: int
    initialised: Bytes | None = None
    history: Bytes | None = None
    read_only: bool = False


class Memory:
    """The memory of one launch: what its tensors cover, and nothing beside it."""

    def __init__(self, tensors: Iterable[tuple[str, Tensor]], options: Options) -> None:
        stretches: list[Stretch] = []
        for name, tensor in sorted(tensors, key=lambda pair: pair[1].data_ptr()):
            if not tensor.numel():
                continue
            begin, storage = tensor.data_ptr(), tensor.untyped_storage()
            last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
            end = begin + (last + 1) * tensor.element_size()
            if stretches and begin < stretches[-1].end:
                # Views of one storage: a kernel may be given a tensor twice.
                before = stretches.pop()
                begin, end = before.begin, max(end, before.end)
                if name not in before.name.split(" and "):
                    name = f"{before.name} and {name}"  # noqa: PLW2901
            # Where some blocks are left out, others may read what these would have written.
            flags = None if options.ends is not None else _initialised.get(storage)
            at = begin - storage.data_ptr()
            flags = None if flags is None else flags[at : at + end - begin]
            stretches.append(Stretch(name, begin, end, flags))
        self.races = sum(stretch.end - stretch.begin for stretch in stretches) <= options.race_limit
        if self.races:
            stretches = [
                stretch._replace(history=np.zeros((stretch.end - stretch.begin) * HISTORY_BYTES, np.uint8))
                for stretch in stretches
            ]
        self.stretches = stretches

    def describe(self, address: int) -> str:
        """An address, by the tensor that it is in or next to."""
        near = min(self.stretches, key=lambda s: max(s.begin - address, address - s.end + 1, 0), default=None)
        if near is None:
            return f"{address:#x}"
        return f"byte {address - near.begin} of {near.name}, which has {near.end - near.begin}"


def fresh(shape: Iterable[int], dtype: torch.dtype) -> Tensor:
    """A tensor that counts as uninitialised, filled with noise; a large one is zeros that need no memory."""
    sizes = list(shape)
    count = int(np.prod(sizes, dtype=np.int64))
    size = count * dtype.itemsize
    if size > _LARGE:
        no_reserve = 0x4000 if sys.platform == "linux" else 0
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve)
        return torch.frombuffer(memory, dtype=dtype, count=count).view(sizes)
    noise = _random.integers(0, 256, size, dtype=np.uint8)
    tensor = torch.from_numpy(noise).view(dtype).view(sizes) if size else torch.zeros(sizes, dtype=dtype)
    _initialised[tensor.untyped_storage()] = np.zeros(size, np.uint8)
    return tensor


@contextmanager
def watched(*modules: ModuleType) -> Iterator[None]:
    """Within the block, what `torch.empty` and its like give to these modules counts as uninitialised."""

    def empty(*shape: Any, dtype: torch.dtype = torch.float32, device: object = None) -> Tensor:
        sizes = shape[0] if shape and not isinstance(shape[0], int) else shape
        if torch.device(device or "cpu").type != "cpu":
            return torch.empty(sizes, dtype=dtype, device=device)
        return fresh(sizes, dtype)

    def empty_like(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return empty(tensor.shape, dtype=dtype or tensor.dtype, device=tensor.device)

    namespace = ModuleType("torch")
    vars(namespace).update(__getattr__=lambda name: getattr(torch, name), empty=empty, empty_like=empty_like)
    before = [module.torch for module in modules]
    try:
        for module in modules:
            module.torch = namespace  # type: ignore[attr-defined]
        yield
    finally:
        for module, own in zip(modules, before, strict=True):
            module.torch = own  # type: ignore[attr-defined]
