"""An emulator of PTX: runs what GPU compilers make of the kernels on a CPU, and checks every access.

`Program` is a kernel, assembled from PTX text; `under_triton` and `under_cuda` put it below the launch code
of the two GPU backends. README.md tells what is checked, and what is not.
"""

from tests.support.ptx.assembler import UnknownPTX
from tests.support.ptx.memory import Memory, Options
from tests.support.ptx.program import Counts, Fault, FaultyLaunch, Program

__all__ = ["Counts", "Fault", "FaultyLaunch", "Memory", "Options", "Program", "UnknownPTX"]
