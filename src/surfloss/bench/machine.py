"""Where a measurement was made: processor, GPU and versions."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path

import torch

_INSTRUCTION_SETS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "asimd", "sve")


@dataclass(frozen=True)
class Gpu:
    """The GPU that is measured, with the version of CUDA that PyTorch was built for.

    Attributes:
        driver, copy_bytes_per_s: its driver, and the bytes that its copies read and write per second, where
            they are known.
    """

    name: str
    cuda: str | None = None
    driver: str | None = None
    copy_bytes_per_s: float | None = None


@dataclass(frozen=True)
class Machine:
    """The processor, and the GPU where one is measured."""

    cpu: str
    cores: int
    architecture: str
    instruction_sets: list[str]
    memory_gib: float | None = None
    system: str = ""
    gpu: Gpu | None = None

    @classmethod
    def here(cls, device: str = "cpu") -> "Machine":
        flags = f"{_cpuinfo('flags')} {_cpuinfo('Features')}".split()
        memory = None
        with suppress(AttributeError, ValueError, OSError):
            memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
        return cls(
            cpu=_cpuinfo("model name") or _mac_model() or platform.processor() or platform.machine(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            architecture=platform.machine(),
            instruction_sets=[name for name in _INSTRUCTION_SETS if name in flags],
            memory_gib=memory,
            system=platform.platform(terse=True),
            gpu=None if device == "cpu" else Gpu(torch.cuda.get_device_name(device), torch.version.cuda),
        )

    @property
    def slug(self) -> str:
        """A file's name, as `cpu-amd-epyc-2-cores`, or by the GPU, as `gpu-nvidia-h100-pcie`."""
        if self.gpu is not None:
            return "-".join(["gpu", *re.findall(r"[a-z0-9]+", self.gpu.name.lower())])
        words = re.sub(r"\((r|tm)\)|\bcpu\b|\bprocessor\b|@.*", " ", self.cpu.lower())
        return "-".join(["cpu", *re.findall(r"[a-z0-9]+", words), str(self.cores), "cores"])


def load() -> float | None:
    """How many processes wanted to run in the last minute, where the system tells."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python, this library and those of the importable `packages` that are installed."""
    distributions = packages_distributions()  # CuPy is distributed under another name for each CUDA
    found = {"python": platform.python_version(), "surfloss": str(sys.modules["surfloss"].__version__)}
    for name in ("torch", "numpy", *(package.split(".")[0] for package in packages)):
        if name in distributions:
            found.setdefault(name, version(distributions[name][0]))
    return found


def _mac_model() -> str:
    if platform.system() != "Darwin":
        return ""
    command = ["sysctl", "-n", "machdep.cpu.brand_string"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _cpuinfo(key: str) -> str:
    file = Path("/proc/cpuinfo")
    found = re.search(rf"^{key}\s*:\s*(.*)$", file.read_text(), re.MULTILINE) if file.exists() else None
    return found[1].strip() if found else ""
