"""Small PTX kernels for the tests of the emulator itself."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tests.support.ptx import Memory, Options, Program

Array = npt.NDArray[np.generic]
HEAD = ".version 8.0\n.target sm_90\n.address_size 64\n"
_REGISTER = {1: "b16", 2: "b16", 4: "b32", 8: "b64"}


def launch(
    body: str,
    *tensors: Tensor,
    threads: int = 32,
    grid: int = 1,
    shared_bytes: int = 0,
    options: Options = Options(),  # noqa: B008
) -> Program:
    """Run a kernel body, with the addresses of the tensors in %a0, %a1, ... and the thread in %t."""
    parameters = ", ".join(f".param .u64 p{i}" for i in range(len(tensors)))
    loads = "".join(f"ld.param.u64 %a{i}, [p{i}];" for i in range(len(tensors)))
    text = (
        f"{HEAD}.extern .shared .align 16 .b8 memory[];\n.visible .entry k({parameters}) {{\n"
        ".reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<19>, %t; .reg .b64 %d<9>, %a<9>;\n"
        f"{loads} mov.u32 %t, %tid.x;\n{body}\nret;\n}}\n"
    )
    program = Program(text, "k")
    memory = Memory([(f"tensor {i}", tensor) for i, tensor in enumerate(tensors)], options)
    addresses = [tensor.data_ptr() for tensor in tensors]
    program.run((grid, 1, 1), (threads, 1, 1), addresses, memory, shared_bytes, options)
    return program


def evaluate(instruction: str, result: str, *inputs: Array, threads: int | None = None) -> Array:
    """The result that an instruction writes to %z, from inputs in %x0, %x1, ..., one thread per element.

    Args:
        result: the dtype of the result, "bool" for a predicate. Bool inputs are predicates as well.
    """
    count = len(inputs[0])
    out = torch.zeros(count * np.dtype(result).itemsize, dtype=torch.uint8)
    arrays = [torch.from_numpy(np.ascontiguousarray(array).view(np.uint8)) for array in inputs]
    body = [_declared("%z", np.dtype(result)), ".reg .b16 %flag;"]
    for i, array in enumerate(inputs):
        size = array.dtype.itemsize
        body.append(_declared(f"%x{i}", array.dtype))
        body.append(f"mad.wide.u32 %d0, %t, {size}, %a{i + 1};")
        if array.dtype == bool:
            body.append(f"ld.global.u8 %flag, [%d0]; setp.ne.s16 %x{i}, %flag, 0;")
        else:
            body.append(f"ld.global.b{8 * size} %x{i}, [%d0];")
    body += [instruction, f"mad.wide.u32 %d0, %t, {np.dtype(result).itemsize}, %a0;"]
    if result == "bool":
        body.append("selp.b16 %flag, 1, 0, %z; st.global.u8 [%d0], %flag;")
    else:
        body.append(f"st.global.b{8 * np.dtype(result).itemsize} [%d0], %z;")
    launch("\n".join(body), out, *arrays, threads=threads or count, options=Options(race_limit=0))
    return out.numpy().view(result)


def _declared(name: str, dtype: np.dtype) -> str:
    return f".reg .{'pred' if dtype.kind == 'b' else _REGISTER[dtype.itemsize]} {name};"
