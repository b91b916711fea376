"""The C++ core of the emulator, built by CMake on first use and called through ctypes."""

import ctypes
import fcntl
import subprocess
import sys
from functools import cache
from pathlib import Path
from shutil import which

ROOT = Path(__file__).parents[3]
BUILD = ROOT / "build" / "ptx"

# The faults of machine.h, in the same order.
FAULTS = (
    "out of bounds",
    "misaligned",
    "uninitialised",
    "write to read-only memory",
    "race",
    "missing lanes",
    "value of an inactive lane",
    "divergent barrier",
    "runaway",
    "trap",
)
SPACES = ("global", "shared", "local")
OPERANDS = 10
_int, _long, _pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p


class Row(ctypes.Structure):
    """`Row` in machine.h: an instruction."""

    _fields_ = (
        *((name, _int) for name in (
            "name", "guard", "guard_negated", "target", "count", "bytes", "sign_extended", "wide_value",
            "wide_address",
        )),
        ("operands", _int * OPERANDS), ("offset", _long),
    )  # fmt: skip


class Region(ctypes.Structure):
    """`Region` in machine.h: a range of valid addresses."""

    _fields_ = (
        ("begin", ctypes.c_uint64),
        ("end", ctypes.c_uint64),
        ("initialised", _pointer),
        ("history", _pointer),
        ("read_only", _int),
    )


class Report(ctypes.Structure):
    """`Report` in machine.h: a fault, and its number of occurrences at the instruction."""

    _fields_ = (
        *((name, _int) for name in ("fault", "instruction", "space", "thread")),
        *((name, _long) for name in ("block", "address", "size", "count", "other")),
    )


class Launch(ctypes.Structure):
    """`Launch` in machine.h: the arguments and results of a launch."""

    _fields_ = (
        ("grid", ctypes.c_uint32 * 3), ("threads", ctypes.c_uint32 * 3),
        *((name, ctypes.c_uint32) for name in
          ("shared_bytes", "warps_backwards", "track_races", "track_traffic")),
        ("budget", _long), ("parameters", _pointer), ("blocks", _pointer), ("block_count", _long),
        ("regions", ctypes.POINTER(Region)), ("region_count", _long), ("executed", _pointer),
        ("active_lanes", _pointer), ("traffic", _pointer), ("reports", ctypes.POINTER(Report)),
        ("report_limit", _long), ("report_count", _long),
    )  # fmt: skip


HISTORY_BYTES = 48  # size of `History`, which tracks the races of one byte


def missing() -> str | None:
    """Why the core cannot be built, or None if it can."""
    lacking = [name for name in ("cmake", "ninja", "c++") if _tool(name) is None]
    return f"building the emulator needs {', '.join(lacking)}" if lacking else None


@cache
def library() -> ctypes.CDLL:
    """The core, rebuilt if its sources have changed."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:  # another process may build it at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (BUILD / "build.ninja").exists():
            options = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={_tool('ninja')}", "-DSURFLOSS_PTX=ON"]
            _run("cmake", "-S", str(ROOT), "-B", str(BUILD), *options)
        _run("cmake", "--build", str(BUILD), "--target", "ptx_core")
        loaded = ctypes.CDLL(str(BUILD / "libptx_core.so"))
    loaded.ptx_signature.argtypes, loaded.ptx_signature.restype = (ctypes.c_char_p,), ctypes.c_char_p
    loaded.ptx_program.argtypes = (ctypes.c_char_p, *(_pointer, _long) * 4, _long)
    loaded.ptx_program.restype = _pointer
    loaded.ptx_free.argtypes, loaded.ptx_free.restype = (_pointer,), None
    loaded.ptx_run.argtypes, loaded.ptx_run.restype = (_pointer, ctypes.POINTER(Launch)), None
    return loaded


@cache
def signature(name: str) -> str | None:
    """The operands of an instruction such as "add.s32/3", as `Known.signature`; None if it is unknown."""
    found: bytes | None = library().ptx_signature(name.encode())
    return None if found is None else found.decode()


def _tool(name: str) -> str | None:
    """The path of a program in the virtual environment, or else on the PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else which(name)


def _run(name: str, *arguments: str) -> None:
    done = subprocess.run([_tool(name) or name, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"building the PTX emulator:\n{done.stdout}{done.stderr}")
