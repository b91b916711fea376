"""Assembles PTX text to the rows that the core executes.

Most instructions need only their name, since the core defines their operands. This file handles instructions
whose operands are vectors, addresses, labels or pairs, and instructions that become several rows. An unknown
instruction, modifier or operand is an error that names it; nothing is guessed.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from tests.support.ptx.library import OPERANDS, Row, signature

NEWEST = (9, 5)  # the newest version of PTX that has been tested
LANES = 32
SIZES = {
    **dict.fromkeys(("b8", "u8", "s8"), 1),
    **dict.fromkeys(("b16", "u16", "s16", "f16", "bf16"), 2),
    **dict.fromkeys(("b32", "u32", "s32", "f32", "f16x2", "u16x2", "s16x2"), 4),
    **dict.fromkeys(("b64", "u64", "s64", "f64", "f32x2"), 8),
}
# Special registers, in the order of `special` in run.cpp.
SPECIALS = (
    *(f"%{name}.{axis}" for name in ("tid", "ntid", "ctaid", "nctaid") for axis in "xyz"),
    "%laneid",
    "%warpid",
)
# Modifiers of loads and stores that do not change values, such as cache hints.
_HINTS = {"nc", "ca", "cg", "cs", "wb", "wt", "weak", "relaxed", "cta", "gpu", "volatile", "ptr"}
_SPACES = {
    "global": "global",
    "shared": "shared",
    "shared::cta": "shared",
    "local": "local",
    "param": "param",
}
_JUNK = 0xDEADBEEF


class UnknownPTX(NotImplementedError):
    """PTX that the emulator does not support."""


class Register(NamedTuple):
    """A place in the register file, or among the predicates."""

    kind: str  # "4" or "8" bytes per lane, or "p"
    place: int


@dataclass
class Code:
    """An assembled kernel."""

    name: str
    parameters: list[tuple[str, int]]  # type and offset
    threads: tuple[int, int, int] | None  # per block, if the text sets them
    names: list[str]
    rows: list[Row]
    statements: list[str]  # the text of each row
    is_first: list[bool]  # whether a row is the first of its statement
    sources: list[str]  # file and line of each row, if the text has them
    registers: npt.NDArray[np.uint32]  # initial values, (places, lanes)
    predicates: npt.NDArray[np.uint32]
    specials: list[tuple[int, int]]
    shared_bytes: int  # in addition to those of the launch
    local_bytes: int


def assemble(text: str, name: str) -> Code:
    """Assemble the kernel `name` of a module.

    Raises:
        UnknownPTX: if the text is newer than `NEWEST`, or uses anything that the emulator does not support.
    """
    return _Assembler(_module(text), name).code


@dataclass(frozen=True)
class _Module:
    kernels: dict[str, tuple[str, str, str]]  # parameters, attributes and body
    shared: list[str]  # declarations
    files: dict[str, str]


@cache
def _module(text: str) -> _Module:
    version = re.search(r"^\s*\.version\s+(\d+)\.(\d+)", text, re.MULTILINE)
    if version is None:
        raise UnknownPTX("PTX: got a text without a version, wanted one")
    if tuple(map(int, version.groups())) > NEWEST:
        wanted = f"at most {'.'.join(map(str, NEWEST))}, the newest that the emulator was tried with"
        raise UnknownPTX(f"PTX: got version {'.'.join(version.groups())}, wanted {wanted}")
    files = dict(re.findall(r'^\s*\.file\s+(\d+)\s+(?:"[^"]*"\s+)?"(?:[^"]*/)?([^"/]*)"', text, re.MULTILINE))
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    text = re.sub(r"//[^\n]*|^\s*\.file[^\n]*", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*(\.loc\s+[^\n]*)", r"\1;", text, flags=re.MULTILINE)
    kernels = {}
    outside, end = "", 0
    for match in re.finditer(r"(?:\.visible\s+)?\.entry\s+([\w$]+)\s*\(([^)]*)\)([^{]*)\{", text):
        outside += text[end : match.start()]
        end = _closing(text, match.end())
        kernels[match[1]] = (match[2], match[3], text[match.end() : end - 1])
    outside += text[end:]
    return _Module(kernels, re.findall(r"\.shared\s[^;]*", outside), files)


def _closing(text: str, start: int) -> int:
    """The end of the block whose opening brace is before `start`."""
    depth = 1
    for match in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return match.end()
    raise UnknownPTX("PTX: got a kernel without an end, wanted one")


def _statements(body: str) -> Iterator[tuple[str, str]]:
    """The labels, braces and statements of a kernel: kind and text of each."""
    pattern = re.compile(r"\s*(?:([{}])|([$\w]+)\s*:(?!:)|([^;]*);)")
    place, end = 0, len(body.rstrip())
    while place < end:
        match = pattern.match(body, place)
        if match is None:
            raise UnknownPTX(f"PTX: got {body[place : place + 40].strip()!r}, wanted a statement")
        place = match.end()
        if match[1]:
            yield "brace", match[1]
        elif match[2]:
            yield "label", match[2]
        elif statement := " ".join(match[3].split()):
            yield "statement", statement


def _operands(text: str) -> list[str]:
    """Split operands at commas, except commas within brackets and braces."""
    return [part.strip() for part in re.findall(r"(?:[^,\[{]|\[[^\]]*\]|\{[^}]*\})+", text) if part.strip()]


@dataclass
class _Assembler:
    """Assembles a kernel's statements in one pass; branches get their targets at the end."""

    module: _Module
    name: str
    code: Code = field(init=False)

    def __post_init__(self) -> None:
        if self.name not in self.module.kernels:
            raise UnknownPTX(f"kernel: got {self.name!r}, wanted one of {', '.join(self.module.kernels)}")
        parameters, attributes, body = self.module.kernels[self.name]
        self.places = 0  # number of register places so far
        self.constants: dict[tuple[str, int], Register] = {}
        self.specials: dict[str, Register] = {}
        self.truths: list[int | None] = []  # per predicate, its value if it is a constant
        self.scopes: list[dict[str, Register]] = [{}]
        self.symbols: dict[str, int] = {}  # addresses in shared or local memory
        self.sizes = {"shared": 0, "local": 0}
        self.open_ended: set[str] = set()
        self.names: dict[str, int] = {}
        self.statement = self.location = ""
        self.guard: tuple[int, int] = (-1, 0)
        self.branches: list[tuple[Row, str]] = []
        self.parameters: dict[str, int] = {}
        threads = re.search(r"\.(?:req|max)ntid\s+(\d+)(?:\s*,\s*(\d+)\s*,\s*(\d+))?", attributes)
        exact = threads if threads and "reqntid" in threads[0] else None
        shape = None if exact is None else tuple(int(n or 1) for n in exact.groups())
        empty = np.empty(0, np.uint32)
        self.code = Code(self.name, [], shape, [], [], [], [], [], empty, empty, [], 0, 0)  # type: ignore[arg-type]
        self._declare_parameters(parameters)
        for declaration in sorted(self.module.shared, key=lambda text: text.rstrip().endswith("[]")):
            self._declare_memory(declaration)
        self._assemble(body)
        self._finish()

    def _fail(self, what: str) -> NoReturn:
        raise UnknownPTX(f"{self.name}: got {what} in {self.statement!r}, wanted what the emulator knows")

    def _assemble(self, body: str) -> None:
        labels = {}
        for kind, text in _statements(body):
            if kind == "label":
                labels[text] = len(self.code.rows)
            elif kind == "brace":
                self.scopes.append({}) if text == "{" else self.scopes.pop()
            elif text.startswith(".loc "):
                self.location = text
            else:
                self.statement = text
                before = len(self.code.rows)
                self._declare(text) if text.startswith(".") else self._instruction(text)
                added = len(self.code.rows) - before
                self.code.is_first += [True, *[False] * (added - 1)][:added]
        self.statement = "the end of the kernel"
        self.guard = (-1, 0)
        self._add("exit/0")
        self.code.is_first.append(False)
        for row, label in self.branches:
            if label not in labels:
                self._fail(f"the label {label}")
            row.target = labels[label]

    def _finish(self) -> None:
        code = self.code
        registers = np.full((self.places, LANES), _JUNK, np.uint32)
        for (kind, value), register in self.constants.items():
            registers[register.place] = value & 0xFFFFFFFF
            if kind == "8":
                both = np.full(LANES, value, np.uint64).view(np.uint32)
                registers[register.place : register.place + 2] = both.reshape(2, LANES)
        code.registers = registers
        code.predicates = np.array([0xA5A5A5A5 if t is None else t for t in self.truths], np.uint32)
        code.specials = [(SPECIALS.index(name), register.place) for name, register in self.specials.items()]
        code.names = list(self.names)
        code.shared_bytes, code.local_bytes = self.sizes["shared"], self.sizes["local"]

    # Declarations.

    def _declare_parameters(self, text: str) -> None:
        end = 0
        for parameter in filter(None, map(str.strip, text.split(","))):
            self.statement = parameter
            match = re.fullmatch(r"\.param((?:\s+\.?\w+)*)\s+([\w$]+)", parameter)
            types = [t for t in match[1].replace(".", "").split() if t in SIZES] if match else []
            if match is None or len(types) != 1:
                self._fail("a parameter")
            size = SIZES[types[0]]
            offset = -(-end // size) * size
            self.parameters[match[2]] = offset
            self.code.parameters.append((types[0], offset))
            end = offset + size

    def _declare(self, text: str) -> None:
        directive = text.split(maxsplit=1)[0]
        if directive == ".reg":
            _, kind, names = text.split(None, 2)
            for name in map(str.strip, names.split(",")):
                several = re.fullmatch(r"(.+)<(\d+)>", name)
                if several:
                    for number in range(int(several[2])):
                        self.scopes[-1][f"{several[1]}{number}"] = self._register(kind[1:])
                else:
                    self.scopes[-1][name] = self._register(kind[1:])
        elif directive in (".shared", ".local"):
            self._declare_memory(text)
        elif directive != ".pragma":
            self._fail(directive)

    def _declare_memory(self, text: str) -> None:
        self.statement = text
        match = re.fullmatch(
            r"\.(shared|local)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)\s*(?:\[(\d*)\])?", text.strip()
        )
        if match is None or match[3] not in SIZES:
            self._fail("a declaration")
        space, align, size = match[1], int(match[2] or 1), SIZES[match[3]]
        # An array without a size is the dynamic shared memory of the launch, after all other arrays.
        if space in self.open_ended:
            self._fail("an array behind that of the launch")
        if match[5] == "":
            self.open_ended.add(space)
        count = 1 if match[5] is None else int(match[5] or 0)
        begin = -(-self.sizes[space] // align) * align
        self.symbols[match[4]] = begin
        self.sizes[space] = begin + count * size

    def _register(self, kind: str) -> Register:
        if kind == "pred":
            self.truths.append(None)
            return Register("p", len(self.truths) - 1)
        if kind not in SIZES:
            self._fail(f"a register of {kind}")
        wide = SIZES[kind] == 8
        self.places += 2 if wide else 1
        return Register("8" if wide else "4", self.places - (2 if wide else 1))

    def _constant(self, value: int, kind: str) -> Register:
        value &= 2**64 - 1 if kind == "8" else 2**32 - 1
        if (kind, value) not in self.constants:
            self.constants[kind, value] = self._register("b64" if kind == "8" else "b32")
        return self.constants[kind, value]

    # Operands.

    def _lookup(self, name: str) -> Register | None:
        if name in SPECIALS:
            if name not in self.specials:
                self.specials[name] = self._register("b32")
            return self.specials[name]
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def _number(self, text: str, kind: str) -> int | None:
        """The bits of a constant: an integer, a float given by its bits, or the address of a variable."""
        if match := re.fullmatch(r"0[fF]([0-9a-fA-F]{8})", text):
            value = int(match[1], 16)
            if kind == "4":
                return value
            single = struct.unpack("<f", struct.pack("<I", value))[0]
            return int(struct.unpack("<Q", struct.pack("<d", single))[0])
        if match := re.fullmatch(r"0[dD]([0-9a-fA-F]{16})", text):
            return int(match[1], 16) if kind == "8" else None
        if re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|[1-9]\d*|0)U?", text):
            return int(text.rstrip("U"), 0)
        match = re.fullmatch(r"([\w$]+)(?:\s*\+\s*(\d+))?", text)
        return self.symbols[match[1]] + int(match[2] or 0) if match and match[1] in self.symbols else None

    def _operand(self, text: str, kind: str) -> int:
        """The place of a register or constant of this kind; -1 for a discarded destination."""
        if text == "_":
            return -1
        if kind == "p":
            return self._predicate(text)
        register = self._lookup(text)
        if register is None:
            value = self._number(text, kind)
            if value is None:
                self._fail(f"the operand {text}")
            register = self._constant(value, kind)
        if register.kind != kind:
            self._fail(f"the operand {text} of another size")
        return register.place

    def _predicate(self, text: str) -> int:
        if text.startswith("!"):
            opposite = self._register("pred")
            guard, self.guard = self.guard, (-1, 0)
            self._add("not.pred/2", [opposite.place, self._predicate(text[1:].strip())])
            self.guard = guard
            return opposite.place
        if text in ("0", "1", "-1", "true", "false"):
            self.truths.append(0 if text in ("0", "false") else 0xFFFFFFFF)
            return len(self.truths) - 1
        register = self._lookup(text)
        if register is None or register.kind != "p":
            self._fail(f"the predicate {text}")
        return register.place

    def _address(self, text: str) -> tuple[str, int]:
        """The base and the offset of `[base + offset]`."""
        match = re.fullmatch(r"\[\s*([%$\w.]+)\s*(?:\+\s*(-?\w+)|(-\d+))?\s*\]", text)
        if match is None:
            self._fail(f"the address {text}")
        return match[1], int(match[2] or match[3] or "0", 0)

    # Instructions.

    def _add(self, name: str, places: list[int] | None = None, **fields: int) -> Row:
        if signature(name) is None:
            self._fail(f"the instruction {name.split('/', maxsplit=1)[0]}")
        places = places or []
        row = Row(
            self.names.setdefault(name, len(self.names)), *self.guard, **fields,
            operands=(*places, *[-1] * (OPERANDS - len(places))),
        )  # fmt: skip
        self.code.rows.append(row)
        self.code.statements.append(self.statement)
        places_in_source = re.findall(r"(\d+) (\d+) \d+", self.location)
        self.code.sources.append(
            ", ".join(f"{self.module.files.get(file, file)}:{line}" for file, line in places_in_source)
        )
        return row

    def _instruction(self, text: str) -> None:
        self.guard = (-1, 0)
        if match := re.fullmatch(r"@(!?)\s*([%\w$]+)\s+(.*)", text):
            self.guard = (self._predicate(match[2]), int(match[1] == "!"))
            text = match[3]
        opcode, _, rest = text.partition(" ")
        base = opcode.split(".")[0]
        special = {
            "ld": self._access, "st": self._access, "ldmatrix": self._matrix, "stmatrix": self._matrix,
            "mov": self._move, "cvt": self._convert, "cvta": self._generic, "setp": self._compare,
            "shfl": self._shuffle, "bra": self._branch, "ret": self._exit, "bar": self._barrier,
            "barrier": self._barrier,
        }.get(base, self._plain)  # fmt: skip
        special(opcode, _operands(rest))

    def _plain(self, opcode: str, operands: list[str]) -> None:
        """An instruction that its signature describes completely."""
        name = f"{opcode}/{len(operands)}"
        kinds = signature(name)
        if kinds is None:
            self._fail(f"the instruction {opcode}")
        # Before adding the row, since a negated predicate adds an instruction.
        places = [self._operand(text, kind) for text, kind in zip(operands, kinds, strict=True)]
        self._add(name, places)

    def _branch(self, opcode: str, operands: list[str]) -> None:
        if opcode not in ("bra", "bra.uni") or len(operands) != 1:
            self._fail(f"the instruction {opcode}")
        self.branches.append((self._add("bra/0"), operands[0]))

    def _exit(self, opcode: str, operands: list[str]) -> None:
        self._add("exit/0")

    def _barrier(self, opcode: str, operands: list[str]) -> None:
        """A barrier of a warp, or barrier 0 of all threads of the block."""
        opcode = opcode.replace("barrier.sync.aligned", "bar.sync").replace("barrier.cta", "bar")
        if opcode == "bar.warp.sync":
            self._plain(opcode, operands)
        elif opcode == "bar.sync" and operands == ["0"]:
            self._add("bar.sync/0")
        elif opcode in ("bar.red.or.pred", "bar.red.and.pred") and operands[1:2] == ["0"]:
            places = [self._predicate(operands[0]), self._predicate(operands[2])]
            self._add("bar.red/2", places, count=1 if "or" in opcode.split(".") else 2)
        else:
            self._fail(f"the instruction {opcode}")

    def _compare(self, opcode: str, operands: list[str]) -> None:
        """A comparison. With an opposite result or a combined predicate it becomes several rows."""
        parts = opcode.split(".")
        combine = parts.pop(2) if parts[2] in ("and", "or", "xor") else None
        results = [text.strip() for text in operands[0].split("|")]
        if combine is None and len(results) == 1:
            self._plain(opcode, operands)
            return
        compared = results[0] if combine is None else f"%{len(self.truths)} of {self.statement}"
        if combine is not None:
            self.scopes[-1][compared] = self._register("pred")
        self._plain(".".join(parts), [compared, *operands[1:3]])
        if combine is None:
            self._plain("not.pred", [results[1], compared])
            return
        if len(results) > 1:
            self._plain("not.pred", [results[1], compared])
            self._plain(f"{combine}.pred", [results[1], results[1], operands[3]])
        self._plain(f"{combine}.pred", [results[0], compared, operands[3]])

    def _shuffle(self, opcode: str, operands: list[str]) -> None:
        value, _, inside = operands[0].partition("|")
        self._plain(opcode, [value.strip(), inside.strip() or "_", *operands[1:]])

    def _generic(self, opcode: str, operands: list[str]) -> None:
        """A generic address equals the global one; those of other spaces are not supported."""
        if opcode not in ("cvta.to.global.u64", "cvta.global.u64"):
            self._fail(f"the instruction {opcode}")
        self._plain("mov.u64", operands)

    def _move(self, opcode: str, operands: list[str]) -> None:
        """A move, which may pack or unpack a vector, by halves."""
        to, value = operands
        kind = opcode.split(".")[1]
        if to.startswith("{"):
            self._unpack(kind, self._elements(to), value)
        elif value.startswith("{"):
            self._pack(kind, to, self._elements(value))
        else:
            self._plain(opcode, operands)

    def _elements(self, text: str) -> list[str]:
        return [element.strip() for element in text.strip("{} ").split(",")]

    def _part(self, kind: str) -> tuple[str, str]:
        """The type of half the size, and a new register of that type."""
        half = f"b{4 * SIZES[kind]}"
        name = f"%{self.places} of {self.statement}"
        self.scopes[-1][name] = self._register("b16" if half == "b8" else half)
        return half, name

    def _pack(self, kind: str, to: str, elements: list[str]) -> None:
        kind = f"b{8 * SIZES[kind]}"
        if len(elements) > 2:
            middle = len(elements) // 2
            parts = []
            for some in (elements[:middle], elements[middle:]):
                half, name = self._part(kind)
                self._pack(half, name, some)
                parts.append(name)
            elements = parts
        self._plain(f"pack.{kind}", [to, *elements])

    def _unpack(self, kind: str, elements: list[str], value: str) -> None:
        kind = f"b{8 * SIZES[kind]}"
        middle = len(elements) // 2
        parts = []
        # Unpack to new registers first, since an element may be the source register.
        for which, some in (("low", elements[:middle]), ("high", elements[middle:])):
            half, name = self._part(kind)
            self._plain(f"{which}.{kind}", [name, value])
            parts.append((half, name, some))
        for half, name, some in parts:
            if len(some) > 1:
                self._unpack(half, some, name)
            elif some[0] != "_":
                self._plain(f"mov.{'b16' if half == 'b8' else half}", [some[0], name])

    def _convert(self, opcode: str, operands: list[str]) -> None:
        """A conversion, whose registers may be wider than its types."""
        to_type, from_type = opcode.split(".")[-2:]
        if to_type not in SIZES or from_type not in SIZES:
            self._fail(f"the instruction {opcode}")
        to, value = operands
        source, result = self._lookup(value), self._lookup(to)
        if source and source.kind == "8" and SIZES[from_type] < 8:
            _, narrow = self._part("b64")
            self._plain("cvt.u32.u64", [narrow, value])
            value = narrow
        if result and result.kind == "8" and SIZES[to_type] < 8:
            _, narrow = self._part("b64")
            self._plain(opcode, [narrow, value])
            self._plain("cvt.s64.s32" if to_type[0] == "s" else "cvt.u64.u32", [to, narrow])
        else:
            self._plain(opcode, [to, value])

    def _access(self, opcode: str, operands: list[str]) -> None:
        """A load or store of one value or one vector per lane."""
        base, *modifiers, kind = opcode.split(".")
        space, count = None, 1
        for modifier in modifiers:
            if modifier in _SPACES and space is None:
                space = _SPACES[modifier]
            elif modifier in ("v2", "v4", "v8"):
                count = int(modifier[1:])
            elif modifier not in _HINTS and not modifier.startswith(
                ("L1::evict", "L1::no", "L2::", "level::")
            ):
                self._fail(f"the modifier .{modifier}")
        if space is None or kind not in SIZES or len(operands) != 2:
            self._fail(f"the instruction {opcode}")
        address, values = (operands[1], operands[0]) if base == "ld" else operands
        names = self._elements(values)
        # Registers may be wider than the values in memory. All registers of a vector have the same type.
        found = [register for name in names if (register := self._lookup(name))]
        width = found[0].kind if found else "8" if SIZES[kind] == 8 else "4"
        if len(names) != count or (SIZES[kind] == 8 and width == "4"):
            self._fail(f"the operands {values}")
        places = [self._operand(name, width) for name in names]
        start, offset = self._address(address)
        begin = -1
        register = self._lookup(start)
        if space == "param" and start in self.parameters:
            offset += self.parameters[start]
        elif register is not None:
            begin = register.place
        elif space != "global" and start in self.symbols:
            offset += self.symbols[start]
        else:
            self._fail(f"the address {address}")
        self._add(
            f"{base}.{space}", [begin, *places], offset=offset, count=count, bytes=SIZES[kind],
            sign_extended=int(kind[0] == "s"), wide_value=int(width == "8"),
            wide_address=int(register is not None and register.kind == "8"),
        )  # fmt: skip

    def _matrix(self, opcode: str, operands: list[str]) -> None:
        match = re.fullmatch(
            r"(ld|st)matrix\.sync\.aligned\.(?:m8n8\.)?x([124])\.(?:m8n8\.)?(trans\.)?shared(?:::cta)?\.b16",
            opcode,
        )
        if match is None or len(operands) != 2:
            self._fail(f"the instruction {opcode}")
        address, values = reversed(operands) if match[1] == "ld" else operands
        start, offset = self._address(address)
        register = self._lookup(start)
        if register is None or len(self._elements(values)) != int(match[2]):
            self._fail(f"the operands {', '.join(operands)}")
        places = [register.place, *(self._operand(name, "4") for name in self._elements(values))]
        name = f"{match[1]}matrix{'.trans' if match[3] else ''}"
        self._add(name, places, offset=offset, count=int(match[2]), wide_address=int(register.kind == "8"))
