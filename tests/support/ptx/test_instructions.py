"""Every instruction of the emulator against Python's integers and NumPy's floats."""

import math
import operator
import struct
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from tests.support.ptx import library
from tests.support.ptx.small_kernels import evaluate

pytestmark = pytest.mark.skipif(library.missing() is not None, reason=str(library.missing()))

RANDOM = np.random.default_rng(0)
DTYPES = {
    **{f"u{n}": f"uint{n}" for n in (8, 16, 32, 64)},
    **{f"s{n}": f"int{n}" for n in (8, 16, 32, 64)},
    **{f"b{n}": f"uint{n}" for n in (8, 16, 32, 64)},
    **{
        "f16": "float16",
        "f32": "float32",
        "f64": "float64",
        "pred": "bool",
        "u16x2": "uint32",
        "s16x2": "uint32",
    },
    "f32x2": "uint64",
}
INTEGERS = ("u16", "s16", "u32", "s32", "u64", "s64")
FLOATS = ("f32", "f64")


def values(kind: str, count: int) -> np.ndarray:
    """`count` corner cases and random values of a type, in random order."""
    dtype = np.dtype(DTYPES[kind])
    if dtype.kind == "b":
        return RANDOM.random(count) < 0.5
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        corners = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 3e4, np.inf, -np.inf, np.nan]
        corners += [limits.tiny, limits.smallest_subnormal, limits.max, 1 + limits.eps, 1 / 3]
        free = RANDOM.standard_normal(count) * 10.0 ** RANDOM.integers(-3, 4, count)
    else:
        limits = np.iinfo(dtype)
        corners = [0, 1, 2, 3, 31, 32, 33, limits.max, limits.max - 1, limits.min, limits.max // 2 + 1]
        free = RANDOM.integers(limits.min, limits.max, count, dtype, endpoint=True) >> RANDOM.integers(
            0, 8 * dtype.itemsize, count
        ).astype(dtype)
    chosen = np.where(
        RANDOM.random(count) < 0.5, RANDOM.choice(np.array(corners, dtype), count), free.astype(dtype)
    )
    return chosen.astype(dtype)


def wrapped(value: int, kind: str) -> int:
    """An integer wrapped to the range of the type."""
    bits = int(kind[1:])
    value %= 2**bits
    return value - 2**bits if kind[0] == "s" and value >= 2 ** (bits - 1) else value


def check(name: str, result: str, kinds: Iterable[str], function: Callable, count: int = 256) -> None:
    """The instruction gives the same values as the function."""
    inputs = [values(kind, count) for kind in kinds]
    operands = ", ".join(["%z", *(f"%x{i}" for i in range(len(inputs)))])
    got = evaluate(f"{name} {operands};", DTYPES[result], *inputs)
    is_float = DTYPES[result].startswith("float")
    columns = [array.tolist() if array.dtype.kind in "iub" else list(array) for array in inputs]
    with np.errstate(all="ignore"):
        wanted = [function(*row) for row in zip(*columns, strict=True)]
    wanted = np.array(wanted if is_float or result == "pred" else [wrapped(v, f"{result[0]}{result[1:3]}")
                      for v in wanted], DTYPES[result])  # fmt: skip
    same = (got == wanted) & (np.signbit(got) == np.signbit(wanted)) if is_float else got == wanted
    same |= np.isnan(got) & np.isnan(wanted) if is_float else False
    bad = np.flatnonzero(~same)[:3]
    assert not bad.size, [(tuple(array[i] for array in inputs), got[i], wanted[i]) for i in bad]


# Integers.


def quotient(a: int, b: int) -> int:
    if b == 0:
        return -1
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def remainder(a: int, b: int) -> int:
    return a if b == 0 else a - b * quotient(a, b)


ARITHMETIC = {
    "add": operator.add,
    "sub": operator.sub,
    "mul.lo": operator.mul,
    "min": min,
    "max": max,
    "div": quotient,
    "rem": remainder,
}
COMPARISONS = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
UNSIGNED = {"lo": operator.lt, "ls": operator.le, "hi": operator.gt, "hs": operator.ge}


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers(kind: str) -> None:
    bits = int(kind[1:])
    for name, function in ARITHMETIC.items():
        check(f"{name}.{kind}", kind, (kind, kind), function)
    check(f"mul.hi.{kind}", kind, (kind, kind), lambda a, b: a * b >> bits)
    check(f"mad.lo.{kind}", kind, (kind,) * 3, lambda a, b, c: a * b + c)
    check(f"mad.hi.{kind}", kind, (kind,) * 3, lambda a, b, c: (a * b >> bits) + c)
    check(f"shr.{kind}", kind, (kind, "u32"), lambda a, by: a >> min(by, 70))
    check(f"mov.{kind}", kind, (kind,), lambda a: a)
    check(f"selp.{kind}", kind, (kind, kind, "pred"), lambda a, b, c: a if c else b)
    if kind[0] == "s":
        check(f"neg.{kind}", kind, (kind,), operator.neg)
        check(f"abs.{kind}", kind, (kind,), abs)
    if bits < 64:
        wide = f"{kind[0]}{2 * bits}"
        check(f"mul.wide.{kind}", wide, (kind, kind), operator.mul)
        check(f"mad.wide.{kind}", wide, (kind, kind, wide), lambda a, b, c: a * b + c)
    for name, function in (COMPARISONS | (UNSIGNED if kind[0] == "u" else {})).items():
        check(f"setp.{name}.{kind}", "pred", (kind, kind), function)


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_bits(bits: int) -> None:
    kind = f"b{bits}"
    for name, function in {"and": operator.and_, "or": operator.or_, "xor": operator.xor}.items():
        check(f"{name}.{kind}", kind, (kind, kind), function)
    check(f"not.{kind}", kind, (kind,), operator.invert)
    check(f"shl.{kind}", kind, (kind, "u32"), lambda a, by: a << min(by, 70))
    check(f"shr.{kind}", kind, (kind, "u32"), lambda a, by: a >> min(by, 70))
    check(f"mov.{kind}", kind, (kind,), lambda a: a)
    check(f"selp.{kind}", kind, (kind, kind, "pred"), lambda a, b, c: a if c else b)
    check(f"setp.eq.{kind}", "pred", (kind, kind), operator.eq)
    check(f"setp.ne.{kind}", "pred", (kind, kind), operator.ne)
    if bits > 16:
        check(f"clz.{kind}", "u32", (kind,), lambda a: bits - a.bit_length())
        check(f"popc.{kind}", "u32", (kind,), int.bit_count)


def field(a: int, first: int, size: int, signed: bool) -> int:
    """As the loop in the PTX manual."""
    first, size = first % 256, size % 256
    sign = 0 if not signed or size == 0 else a >> min(first + size - 1, 31) & 1
    bits = [a >> (i + first) & 1 if i < size and i + first < 32 else sign for i in range(32)]
    return sum(bit << i for i, bit in enumerate(bits))


def with_field(a: int, b: int, first: int, size: int) -> int:
    first, size = first % 256, size % 256
    for i in range(size):
        if i + first < 32:
            b = b & ~(1 << (i + first)) | (a >> i & 1) << (i + first)
    return b


def permuted(a: int, b: int, selector: int) -> int:
    chosen = []
    for i in range(4):
        which = selector >> 4 * i & 15
        byte = (b << 32 | a) >> 8 * (which & 7) & 255
        chosen.append((255 if byte > 127 else 0) if which & 8 else byte)
    return int.from_bytes(bytes(chosen), "little")


def test_words() -> None:
    check("brev.b32", "b32", ("b32",), lambda a: int(f"{a:032b}"[::-1], 2))
    check("bfind.u32", "u32", ("u32",), lambda a: a.bit_length() - 1)
    check("bfind.shiftamt.u32", "u32", ("u32",), lambda a: 32 - a.bit_length() if a else -1)
    check("bfe.u32", "u32", ("u32",) * 3, lambda a, i, n: field(a, i, n, False))
    check("bfe.s32", "s32", ("s32", "u32", "u32"), lambda a, i, n: field(a % 2**32, i, n, True))
    check("bfi.b32", "b32", ("b32", "b32", "u32", "u32"), with_field)
    check("prmt.b32", "b32", ("b32",) * 3, permuted)
    both = lambda a, b: b << 32 | a  # noqa: E731
    check("shf.l.wrap.b32", "b32", ("b32",) * 3, lambda a, b, n: both(a, b) << (n & 31) >> 32)
    check("shf.r.wrap.b32", "b32", ("b32",) * 3, lambda a, b, n: both(a, b) >> (n & 31))
    check("shf.l.clamp.b32", "b32", ("b32",) * 3, lambda a, b, n: both(a, b) << min(n, 32) >> 32)
    check("shf.r.clamp.b32", "b32", ("b32",) * 3, lambda a, b, n: both(a, b) >> min(n, 32))
    for table in (0x80, 0xFE, 0x96, 0xCA, 0x1B):
        looked_up = lambda a, b, c, t=table: sum(  # noqa: E731
            (t >> ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1)) & 1) << i for i in range(32)
        )
        x = [values("b32", 64) for _ in range(3)]
        got = evaluate(f"lop3.b32 %z, %x0, %x1, %x2, {table};", "uint32", *x)
        assert got.tolist() == [looked_up(*row) for row in zip(*(a.tolist() for a in x), strict=True)]


