"""The memory that a launch may access, and which bytes of it are initialized."""

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
_ALIGNMENT = 512
_LARGE = 2**28  # bytes; above it a tensor gets no noise and no flags

_initialised: WeakKeyDictionary[torch.UntypedStorage, Bytes] = WeakKeyDictionary()
"""For tensors from `fresh`, a flag per byte: whether a kernel has written it."""
_random = np.random.default_rng(0)


@dataclass(frozen=True)
class Options:
    """How a launch is emulated."""

    blocks_backwards: bool = False  # run the blocks in reverse order
    warps_backwards: bool = False  # run the warps of a block in reverse order
    ends: int | None = None  # run only this many blocks at either end
    race_limit: int = 2**20  # bytes of memory of a launch, above which races are not tracked
    traffic: bool = False  # count sectors of memory
    budget: int = 2**34  # number of branches after which a launch is a runaway


class Stretch(NamedTuple):
    """A range of addresses with the names of its tensors."""

    name: str
    begin: int
    end: int
    initialised: Bytes | None = None
    history: Bytes | None = None
    read_only: bool = False


class Memory:
    """The memory of one launch: exactly the bytes of its tensors."""

    def __init__(self, tensors: Iterable[tuple[str, Tensor]], options: Options) -> None:
        stretches: list[Stretch] = []
        for name, tensor in sorted(tensors, key=lambda pair: pair[1].data_ptr()):
            if not tensor.numel():
                continue
            begin, storage = tensor.data_ptr(), tensor.untyped_storage()
            last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
            end = begin + (last + 1) * tensor.element_size()
            if stretches and begin < stretches[-1].end:
                # Views of one storage overlap: a kernel may get a tensor twice.
                before = stretches.pop()
                begin, end = before.begin, max(end, before.end)
                if name not in before.name.split(" and "):
                    name = f"{before.name} and {name}"  # noqa: PLW2901
            # If blocks are skipped, others may read what these would have written.
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
        """Describe an address by the tensor that contains it or is nearest to it."""
        near = min(self.stretches, key=lambda s: max(s.begin - address, address - s.end + 1, 0), default=None)
        if near is None:
            return f"{address:#x}"
        return f"byte {address - near.begin} of {near.name}, which has {near.end - near.begin}"


def fresh(shape: Iterable[int], dtype: torch.dtype) -> Tensor:
    """A tensor of noise that counts as uninitialized; a large one is lazily mapped zeros instead."""
    sizes = list(shape)
    count = int(np.prod(sizes, dtype=np.int64))
    size = count * dtype.itemsize
    if size > _LARGE:
        no_reserve = 0x4000 if sys.platform == "linux" else 0
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve)
        return torch.frombuffer(memory, dtype=dtype, count=count).view(sizes)
    # PyTorch aligns memory of a GPU to 512 bytes, on which the number of sectors depends.
    noise = _random.integers(0, 256, size + _ALIGNMENT, dtype=np.uint8)
    start = -noise.ctypes.data % _ALIGNMENT
    noise = noise[start : start + size]
    tensor = torch.from_numpy(noise).view(dtype).view(sizes) if size else torch.zeros(sizes, dtype=dtype)
    _initialised[tensor.untyped_storage()] = np.zeros(size, np.uint8)
    return tensor


@contextmanager
def watched(*modules: ModuleType) -> Iterator[None]:
    """In the block, tensors that these modules get from `torch.empty[_like]` count as uninitialized."""

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
