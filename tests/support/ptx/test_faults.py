"""Faults of kernels are detected: correct kernels, and the same kernels with one mistake."""

import pytest
import torch

from tests.support.ptx import FaultyLaunch, Options, library
from tests.support.ptx.memory import fresh
from tests.support.ptx.small_kernels import launch

pytestmark = pytest.mark.skipif(library.missing() is not None, reason=str(library.missing()))


def words(count: int) -> torch.Tensor:
    return torch.arange(count, dtype=torch.int32)


def faults(body: str, *tensors: torch.Tensor, **how: object) -> list[tuple[str, str]]:
    """Kind and instruction of each fault of a launch; empty if there was none."""
    try:
        launch(body, *tensors, **how)
    except FaultyLaunch as error:
        return [(fault.kind, fault.instruction) for fault in error.faults]
    return []


def kinds(body: str, *tensors: torch.Tensor, **how: object) -> set[str]:
    return {kind for kind, _ in faults(body, *tensors, **how)}


COPY = (
    "mad.wide.u32 %d1, %t, 4, %a0; mad.wide.u32 %d2, %t, 4, %a1;"
    "{}ld.global.b32 %r1, [%d2{}]; {}st.global.b32 [%d1{}], %r1;"
)


def test_a_copy_is_right() -> None:
    out = torch.zeros(64, dtype=torch.int32)
    assert faults(COPY.format("", "", "", ""), out, words(64), threads=64) == []
    assert torch.equal(out, words(64))


@pytest.mark.parametrize(
    ("load", "store", "kind"),
    [("+4", "", "ld"), ("-4", "", "ld"), ("", "+4", "st"), ("", "-4", "st"), ("+1024", "", "ld")],
)
def test_out_of_bounds(load: str, store: str, kind: str) -> None:
    """One element past either end, or far away. Memory beside the tensor does not change."""
    around = torch.zeros(66, dtype=torch.int32)
    found = faults(COPY.format("", load, "", store), around[1:65], words(64), threads=64)
    assert [(k, i[:2]) for k, i in found] == [("out of bounds", kind)]
    assert around[0] == around[65] == 0


def test_a_guard_keeps_within_bounds() -> None:
    """A guard prevents accesses past the end; a limit that is off by one is detected."""
    for limit, wanted in ((60, set()), (61, {"out of bounds"})):
        guard = f"setp.lt.u32 %p1, %t, {limit}; @%p1 "
        assert (
            kinds(
                COPY.format(guard, "", "@%p1 ", ""), torch.zeros(60, dtype=torch.int32), words(60), threads=64
            )
            == wanted
        )


def test_gaps_of_a_strided_tensor_end_where_it_ends() -> None:
    assert kinds("st.global.b32 [%a0+24], 0;", words(8)[::2]) == set()
    assert kinds("st.global.b32 [%a0+28], 0;", words(8)[::2]) == {"out of bounds"}


@pytest.mark.parametrize(
    ("access", "offset"), [("b16", 1), ("b32", 2), ("b64", 4), ("v2.b32", 4), ("v4.b32", 8)]
)
def test_misaligned(access: str, offset: int) -> None:
    values = {
        "b16": "%h1",
        "b32": "%r1",
        "b64": "%d1",
        "v2.b32": "{%r1, %r2}",
        "v4.b32": "{%r1, %r2, %r3, %r4}",
    }
    memory = torch.zeros(64, dtype=torch.uint8)
    assert memory.data_ptr() % 16 == 0
    assert kinds(f"ld.global.{access} {values[access]}, [%a0+16];", memory) == set()
    assert kinds(f"ld.global.{access} {values[access]}, [%a0+{16 + offset}];", memory) == {"misaligned"}
    assert kinds(f"st.global.{access} [%a0+{16 + offset}], {values[access]};", memory) == {"misaligned"}
    assert kinds(f"ld.shared.{access} {values[access]}, [memory+{offset}];", shared_bytes=64) == {
        "misaligned",
        "uninitialised",
    }


def test_uninitialised_memory() -> None:
    """A tensor from `torch.empty` is read before and after a kernel wrote it."""
    body = COPY.format("", "", "", "")
    new = fresh([32], torch.int32)
    assert faults(body, torch.zeros(32, dtype=torch.int32), new) == [
        ("uninitialised", "ld.global.b32 %r1, [%d2]")
    ]
    assert kinds(body, new[:31], words(31), threads=31) == set()
    assert kinds(body, torch.zeros(31, dtype=torch.int32), new, threads=31) == set()
    assert kinds(body, torch.zeros(32, dtype=torch.int32), new) == {"uninitialised"}