@pytest.mark.parametrize("kind", ["u16x2", "s16x2"])
def test_pairs_of_integers(kind: str) -> None:
    def apart(word: int) -> list[int]:
        return [wrapped(part, kind[:3]) for part in (word, word >> 16)]

    for name, function in {"add": operator.add, "min": min, "max": max}.items():

        def of_pairs(a: int, b: int, function: Callable = function) -> int:
            low, high = (function(*two) % 2**16 for two in zip(apart(a), apart(b), strict=True))
            return high << 16 | low

        check(f"{name}.{kind}", "b32", ("b32", "b32"), of_pairs)


def test_predicates() -> None:
    check("mov.pred", "pred", ("pred",), bool)
    check("not.pred", "pred", ("pred",), operator.not_)
    check("and.pred", "pred", ("pred", "pred"), operator.and_)
    check("or.pred", "pred", ("pred", "pred"), operator.or_)
    check("xor.pred", "pred", ("pred", "pred"), operator.xor)
    a, b, c = (values(kind, 256) for kind in ("s32", "s32", "pred"))
    for name, combine in {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}.items():
        got = evaluate(f"setp.lt.{name}.s32 %z, %x0, %x1, !%x2;", "bool", a, b, c)
        assert (got == combine(a < b, ~c)).all()
        got = evaluate(f"setp.lt.{name}.s32 %p1|%z, %x0, %x1, %x2;", "bool", a, b, c)
        assert (got == combine(a >= b, c)).all()
    assert (evaluate("setp.lt.s32 %p1|%z, %x0, %x1;", "bool", a, b) == (a >= b)).all()
    got = evaluate("mov.b32 %z, %x1; @!%x2 mov.b32 %z, %x0;", "int32", a, b, c)
    assert (got == np.where(c, b, a)).all()


