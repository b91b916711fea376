"""A kernel that can be launched on memory of this process, and the results of launches."""

import ctypes
import struct
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tests.support.ptx.assembler import SIZES, assemble
from tests.support.ptx.library import FAULTS, SPACES, Launch, Region, Report, Row, library
from tests.support.ptx.memory import Memory, Options

_REPORTS = 32  # per launch, at most


@dataclass
class Counts:
    """Sums over launches."""

    launches: int = 0
    executed: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    active_lanes: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    traffic: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(6, np.uint64))


@dataclass(frozen=True)
class Fault:
    """The first fault of its kind at an instruction."""

    kind: str
    space: str
    instruction: str
    source: str  # file and line, innermost last, if the compiler recorded them
    block: int
    thread: int
    where: str
    size: int  # bytes of the access
    other: int  # the thread of the other access of a race, or a mask of lanes; -1 for none
    count: int

    def __str__(self) -> str:
        what = f"{self.kind}: `{self.instruction}`" + (f" at {self.source}" if self.source else "")
        beside = f", beside thread {self.other}" if self.kind == "race" else ""
        if self.kind == "missing lanes":
            beside = f", lanes wanted {self.other & 0xFFFFFFFF:#010x}"
        size = f", {self.size} bytes at {self.where}" if self.size else ""
        return f"{what} in block {self.block}, thread {self.thread}{beside}{size}; {self.count} times"


class FaultyLaunch(AssertionError):
    """A kernel did something invalid."""

    def __init__(self, kernel: str, faults: Sequence[Fault], launch: str) -> None:
        super().__init__("\n  ".join([f"{kernel} {launch}".strip(), *map(str, faults)]))
        self.faults = faults


class Program:
    """A kernel of a PTX module."""

    def __init__(self, text: str, name: str) -> None:
        """Assemble the kernel. Raises `UnknownPTX` if the emulator does not support it."""
        self.code = code = assemble(text, name)
        rows = (Row * len(code.rows))(*code.rows)
        specials = np.array(code.specials, np.int32).reshape(-1, 2)
        self._handle = library().ptx_program(
            "".join(f"{name}\n" for name in code.names).encode(), ctypes.addressof(rows), len(rows),
            code.registers.ctypes.data, len(code.registers), code.predicates.ctypes.data,
            len(code.predicates), specials.ctypes.data, len(specials), code.local_bytes,
        )  # fmt: skip
        weakref.finalize(self, library().ptx_free, self._handle)
        count = len(rows)
        self.counts = Counts(executed=np.zeros(count, np.uint64), active_lanes=np.zeros(count, np.uint64))

    @property
    def threads(self) -> tuple[int, int, int] | None:
        """Threads per block if the PTX sets them, else None."""
        return self.code.threads

    def run(
        self,
        grid: tuple[int, int, int],
        threads: tuple[int, int, int],
        arguments: Sequence[int | float],
        memory: Memory,
        shared_bytes: int = 0,
        options: Options = Options(),  # noqa: B008 - it is immutable
        description: str = "",
    ) -> None:
        """Launch the kernel and wait for its end.

        Raises:
            FaultyLaunch: if there was a fault; raised after the last block.
        """
        code, counts = self.code, self.counts
        assert all(n > 0 for n in (*grid, *threads)), f"{code.name}: grid {grid}, threads {threads}"
        assert grid[0] < 2**31 and max(grid[1:]) < 2**16 and np.prod(threads) <= 1024, (grid, threads)  # noqa: PT018
        parameters = self._packed(arguments)
        blocks = self._blocks(int(np.prod(grid, dtype=np.int64)), options)
        regions = (Region * max(1, len(memory.stretches)))(
            *(
                Region(s.begin, s.end, *map(_address, (s.initialised, s.history)), s.read_only)
                for s in memory.stretches
            )
        )
        reports = (Report * _REPORTS)()
        launch = Launch(
            grid=grid, threads=threads, shared_bytes=shared_bytes + code.shared_bytes,
            warps_backwards=options.warps_backwards, track_races=memory.races, track_traffic=options.traffic,
            budget=options.budget, parameters=ctypes.addressof(parameters), blocks=blocks.ctypes.data,
            block_count=len(blocks), regions=regions, region_count=len(memory.stretches),
            executed=counts.executed.ctypes.data, active_lanes=counts.active_lanes.ctypes.data,
            traffic=counts.traffic.ctypes.data, reports=reports, report_limit=_REPORTS,
        )  # fmt: skip
        library().ptx_run(self._handle, launch)
        counts.launches += 1
        if launch.report_count:
            faults = [self._fault(report, memory) for report in reports[: launch.report_count]]
            raise FaultyLaunch(code.name, faults, f"{description} grid {grid} threads {threads}")

    def _packed(self, arguments: Sequence[int | float]) -> ctypes.Array[ctypes.c_uint8]:
        """The arguments in the kernel's parameter layout."""
        kinds = self.code.parameters
        assert len(arguments) == len(kinds), f"{self.code.name}: {len(arguments)} of {len(kinds)} arguments"
        packed = bytearray(max((offset + 8 for _, offset in kinds), default=8))
        for value, (kind, offset) in zip(arguments, kinds, strict=True):
            if kind in ("f32", "f64"):
                struct.pack_into("<f" if kind == "f32" else "<d", packed, offset, value)
            else:
                size = SIZES[kind]
                packed[offset : offset + size] = (int(value) % 2 ** (8 * size)).to_bytes(size, "little")
        return (ctypes.c_uint8 * len(packed)).from_buffer(packed)

    @staticmethod
    def _blocks(count: int, options: Options) -> npt.NDArray[np.int64]:
        if options.ends is not None and count > 2 * options.ends:
            ends = np.arange(options.ends)
            blocks = np.concatenate([ends, count - options.ends + ends])
        else:
            blocks = np.arange(count, dtype=np.int64)
        return np.ascontiguousarray(blocks[::-1] if options.blocks_backwards else blocks, np.int64)

    def _fault(self, report: Report, memory: Memory) -> Fault:
        code, space = self.code, SPACES[report.space]
        where = (
            memory.describe(report.address % 2**64) if space == "global" else f"{space} byte {report.address}"
        )
        row = report.instruction
        return Fault(
            FAULTS[report.fault], space, code.statements[row], code.sources[row], report.block, report.thread,
            where, report.size, report.other, report.count,
        )  # fmt: skip


def _address(array: npt.NDArray[np.uint8] | None) -> int | None:
    return None if array is None else array.ctypes.data
