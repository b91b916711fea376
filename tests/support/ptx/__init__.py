"""A PTX emulator: runs compiled GPU kernels on a CPU and checks every memory access.

`Program` is a kernel, assembled from PTX text. `under_triton` and `under_cuda` put it below the launch code
of the two GPU backends. README.md lists what is checked.
"""

from tests.support.ptx.assembler import UnknownPTX
from tests.support.ptx.memory import Memory, Options
from tests.support.ptx.program import Counts, Fault, FaultyLaunch, Program

__all__ = ["Counts", "Fault", "FaultyLaunch", "Memory", "Options", "Program", "UnknownPTX"]