def test_vectors_are_packed_and_taken_apart() -> None:
    a, b, c, d = (values("b16", 64) for _ in range(4))
    words = [c.astype(np.uint32), d.astype(np.uint32) * 65537]
    got = evaluate("mov.b64 %z, {%x0, %x1};", "uint64", *words)
    assert (got == words[0] + (words[1].astype(np.uint64) << np.uint64(32))).all()
    got = evaluate("mov.b32 %z, {%x0, %x1};", "uint32", a, b)
    assert (got == a + (b.astype(np.uint32) << np.uint32(16))).all()
    together = np.stack([a, b, c, d], 1).view(np.uint64)[:, 0]
    assert (evaluate("mov.b64 %z, {%x0, %x1, %x2, %x3};", "uint64", a, b, c, d) == together).all()
    for which, part in enumerate((a, b, c, d)):
        names = ", ".join("%z" if i == which else "_" for i in range(4))
        assert (evaluate(f"mov.b64 {{{names}}}, %x0;", "uint16", together) == part).all()
    got = evaluate("mov.b32 {%h1, %h2}, %x0; add.s16 %z, %h1, %h2;", "uint16", words[1])
    assert (got == words[1].view(np.uint16).reshape(-1, 2).sum(1, dtype=np.uint16)).all()


# Floats.


