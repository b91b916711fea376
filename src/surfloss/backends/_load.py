"""Finds and loads the compiled library, once. A failure is remembered and reported again.

The library is in `surfloss/_lib`, which in an editable install is a different folder; `importlib.resources`
finds both. It has a plain C interface (csrc/include/surfloss_cpu.h), and ctypes releases the GIL.
"""

import ctypes
import sys
from functools import cache
from importlib import resources
from pathlib import Path

_ABI = 7
_NAMES = {"win32": "surfloss_cpu.dll", "darwin": "libsurfloss_cpu.dylib"}

_int, _long, _pointer, _double = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p, ctypes.c_double
_SHAPE = (_long, _int, _pointer)  # batch, dims, shape
_ITEMS = (*_SHAPE, _pointer, _int)  # and spacing, item_spacing
_CALL = (_int, _int, _pointer)  # threads, isa, scratch
_ERROR = (_pointer, _pointer, _int, _int, *(_pointer,) * 8)  # from input to wrong
_ARGUMENTS = {
    "surfloss_scratch_bytes": (_int, *_SHAPE, _int, _int),
    "surfloss_edt": (_pointer, _int, _pointer, *_ITEMS, _int, _int, *_CALL),
    "surfloss_label_edt": (_pointer, _int, _pointer, *_ITEMS, _int, _int, _int, *_CALL),
    "surfloss_background_distance": (_pointer, _pointer, *_ITEMS, *_CALL),
    "surfloss_nearest_background": (_pointer, _pointer, _pointer, *_ITEMS, *_CALL),
    "surfloss_hausdorff": (*_ERROR, *_ITEMS, _int, *(_double,) * 4, _int, *_CALL),
    "surfloss_contour_scratch_bytes": (_int, _long, _int),
    "surfloss_contour": (*(_pointer,) * 5, _int, _int, _long, _pointer, *_CALL),
    "surfloss_contour_gradient": (*(_pointer,) * 4, _int, _int, _long, _pointer, *_CALL),
    "surfloss_surface": (*(_pointer,) * 4, _int, _long, _pointer, *_CALL),
    "surfloss_surface_gradient": (*(_pointer,) * 3, _int, _long, _pointer, *_CALL),
}


def cpu_library_problem() -> str | None:
    """Why the library cannot be used, or None if it can."""
    return cpu_library()[1]


def cpu_library_path() -> Path | None:
    """The path of the library, or None if this installation has none."""
    name = _NAMES.get(sys.platform, "libsurfloss_cpu.so")
    # In an editable install this searches every folder that the package is spread over.
    path = Path(str(resources.files("surfloss").joinpath("_lib", name)))
    return path if path.is_file() else None


@cache
def cpu_library() -> tuple[ctypes.CDLL | None, str | None]:
    """The library of csrc/cpu and None, or None and why it cannot be used."""
    path = cpu_library_path()
    if path is None:
        return None, "this installation has no compiled library"
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return None, f"{path} does not load: {error}"
    try:
        abi = library.surfloss_abi()
    except AttributeError:
        abi = None
    if abi != _ABI:
        return None, f"{path} has interface {abi}, this package wants {_ABI}"
    for name, arguments in _ARGUMENTS.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = _long if name.endswith("scratch_bytes") else _int
    return library, None
