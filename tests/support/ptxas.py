"""Registers and memory of each CUDA kernel as compiled by nvcc."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from shutil import which

SOURCES = Path(__file__).parents[2] / "csrc" / "cuda"
FILES = ("edt.cu", "hausdorff.cu")


@dataclass(frozen=True)
class Usage:
    """One kernel on one architecture: registers per thread, and bytes per thread in other memory."""

    registers: int
    stack: int
    spills: int


def missing() -> str | None:
    """Why kernels cannot be compiled, or None if they can."""
    return None if which("nvcc") else "nvcc is not on the path"


def usage(architecture: str) -> dict[str, Usage]:
    """Compile all kernels for an architecture such as "sm_90"; a warning is an error."""
    log = ""
    with tempfile.TemporaryDirectory() as folder:
        for file in FILES:
            command = ["nvcc", "-std=c++17", f"-arch={architecture}", "-cubin", "-Werror", "all-warnings"]
            command += ["-Xptxas", "-v", "-o", f"{folder}/{file}.cubin", str(SOURCES / file)]
            log += subprocess.run(command, check=True, capture_output=True, text=True).stderr
    pattern = (
        r"entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers"
    )
    return {
        name: Usage(int(registers), int(stack), int(stores) + int(loads))
        for name, stack, stores, loads, registers in re.findall(pattern, log, flags=re.DOTALL)
    }