def least(a: np.floating, b: np.floating) -> np.floating:
    if np.isnan(a) or np.isnan(b):
        return b if np.isnan(a) else a
    return a if (a, not np.signbit(a)) < (b, not np.signbit(b)) else b


def greatest(a: np.floating, b: np.floating) -> np.floating:
    return -least(-a, -b)


def unordered(a: np.floating, b: np.floating) -> bool:
    return bool(np.isnan(a) or np.isnan(b))


@pytest.mark.parametrize("kind", FLOATS)
def test_floats(kind: str) -> None:
    dtype = np.dtype(DTYPES[kind]).type
    for rounding in ("", ".rn"):
        for name in ("add", "sub", "mul"):
            check(f"{name}{rounding}.{kind}", kind, (kind, kind), getattr(operator, name))
    check(f"div.rn.{kind}", kind, (kind, kind), np.divide)
    check(f"rcp.rn.{kind}", kind, (kind,), lambda a: np.divide(dtype(1), a))
    check(f"sqrt.rn.{kind}", kind, (kind,), np.sqrt)
    check(f"neg.{kind}", kind, (kind,), operator.neg)
    check(f"abs.{kind}", kind, (kind,), abs)
    check(f"copysign.{kind}", kind, (kind, kind), lambda sign, a: np.copysign(a, sign))
    check(f"min.{kind}", kind, (kind, kind), least)
    check(f"max.{kind}", kind, (kind, kind), greatest)
    check(f"mov.{kind}", kind, (kind,), lambda a: a)
    check(f"selp.{kind}", kind, (kind, kind, "pred"), lambda a, b, c: a if c else b)
    for name, function in COMPARISONS.items():
        ordered = lambda a, b, f=function: not unordered(a, b) and f(a, b)  # noqa: E731
        check(f"setp.{name}.{kind}", "pred", (kind, kind), ordered)
        check(
            f"setp.{name}u.{kind}", "pred", (kind, kind), lambda a, b, f=ordered: unordered(a, b) or f(a, b)
        )
    check(f"setp.num.{kind}", "pred", (kind, kind), lambda a, b: not unordered(a, b))
    check(f"setp.nan.{kind}", "pred", (kind, kind), unordered)


def test_fused_multiplication() -> None:
    """Against exact numbers; in float64 for sums that cancel to the rounding error of the product."""
    from fractions import Fraction

    a, b = (RANDOM.standard_normal(256).astype(np.float32) for _ in range(2))
    c = (-a.astype(np.float64) * b * (1 + RANDOM.standard_normal(256) * 1e-7)).astype(np.float32)
    exact = [
        Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)) for x, y, z in zip(a, b, c, strict=True)
    ]
    got = evaluate("fma.rn.f32 %z, %x0, %x1, %x2;", "float32", a, b, c)
    assert got.tolist() == [float(np.float32(float(value))) for value in exact]
    down = evaluate("fma.rm.f32 %z, %x0, %x1, %x2;", "float32", a, b, c)
    for value, lower in zip(exact, down, strict=True):
        assert Fraction(float(lower)) <= value < Fraction(float(np.nextafter(lower, np.float32(np.inf))))
    wide = [a.astype(np.float64) * np.pi, b.astype(np.float64) * np.e]
    product = wide[0] * wide[1]
    got = evaluate("fma.rn.f64 %z, %x0, %x1, %x2;", "float64", *wide, -product)
    lost = [
        Fraction(x) * Fraction(y) - Fraction(z)
        for x, y, z in zip(*map(np.ndarray.tolist, (*wide, product)), strict=True)
    ]
    assert got.tolist() == [float(value) for value in lost]


def flushed(a: np.floating) -> np.floating:
    return np.copysign(np.float32(0), a) if abs(a) < np.finfo(np.float32).tiny else a


