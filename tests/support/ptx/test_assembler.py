"""Unsupported PTX is rejected with its name, never guessed."""

import pytest

from tests.support.ptx import UnknownPTX, library
from tests.support.ptx.assembler import NEWEST, assemble
from tests.support.ptx.small_kernels import HEAD

pytestmark = pytest.mark.skipif(library.missing() is not None, reason=str(library.missing()))


def kernel(body: str, head: str = HEAD) -> str:
    registers = ".reg .pred %p<3>; .reg .b32 %r<5>; .reg .b64 %d<5>;"
    parameters = ".param .u64 a, .param .f32 b"
    return f"{head}.visible .entry k({parameters})\n.reqntid 96\n{{ {registers}\n{body}\nret;\n}}\n"


@pytest.mark.parametrize(
    ("instruction", "named"),
    [
        ("sin.approx.f32 %r1, %r2;", "the instruction sin.approx.f32"),
        ("add.rz.f32 %r1, %r2, %r3;", "the instruction add.rz.f32"),
        ("add.sat.s32 %r1, %r2, %r3;", "the instruction add.sat.s32"),
        ("add.s32 %r1, %r2;", "the instruction add.s32"),
        ("@%p1 atom.global.add.u32 %r1, [%d1], %r2;", "the instruction atom.global.add.u32"),
        ("cvt.rz.f32.f64 %r1, %d1;", "the instruction cvt.rz.f32.f64"),
        ("cvt.u32.u6 %r1, %r2;", "the instruction cvt.u32.u6"),
        ("setp.lt.ftz.f32 %p1, %r1, %r2;", "the instruction setp.lt.ftz.f32"),
        ("ld.b32 %r1, [%d1];", "the instruction ld.b32"),
        ("ld.tensor.b32 %r1, [%d1];", "the modifier .tensor"),
        ("ld.global.b32 %r1, [%d1], %d2;", "the instruction ld.global.b32"),
        ("ld.global.v2.b32 %r1, [%d1];", "the operands %r1"),
        ("st.param.b32 [a], %r1;", "the instruction st.param"),
        ("ld.global.b32 %r1, [nowhere];", "the address [nowhere]"),
        ("cvta.shared.u64 %d1, %d2;", "the instruction cvta.shared.u64"),
        ("bar.sync 1;", "the instruction bar.sync"),
        ("bar.sync 0, 64;", "the instruction bar.sync"),
        ("bra $nowhere;", "the label $nowhere"),
        ("call f;", "the instruction call"),
        ("add.s32 %r1, %r2, %r9;", "the operand %r9"),
        ("add.s32 %r1, %r2, %d1;", "the operand %d1 of another size"),
        ("add.s32 %r1, %r2, %clock;", "the operand %clock"),
        ("mov.pred %p1, %r1;", "the predicate %r1"),
        (".reg .b128 %q;", "a register of b128"),
        (".alias x, y;", ".alias"),
    ],
)  # fmt: skip
def test_what_is_unknown_is_named(instruction: str, named: str) -> None:
    with pytest.raises(UnknownPTX) as caught:
        assemble(kernel(instruction), "k")
    assert str(caught.value).startswith(f"k: got {named} in '")
    assert instruction.rstrip(";") in str(caught.value) or named.startswith("the label")


def test_a_newer_version_is_named() -> None:
    newer = f"{NEWEST[0]}.{NEWEST[1] + 1}"
    with pytest.raises(
        UnknownPTX, match=rf"^PTX: got version {newer}, wanted at most {NEWEST[0]}\.{NEWEST[1]}"
    ):
        assemble(kernel("", f".version {newer}\n"), "k")
    with pytest.raises(UnknownPTX, match="without a version"):
        assemble(kernel("", ""), "k")


def test_a_kernel_that_is_not_there() -> None:
    with pytest.raises(UnknownPTX, match="kernel: got 'other', wanted one of k"):
        assemble(kernel(""), "other")


def test_parameters_threads_and_constants() -> None:
    code = assemble(
        kernel("mov.b32 %r1, 0f3F800000; add.s32 %r1, %r1, -2; add.s32 %r1, %r1, 0xfffffffe;"), "k"
    )
    assert code.parameters == [("u64", 0), ("f32", 8)]
    assert code.threads == (96, 1, 1)
    constants = {int(row[0]) for row in code.registers}
    assert constants == {0xDEADBEEF, 0x3F800000, 0xFFFFFFFE}


def test_registers_of_a_scope_end_with_it() -> None:
    assemble(kernel("{ .reg .b32 %x; mov.b32 %x, 1; }"), "k")
    with pytest.raises(UnknownPTX, match="the operand %x"):
        assemble(kernel("{ .reg .b32 %x; mov.b32 %x, 1; } mov.b32 %x, 1;"), "k")


def test_a_statement_of_several_rows_counts_once() -> None:
    code = assemble(kernel("setp.lt.and.s32 %p1|%p2, %r1, %r2, !%p1; mov.b64 %d1, {%r1, %r2};"), "k")
    assert len(code.rows) == len(code.is_first) > 4
    assert sum(code.is_first) == 3