def test_a_part_of_a_value_that_is_not_written() -> None:
    new = fresh([2], torch.int32)
    assert kinds("st.global.b16 [%a0], 1; ld.global.b16 %h1, [%a0];", new, threads=1) == set()
    assert kinds("ld.global.b32 %r1, [%a0];", new, threads=1) == {"uninitialised"}


STAGED = (  # every thread reads from shared memory what its neighbor wrote
    "shl.b32 %r1, %t, 2; st.shared.b32 [%r1], %t; {}"
    "xor.b32 %r2, %t, {}; shl.b32 %r2, %r2, 2; ld.shared.b32 %r3, [%r2];"
    "mad.wide.u32 %d1, %t, 4, %a0; st.global.b32 [%d1], %r3;"
)


@pytest.mark.parametrize("neighbor", [1, 32])
def test_shared_memory_without_a_barrier(neighbor: int) -> None:
    """A barrier of the block orders all threads; a barrier of the warp orders only its own lanes."""
    out = words(64)
    how = {"threads": 64, "shared_bytes": 256}
    assert kinds(STAGED.format("bar.sync 0;", neighbor), out, **how) == set()
    assert torch.equal(out, words(64) ^ neighbor)
    assert kinds(STAGED.format("", neighbor), out, **how) >= {"race"}
    within_warp = kinds(STAGED.format("bar.warp.sync -1;", neighbor), out, **how)
    assert ("race" in within_warp) == (neighbor == 32)
    assert kinds(STAGED.format("bar.sync 0;", neighbor), out, threads=64, shared_bytes=252) >= {
        "out of bounds"
    }


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("neighbor", [1, 32])
def test_a_write_over_what_others_still_read(neighbor: int, backwards: bool) -> None:
    """As when row distances are overwritten in place. Detected in either order of the warps."""
    body = (
        "mad.wide.u32 %d1, %t, 4, %a0; xor.b32 %r1, %t, {}; mad.wide.u32 %d2, %r1, 4, %a0;"
        "ld.global.b32 %r2, [%d2]; add.s32 %r2, %r2, 100; {} st.global.b32 [%d1], %r2;"
    )
    how = {"threads": 64, "options": Options(warps_backwards=backwards)}
    assert kinds(body.format(neighbor, "bar.sync 0;"), words(64), **how) == set()
    assert kinds(body.format(neighbor, ""), words(64), **how) == {"race"}
    assert kinds(body.format(0, ""), words(64), **how) == set()


def test_a_write_is_found_though_others_read_after_the_one_it_races_with() -> None:
    """Several lanes have read, the writer last."""
    body = (
        "setp.eq.u32 %p1, %t, {}; @%p1 bra $skip; ld.global.b32 %r1, [%a0]; $skip: bar.warp.sync -1;"
        "@%p1 ld.global.b32 %r1, [%a0]; @%p1 st.global.b32 [%a0], 7; {}"
    )
    assert kinds(body.format(3, ""), words(1)) == set()
    assert kinds(body.replace("bar.warp.sync -1;", "").format(3, ""), words(1)) == {"race"}


@pytest.mark.parametrize("backwards", [False, True])
def test_blocks_share_nothing(backwards: bool) -> None:
    """One block writes what another reads or writes. Reading or writing the same value is allowed."""
    options = Options(blocks_backwards=backwards)
    own = "mov.u32 %r1, %ctaid.x; mad.wide.u32 %d1, %r1, 4, %a0;"
    both = {"grid": 2, "threads": 1, "options": options}
    assert (
        kinds(f"{own} ld.global.b32 %r2, [%a1]; st.global.b32 [%d1], %r2;", words(2), words(1), **both)
        == set()
    )
    assert kinds("st.global.b32 [%a0], 5;", words(1), **both) == set()
    assert kinds(f"{own} add.s32 %r1, %r1, 3; st.global.b32 [%a0], %r1;", words(1), **both) == {"race"}
    assert kinds(f"{own} ld.global.b32 %r2, [%a0]; st.global.b32 [%d1], 9;", words(2), **both) == {"race"}
    assert kinds(f"{own} ld.global.b32 %r2, [%a0+4]; st.global.b32 [%d1], 9;", words(2), **both) == {"race"}


def test_lanes_that_do_not_come() -> None:
    some = "setp.lt.u32 %p1, %t, 20; @!%p1 bra $end; {} $end:"
    assert kinds(some.format("redux.sync.add.s32 %r1, %t, 1048575;")) == set()
    assert kinds(some.format("redux.sync.add.s32 %r1, %t, -1;")) == {"missing lanes"}
    assert kinds(some.format("bar.warp.sync -1;")) == {"missing lanes"}
    assert kinds("redux.sync.add.s32 %r1, %t, 255;") == {"missing lanes"}
    assert kinds(some.format("shfl.sync.bfly.b32 %r1, %t, 16, 31, 1048575;")) == {"value of an inactive lane"}