def test_float32_alone() -> None:
    nan = np.float32(np.nan)
    for name, function in {"min": least, "max": greatest}.items():
        check(f"{name}.f32", "f32", ("f32",) * 3, lambda a, b, c, f=function: f(f(a, b), c))
        strict = lambda *x, f=function: nan if np.isnan(x).any() else f(*x)  # noqa: E731
        check(f"{name}.NaN.f32", "f32", ("f32",) * 2, strict)
        check(f"{name}.NaN.f32", "f32", ("f32",) * 3, lambda a, b, c, f=strict: f(f(a, b), c))
    check("mul.ftz.f32", "f32", ("f32",) * 2, lambda a, b: flushed(flushed(a) * flushed(b)))
    check("abs.ftz.f32", "f32", ("f32",), lambda a: flushed(abs(a)))
    check("div.full.f32", "f32", ("f32",) * 2, np.divide)
    check("div.approx.f32", "f32", ("f32",) * 2, np.divide)


def pair(word: int) -> list[np.float32]:
    return [np.float32(part) for part in struct.unpack("<2f", struct.pack("<Q", word))]


def test_pairs_of_floats() -> None:
    a, b, c = (values("f32", 512) for _ in range(3))
    with np.errstate(all="ignore"):
        wanted = {"add": a + b, "sub": a - b, "mul": a * b}
    for rounding in ("", ".rn"):
        for name, result in wanted.items():
            got = evaluate(
                f"{name}{rounding}.f32x2 %z, %x0, %x1;", "uint64", a.view(np.uint64), b.view(np.uint64)
            )
            np.testing.assert_array_equal(got.view(np.float32), result)
    fused = evaluate("fma.rn.f32 %z, %x0, %x1, %x2;", "float32", a, b, c)
    got = evaluate("fma.rn.f32x2 %z, %x0, %x1, %x2;", "uint64", *(x.view(np.uint64) for x in (a, b, c)))
    np.testing.assert_array_equal(got.view(np.float32), fused)


@pytest.mark.parametrize(
    ("name", "function"),
    [("rcp", lambda a: 1 / a), ("rsqrt", lambda a: 1 / np.sqrt(a)), ("sqrt", np.sqrt), ("ex2", np.exp2),
     ("lg2", np.log2)],
)  # fmt: skip
def test_approximations(name: str, function: Callable) -> None:
    a = np.abs(values("f32", 256))
    a = a[np.isfinite(a) & (a > 1e-30) & (a < 100)]
    for flush in ("", ".ftz") if name != "rsqrt" else ("",):
        got = evaluate(f"{name}.approx{flush}.f32 %z, %x0;", "float32", a)
        np.testing.assert_allclose(got, function(a.astype(np.float64)), rtol=3e-7, atol=1e-7)
    if name in ("rcp", "rsqrt"):
        got = evaluate(f"{name}.approx.ftz.f64 %z, %x0;", "float64", a.astype(np.float64))
        np.testing.assert_allclose(got, function(a.astype(np.float64)), rtol=2**-20)


# Conversions.


