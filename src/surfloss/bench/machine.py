"""Where a measurement was made: processor, memory, versions, and the commit of this library."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

_INSTRUCTION_SETS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "asimd", "sve")


def facts() -> dict[str, Any]:
    """The machine as one JSON-ready dictionary."""
    flags = set(_cpuinfo("flags").split()) | set(_cpuinfo("Features").split())
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "architecture": platform.machine(),
        "instruction_sets": [name for name in _INSTRUCTION_SETS if name in flags],
        "memory_gib": _memory_gib(),
        "system": platform.platform(terse=True),
    }


def load() -> float | None:
    """How many processes wanted to run in the last minute, where the system tells."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def slug(machine: dict[str, Any]) -> str:
    """The machine as a file's name, as `cpu-amd-epyc-2-cores`, or by its GPU, as `gpu-nvidia-h100-pcie`."""
    if "gpu" in machine:
        return "-".join(["gpu", *re.findall(r"[a-z0-9]+", machine["gpu"]["name"].lower())])
    words = re.sub(r"\((r|tm)\)|\bcpu\b|\bprocessor\b|@.*", " ", machine["cpu"].lower())
    return "-".join(["cpu", *re.findall(r"[a-z0-9]+", words), str(machine["cores"]), "cores"])


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python, this library and those of the importable `packages` that are installed."""
    found = {"python": platform.python_version()}
    for name in ("surfloss", "torch", "numpy", *(package.split(".")[0] for package in packages)):
        with suppress(PackageNotFoundError):
            found[name] = _version(name)
    return found


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        if name == "surfloss":  # used from its sources
            return str(sys.modules[name].__version__)
        # One that is distributed under another name, as CuPy is under one for each CUDA.
        return version(packages_distributions().get(name, [name])[0])


def commit() -> str | None:
    """The commit that this package's files are checked out from, with `+` where they differ from it."""
    package = Path(__file__).parents[1]
    # A checkout that merely surrounds an installed package does not track its files.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    head = _git(package, "rev-parse", "HEAD")
    return head and head + ("+" if _git(package, "status", "--porcelain", "--", ".") else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _cpu_model() -> str:
    if platform.system() == "Darwin":
        asked = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        return asked.stdout.strip() or platform.machine()
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str:
    file = Path("/proc/cpuinfo")
    found = re.search(rf"^{key}\s*:\s*(.*)$", file.read_text(), re.MULTILINE) if file.exists() else None
    return found[1].strip() if found else ""


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