def test_barriers_that_not_all_reach() -> None:
    assert kinds("setp.lt.u32 %p1, %t, 20; @%p1 bar.sync 0;", threads=64) == {"divergent barrier"}
    body = "setp.lt.u32 %p1, %t, {}; @%p1 bra $one; bar.sync 0; bra.uni $end; $one: bar.sync 0; $end:"
    assert kinds(body.format(20), threads=64) == {"divergent barrier"}
    assert kinds(body.format(32), threads=64) == {"divergent barrier"}
    assert kinds(body.format(64), threads=64) == set()


def test_reductions_of_a_block() -> None:
    out = words(64)
    for name, lanes, wanted in (("or", 1, True), ("or", 0, False), ("and", 64, True), ("and", 63, False)):
        body = (
            f"setp.lt.u32 %p1, %t, {lanes}; bar.red.{name}.pred %p2, 0, %p1; selp.b32 %r1, 1, 0, %p2;"
            "mad.wide.u32 %d1, %t, 4, %a0; st.global.b32 [%d1], %r1;"
        )
        assert kinds(body, out, threads=64) == set()
        assert torch.equal(out, torch.full_like(out, wanted))


def test_what_never_ends() -> None:
    assert kinds("$again: bra.uni $again;", options=Options(budget=1000)) == {"runaway"}
    assert kinds("trap;") == {"trap"}


def test_local_memory() -> None:
    body = (
        ".local .align 4 .b8 own[8]; st.local.b32 [own], %t; ld.local.b32 %r1, [own{}];"
        "mad.wide.u32 %d1, %t, 4, %a0; st.global.b32 [%d1], %r1;"
    )
    out = torch.zeros(32, dtype=torch.int32)
    assert kinds(body.format(""), out) == set()
    assert torch.equal(out, words(32))
    assert kinds(body.format("+8"), out) == {"out of bounds"}


@pytest.mark.parametrize("trans", ["", ".trans"])
def test_matrices_through_shared_memory(trans: str) -> None:
    """Matrices are unchanged after store and load, and transposed if the load transposes."""
    body = (
        "shl.b32 %r1, %t, 4; mov.u32 %r2, memory; add.u32 %r1, %r1, %r2;"
        "mul.lo.u32 %r3, %t, 131074; add.u32 %r3, %r3, 65536;"
        "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%r1], {{%r3, %r3, %r3, %r3}}; bar.warp.sync -1;"
        "ldmatrix.sync.aligned.m8n8.x4{}.shared.b16 {{%r4, %r5, %r6, %r7}}, [%r1];"
        "mad.wide.u32 %d1, %t, 4, %a0; st.global.b32 [%d1], %r6;"
    )
    out = torch.zeros(32, dtype=torch.int32)
    assert kinds(body.format(trans), out, shared_bytes=512) == set()
    matrix = torch.arange(64).view(8, 8)
    matrix = matrix.T if trans else matrix
    assert torch.equal(out, (matrix[:, ::2] + 65536 * matrix[:, 1::2]).reshape(-1).int())
    assert kinds(body.format(trans), out, shared_bytes=511) >= {"out of bounds"}


def test_a_fault_tells_where() -> None:
    with pytest.raises(FaultyLaunch) as caught:
        launch(COPY.format("", "", "", "+4"), words(64), words(64), threads=64)
    (fault,) = caught.value.faults
    assert (fault.block, fault.thread, fault.size, fault.count) == (0, 63, 4, 1)
    assert "out of bounds: `st.global.b32 [%d1+4], %r1`" in str(caught.value)
    assert "byte 256 of tensor 0, which has 256" in str(caught.value)


def test_work_is_counted() -> None:
    """Counts executions by warps, active lanes, and sectors of 32 bytes."""
    body = COPY.format("setp.lt.u32 %p1, %t, 8; @%p1 ", "", "", "")
    program = launch(
        body, torch.zeros(64, dtype=torch.int32), words(64), threads=64, options=Options(traffic=True)
    )
    code, counts = program.code, program.counts
    executed = dict(zip(code.statements, counts.executed.tolist(), strict=True))
    lanes = dict(zip(code.statements, counts.active_lanes.tolist(), strict=True))
    load, store = "@%p1 ld.global.b32 %r1, [%d2]", "st.global.b32 [%d1], %r1"
    assert (executed[load], lanes[load]) == (2, 8)
    assert (executed[store], lanes[store]) == (2, 64)
    assert counts.traffic.tolist() == [1, 32, 1, 8, 256, 2]
