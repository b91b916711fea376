"""The published record: that of `surfloss bench --json` plus project-only measurements."""

import json
import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from surfloss.bench import machine, report
from surfloss.bench.result import FORMAT, Column, Outcome, Result, Row
from surfloss.bench.timing import Times

_INSTRUCTION_SETS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "asimd", "sve")
Record = TypeVar("Record")


@dataclass(frozen=True)
class Gpu(machine.Gpu):
    """A GPU with its driver, and its copy bandwidth (bytes read and written per second)."""

    driver: str | None = None
    copy_bytes_per_s: float | None = None


@dataclass(frozen=True)
class Machine(machine.Machine):
    """A machine with the details that published numbers need."""

    gpu: Gpu | None = None
    architecture: str = ""
    instruction_sets: tuple[str, ...] = ()
    memory_gib: float | None = None
    system: str = ""

    @classmethod
    def with_facts(cls, gpu: Gpu | None = None) -> "Machine":
        cpu = machine.Machine.here()
        flags = f"{machine.cpuinfo('flags')} {machine.cpuinfo('Features')}".split()
        memory = None
        with suppress(AttributeError, ValueError, OSError):
            memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
        return cls(
            cpu=cpu.cpu,
            cores=cpu.cores,
            gpu=gpu,
            architecture=platform.machine(),
            instruction_sets=tuple(name for name in _INSTRUCTION_SETS if name in flags),
            memory_gib=memory,
            system=platform.platform(terse=True),
        )

    def __str__(self) -> str:
        widest = (self.instruction_sets or ("baseline",))[-1]
        text = f"{self.cpu}, {self.cores} cores ({self.architecture}, {widest})"
        if (gpu := self.gpu) is None:
            return text
        found = [f"driver {gpu.driver}"] if gpu.driver else []
        found += [f"CUDA {gpu.cuda}"] if gpu.cuda else []
        found += [f"copies at {gpu.copy_bytes_per_s / 1e9:.0f} GB/s"] if gpu.copy_bytes_per_s else []
        return f"{gpu.name} ({', '.join(found)}) beside {text}"

    @property
    def slug(self) -> str:
        """File name stem such as `cpu-amd-epyc-2-cores`, or of the GPU such as `gpu-nvidia-h100-pcie`."""
        if self.gpu is not None:
            return "-".join(["gpu", *re.findall(r"[a-z0-9]+", self.gpu.name.lower())])
        words = re.sub(r"\((r|tm)\)|\bcpu\b|\bprocessor\b|@.*", " ", self.cpu.lower())
        return "-".join(["cpu", *re.findall(r"[a-z0-9]+", words), str(self.cores), "cores"])


@dataclass(frozen=True)
class WeighedOutcome(Outcome):
    """An outcome with its peak memory."""

    peak_extra_bytes: int | None = None


@dataclass
class Published(Result):
    """A comparison with its commit, and for `make gpu` the states of its parts and training step times."""

    machine: Machine
    commit: str | None = None
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    training_step: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, result: Result, machine: Machine, commit: str | None) -> Self:
        return cls(**vars(result) | {"machine": machine, "commit": commit})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a result from a file. Unknown entries are ignored.

        Raises:
            ValueError, KeyError, TypeError: if the file has other content.
            OSError: if it cannot be read.
        """
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"{path}: got format {found['format']}, wanted {FORMAT}")
        gpu = found["machine"].get("gpu")
        return _known(
            cls,
            found,
            machine=_known(Machine, found["machine"], gpu=_known(Gpu, gpu) if gpu else None),
            contestants={name: _known(Column, column) for name, column in found["contestants"].items()},
            rows=[_row(cell) for cell in found["cells"]],
        )

    def to_dict(self) -> dict[str, Any]:
        """As for `Result`, without empty `parts` and `training_step`, which benchmarks/gpu.py adds."""
        found = super().to_dict()
        for name in ("parts", "training_step"):
            if not found[name]:
                del found[name]
        return found

    def notes(self) -> list[str]:
        """Notes on the whole comparison, one sentence per line."""
        if self.commit is None:
            return report.notes(self)
        version = f"{self.versions['surfloss']} at {self.commit[:10]}"
        return report.notes(replace(self, versions=self.versions | {"surfloss": version}))


def peak_extra_bytes(row: Row, name: str) -> int | None:
    """The peak memory of a contestant in bytes; None if not measured."""
    outcome = row.results.get(name)
    return outcome.peak_extra_bytes if isinstance(outcome, WeighedOutcome) else None


def _row(cell: dict[str, Any]) -> Row:
    results = {
        name: _known(WeighedOutcome, outcome, times=_known(Times, outcome) if "median_s" in outcome else None)
        for name, outcome in cell["results"].items()
    }
    return _known(Row, cell, results=results)


def _known(kind: type[Record], found: dict[str, Any], **made: Any) -> Record:
    """Build the dataclass from the entries that are its fields, and from the given values."""
    names = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: found[name] for name in names if name in found} | made)