def whole(value: np.floating, kind: str, size: int) -> int:
    """A float converted to an integer type, clamped to its range."""
    bits = int(kind[1:])
    if np.isnan(value):
        return 1 << (bits - 1) if 8 in (size, bits // 8) else 0
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if kind[0] == "s" else (0, (1 << bits) - 1)
    return high if value >= high else low if value <= low else int(value)


ROUNDINGS = {"rzi": np.trunc, "rni": np.rint, "rmi": np.floor, "rpi": np.ceil}


@pytest.mark.parametrize("source", ["u8", "s8", *INTEGERS])
def test_integers_to_all(source: str) -> None:
    for to in ("u8", "s8", *INTEGERS):
        check(f"cvt.{to}.{source}", to, (source,), lambda a: a)
    check(f"cvt.rn.f32.{source}", "f32", (source,), lambda a: np.float32(np.array(a, DTYPES[source])))
    check(f"cvt.rn.f64.{source}", "f64", (source,), float)


@pytest.mark.parametrize("source", FLOATS)
def test_floats_to_integers(source: str) -> None:
    size = np.dtype(DTYPES[source]).itemsize
    for name, rounded in ROUNDINGS.items():
        for to in INTEGERS:
            check(f"cvt.{name}.{to}.{source}", to, (source,), lambda a, r=rounded, t=to: whole(r(a), t, size))
        check(f"cvt.{name}.{source}.{source}", source, (source,), rounded)


def test_floats_to_floats() -> None:
    check("cvt.f64.f32", "f64", ("f32",), np.float64)
    check("cvt.rn.f32.f64", "f32", ("f64",), np.float32)
    check("cvt.sat.f32.f32", "f32", ("f32",), lambda a: np.float32(0) if np.isnan(a) or a <= 0 else min(a, 1))
    halves = np.arange(2**16, dtype=np.uint16)[:: 2**16 // 1024]
    np.testing.assert_array_equal(
        evaluate("cvt.f32.f16 %z, %x0;", "float32", halves), halves.view(np.float16)
    )
    np.testing.assert_array_equal(
        evaluate("cvt.f64.f16 %z, %x0;", "float64", halves), halves.view(np.float16)
    )
    check("cvt.rn.f16.f32", "f16", ("f32",), np.float16, 1024)
    wide = halves.astype(np.uint32) << np.uint32(16)
    np.testing.assert_array_equal(evaluate("cvt.f32.bf16 %z, %x0;", "float32", halves), wide.view(np.float32))
    import torch

    single = values("f32", 1024)
    got = evaluate("cvt.rn.bf16.f32 %z, %x0;", "int16", single)
    wanted = torch.from_numpy(single).bfloat16()
    same = torch.from_numpy(got).view(torch.bfloat16)
    assert torch.equal(same[~same.isnan()], wanted[~wanted.isnan()])
    assert torch.equal(same.isnan(), wanted.isnan())


def test_comparisons_of_halves() -> None:
    a, b = values("f16", 512), values("f16", 512)
    for name in COMPARISONS:
        for end in ("", "u"):
            got = evaluate(
                f"setp.{name}{end}.f16 %z, %x0, %x1;", "bool", a.view(np.uint16), b.view(np.uint16)
            )
            same = evaluate(
                f"setp.{name}{end}.f32 %z, %x0, %x1;", "bool", a.astype(np.float32), b.astype(np.float32)
            )
            assert (got == same).all()


def test_registers_wider_than_their_values() -> None:
    a = values("s64", 128)
    assert (evaluate("cvt.s64.s8 %z, %x0;", "int64", a) == a.astype(np.int8)).all()
    assert (evaluate("cvt.u64.u16 %z, %x0;", "uint64", a) == a.astype(np.uint16)).all()
    assert (evaluate("cvt.s16.s8 %z, %x0;", "int16", a.astype(np.int32)) == a.astype(np.int8)).all()
    assert (evaluate("cvt.u8.s64 %d1, %x0; mov.b64 %z, %d1;", "uint64", a) == a.astype(np.uint8)).all()
    assert math.isinf(evaluate("mov.f64 %z, 0f7F800000;", "float64", a)[0])


# Lanes of a warp.

LANE = np.arange(64, dtype=np.uint32)


@pytest.mark.parametrize("width", [32, 16, 4])
@pytest.mark.parametrize("by", [0, 1, 3, 16, 31])
def test_shuffles(by: int, width: int) -> None:
    x = values("b32", 64)
    lane, start = LANE % 32, LANE // 32 * 32
    first = lane & ~np.uint32(width - 1)
    segment = 32 - width << 8
    ways = {
        "up": (lane.astype(int) - by, segment), "down": (lane.astype(int) + by, segment | 31),
        "bfly": ((lane ^ by).astype(int), segment | 31),
        "idx": ((first | (by & (width - 1))).astype(int), segment | 31),
    }  # fmt: skip
    for way, (source, clamp) in ways.items():
        last = first + width - 1
        inside = source >= first if way == "up" else source <= last
        wanted = x[start + np.where(inside, source, lane)]
        shuffle = f"shfl.sync.{way}.b32 %r1|%p1, %x0, {by}, {clamp}, -1;"
        assert (evaluate(f"{shuffle} mov.b32 %z, %r1;", "uint32", x) == wanted).all()
        assert (evaluate(f"{shuffle} mov.pred %z, %p1;", "bool", x) == inside).all()


def test_votes() -> None:
    for share in (0.0, 0.03, 0.5, 0.97, 1.0):
        p = RANDOM.random(64) < share
        warps = p.reshape(2, 32)
        ballots = (warps.astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(1)
        got = evaluate("vote.sync.ballot.b32 %z, %x0, -1;", "uint32", p)
        assert (got == ballots.repeat(32)).all()
        assert (evaluate("vote.sync.any.pred %z, %x0, -1;", "bool", p) == warps.any(1).repeat(32)).all()
        assert (evaluate("vote.sync.all.pred %z, !%x0, -1;", "bool", p) == (~warps).all(1).repeat(32)).all()


@pytest.mark.parametrize(("name", "function"), [("add", np.add), ("min", np.minimum), ("max", np.maximum)])
def test_reductions_of_numbers(name: str, function: np.ufunc) -> None:
    for kind in ("s32", "u32", *(["f32"] if name != "add" else [])):
        x = values(kind, 64)
        x = np.where(np.isnan(x), 1, x).astype(x.dtype) + x.dtype.type(0)
        got = evaluate(f"redux.sync.{name}.{kind} %z, %x0, -1;", DTYPES[kind], x)
        assert (got == function.reduce(x.reshape(2, 32), 1, dtype=x.dtype).repeat(32)).all()


def test_reductions_of_bits() -> None:
    x = values("b32", 64)
    for name, function in {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}.items():
        got = evaluate(f"redux.sync.{name}.b32 %z, %x0, -1;", "uint32", x)
        assert (got == function.reduce(x.reshape(2, 32), 1).repeat(32)).all()


def test_lanes_part_and_meet() -> None:
    """A loop with a different number of turns per lane, followed by a shuffle of all lanes."""
    turns = RANDOM.integers(0, 9, 64).astype(np.uint32)
    text = (
        "mov.b32 %r1, 0; mov.b32 %r2, 0;\n"
        "$again: setp.ge.u32 %p1, %r1, %x0; @%p1 bra $done;\n"
        "add.u32 %r1, %r1, 1; add.u32 %r2, %r2, %r1; bra.uni $again;\n"
        "$done: shfl.sync.bfly.b32 %z, %r2, 1, 31, -1;"
    )
    sums = turns * (turns + 1) // 2
    assert (evaluate(text, "uint32", turns) == sums[LANE ^ 1]).all()


def test_lanes_wait_for_those_that_a_mask_names() -> None:
    """Lanes on one side of a branch wait for the lanes on the other side."""
    x = values("b32", 32)
    text = (
        "and.b32 %r1, %t, 1; setp.eq.u32 %p1, %r1, 0; mov.b32 %r2, %x0; @%p1 bra $even;\n"
        "add.u32 %r2, %r2, 7; bra.uni $join;\n$even: add.u32 %r2, %r2, 9;\n"
        "$join: redux.sync.add.u32 %z, %r2, -1;"
    )
    assert (evaluate(text, "uint32", x) == (x.sum(dtype=np.uint32) + np.uint32(16 * 16))).all()


def test_special_registers() -> None:
    import torch

    from tests.support.ptx.small_kernels import launch

    out = torch.zeros(3 * 96, 3, dtype=torch.int32)
    body = (
        "mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mad.lo.s32 %r3, %r1, %r2, %t;"
        "mad.wide.u32 %d1, %r3, 12, %a0;"
        "mov.u32 %r4, %laneid; mov.u32 %r5, %warpid; mov.u32 %r6, %nctaid.x;"
        "st.global.b32 [%d1], %r4; st.global.b32 [%d1+4], %r5; st.global.b32 [%d1+8], %r6;"
    )
    launch(body, out, threads=96, grid=3)
    thread = torch.arange(96).repeat(3)
    assert torch.equal(out, torch.stack([thread % 32, thread // 32, thread * 0 + 3], 1).int())
