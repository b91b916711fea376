"""Where a measurement was made: processor, GPU and versions."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path

import torch


@dataclass(frozen=True)
class Gpu:
    """The GPU that is measured, with the version of CUDA that PyTorch was built for."""

    name: str
    cuda: str | None = None


@dataclass(frozen=True)
class Machine:
    """The processor, and the GPU where one is measured."""

    cpu: str
    cores: int
    gpu: Gpu | None = None

    @classmethod
    def here(cls, device: str = "cpu") -> "Machine":
        cpu = cpuinfo("model name") or platform.processor() or platform.machine()
        if platform.system() == "Darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            cpu = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        gpu = None if device == "cpu" else Gpu(torch.cuda.get_device_name(device), torch.version.cuda)
        return cls(cpu, cores, gpu)

    def __str__(self) -> str:
        text = f"{self.cpu}, {self.cores} cores"
        return text if self.gpu is None else f"{self.gpu.name} (CUDA {self.gpu.cuda}) beside {text}"


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


def cpuinfo(key: str) -> str:
    """What Linux tells of the first processor; empty where it does not."""
    file = Path("/proc/cpuinfo")
    found = re.search(rf"^{key}\s*:\s*(.*)$", file.read_text(), re.MULTILINE) if file.exists() else None
    return found[1].strip() if found else ""
