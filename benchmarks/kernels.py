"""Compile the Triton kernels without a GPU, report their resources, and predict their times.

    python -m benchmarks.kernels --json benchmarks/results/triton-kernels.json --table docs/gpu-transform.md

Registers, shared memory, spills and instructions are read from the binary. The blocks that a search reads
are counted in NumPy by the same rules (tests/support/visits.py). The predicted time is the longest of three:
bytes over the bandwidth, instructions over the issue rate, and the instructions of the integer and comparison
unit over its rate. The prediction ignores latency and launches.
"""

import argparse
import dataclasses
import importlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from benchmarks import documents
from surfloss._files import write_text
from surfloss.ops.edt import edt as edt_operator
from tests.support import cases, visits

backend = importlib.import_module("surfloss.backends.triton")
scan, edt, hausdorff, contour, labels = (
    importlib.import_module(f"surfloss.backends.triton.{name}")
    for name in ("scan", "edt", "hausdorff", "contour", "labels")
)

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
# An H100 SXM5 with 132 multiprocessors at 1.755 GHz, at 85 % of its 3.35 TB/s.
BANDWIDTH = 0.85 * 3.35e12
ISSUED = 132 * 128 * 1.755e9  # thread instructions per second
COMPARED = ISSUED / 2
ON_THE_SLOW_UNIT = ("FMNMX", "FSEL", "FSETP", "ISETP", "LOP3", "VIMNMX", "PRMT", "SEL", "SHF", "PLOP3", "LEA")
SHAPE, MASKS = (16, 320, 320), 4

INTEGERS = ("items", "Z", "Y", "X", "size", "stride", "voxels", "start", "width", "tiles", "span", "inner")


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One kernel, compiled as for masks of bytes and float32 values."""

    name: str
    function: Any
    pointers: dict[str, str]
    constants: dict[str, Any]
    bytes: float  # read and written per voxel
    voxels: float  # per thread
    warps: int = 1
    search: str | None = None  # axis along which it searches
    loops: int = 0  # iterations of its loop over planes

    @property
    def registers(self) -> int | None:
        """The register cap that the adapter sets."""
        if self.search:
            return backend.REGISTERS[self.constants.get("WITH_INDEX", False)]
        is_limited = self.function is scan.scan_rows and self.pointers["first"] not in ("fp64", "i64")
        return backend.SCAN_REGISTERS if is_limited else None

    def source(self) -> ASTSource:
        names = self.function.arg_names
        types = dict.fromkeys(self.constants, "constexpr")
        types |= {name: f"*{kind}" for name, kind in self.pointers.items()}
        types |= {name: "i32" if name in INTEGERS else "fp32" for name in names if name not in types}
        aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if name in self.pointers}
        signature = {name: types[name] for name in names}
        return ASTSource(self.function, signature, constexprs=self.constants, attrs=aligned)


TILE = {"BLOCK": backend.BLOCK, "LANES": backend.LANES, "LONG": False, "DIMS": 3}
PLAIN = {"item_steps": None, **TILE}
ROWS = {"rows": "i16", "row_summaries": "i16", "field": "fp32", "summaries": "fp32"}
SCAN = {
    "PAIR": 1,
    "FIRST_ABOVE": None,
    "SECOND_ABOVE": None,
    "SEVERAL": False,
    "BLOCK": backend.BLOCK,
    "CHUNK": backend.CHUNK,
}
LAST = {"AXIS": 0, "FORM": "two_sided", "SQUARED": False, "WITH_INDEX": False}
INDEX = {"AXIS": 0, "FORM": "one_sided", "SQUARED": True, "WITH_INDEX": True}
ERROR = {
    "ignore": None,
    "plain_errors": None,
    "AXIS": 0,
    "SIGMOID": True,
    "ALPHA": 2.0,
    "EMPTY": "zero",
    "BOOL_TARGET": True,
}
STRIP = {"DEPTH": 3, "ROWS": backend.CONTOUR_ROWS, "LANES": backend.LANES}
# Voxels of a plane per thread of the contour kernels; some threads are on the rim, or past the end.
STRIP_VOXELS = (
    backend.CONTOUR_ROWS
    * SHAPE[-1]
    / -(-SHAPE[-1] // (backend.LANES - 2 * contour.RIM.value))
    / backend.LANES
)
CONTOUR = {"x": "fp32", "contour": "fp32", "highest": "i8", "lowest": "i8"}
BACKWARD = {"grad": "fp32", "highest": "i8", "lowest": "i8", "grad_input": "fp32"}
FIELDS = {f"{side}_{what}": "fp32" for side in ("input", "target") for what in ("field", "summaries")}

KERNELS = (
    Kernel("scan_rows", scan.scan_rows, {"first": "u8", "second": "u8", "rows": "i16", "summaries": "i16"},
           SCAN, 3.25, 16 * SHAPE[-1] / backend.CHUNK, warps=8),
    Kernel("middle_pass", edt.middle_pass, ROWS,
           {"nearest": None, "ONE_SIDED": False, "WITH_INDEX": False, "PAIR": 1, **PLAIN}, 6.75, 8,
           search="y"),
    Kernel("last_pass", edt.last_pass, {"field": "fp32", "summaries": "fp32", "distance": "fp32"},
           {**LAST, **PLAIN}, 8.5, 8, search="z"),
    Kernel("hausdorff_pass", hausdorff.hausdorff_pass,
           {"input": "fp32", "target": "u8", "gradient": "fp32", "errors": "fp32", **FIELDS},
           {**ERROR, **PLAIN}, 18, 8, search="z"),
    Kernel("middle_pass, indices", edt.middle_pass, {**ROWS, "nearest": "i32"},
           {"ONE_SIDED": True, "WITH_INDEX": True, "PAIR": 1, **PLAIN}, 10.75, 8,
           search="y, one by one"),
    Kernel("last_pass, indices", edt.last_pass, {"field": "fp32", "summaries": "fp32", "distance": "i32"},
           {**INDEX, **PLAIN}, 8.5, 8, search="z"),
    Kernel("trace_indices", edt.trace_indices,
           {"rows": "i16", "nearest_y": "i32", "nearest_z": "i32", "indices": "i32"},
           {"DIMS": 3, "DEEP": True, "TILE": backend.TRACED}, 26, 2, warps=4),
    Kernel("contour_pass", contour.contour_pass, CONTOUR, {"ignore": None, **STRIP}, 10,
           SHAPE[0] * STRIP_VOXELS, loops=SHAPE[0] + 2),
    Kernel("contour_gradient_pass", contour.contour_gradient_pass, BACKWARD, STRIP, 10,
           SHAPE[0] * STRIP_VOXELS, loops=SHAPE[0] + 2),
    Kernel("contour_pass, planes", contour.contour_pass, CONTOUR,
           {"ignore": None, **STRIP, "DEPTH": 1}, 10, STRIP_VOXELS, loops=1),
    Kernel("contour_gradient_pass, planes", contour.contour_gradient_pass, BACKWARD,
           {**STRIP, "DEPTH": 1}, 10, STRIP_VOXELS, loops=1),
)  # fmt: skip


def _variant(name: str, pointers: dict[str, str], constants: dict[str, Any]) -> Kernel:
    """A kernel above with other types and options; None removes a pointer."""
    plain = next(kernel for kernel in KERNELS if kernel.name == name)
    pointers = plain.pointers | pointers
    constants = plain.constants | constants | {n: None for n, kind in pointers.items() if kind is None}
    pointers = {n: kind for n, kind in pointers.items() if kind is not None}
    constants = {n: value for n, value in constants.items() if n not in pointers}
    return dataclasses.replace(plain, pointers=pointers, constants=constants)


def _turns(label: str, field: str) -> Kernel:
    """The signs for many labels, with a background of distance 0 in rows."""
    pointers = {"labels": label, "field": field, "summaries": field}
    constants = {"ZERO": field == "i16", "BLOCK": backend.BLOCK, "LANES": backend.LANES}
    return Kernel("turn_signs", labels.turn_signs, pointers, constants, 0, 1)


DOUBLE = dict.fromkeys(("input", "target", "gradient", "errors", "plain_errors", "item_steps"), "fp64")
WIDE = {"field": "i32", "summaries": "i32"}
# Only compiled: options that the kernels in the table do not have.
VARIANTS = {
    **{t: _variant("scan_rows", {"first": t, "second": t}, {}) for t in ("fp16", "bf16", "fp64")},
    "scan of labels": _variant(
        "scan_rows", {"first": "i64", "second": "i64"}, {"FIRST_ABOVE": "label", "SECOND_ABOVE": "label"}),
    **{f"turns of {label} over {field}": _turns(label, field)
       for label, field in (("u8", "i16"), ("i64", "i16"), ("i32", "i32"), ("i16", "fp32"), ("i64", "fp32"))},
    "scan of logits": _variant("scan_rows", {"first": "fp32"}, {"FIRST_ABOVE": 0.0}),
    "scan of long rows": _variant("scan_rows", {"rows": "i32", "summaries": "i32"}, {"SEVERAL": True}),
    "scan of one column": _variant("scan_rows", {}, {"CHUNK": 1}),
    "scan of pairs": _variant("scan_rows", {"first": "fp32"}, {"FIRST_ABOVE": 0.0, "PAIR": 2}),
    "middle of pairs": _variant("middle_pass", {}, {"PAIR": 2}),
    "middle, item steps": _variant("middle_pass", {"item_steps": "fp64"}, {"LONG": True}),
    "last, plane": _variant("last_pass", {"field": "i16", "summaries": "i16", "item_steps": "fp64"},
                            {"AXIS": 1, "DIMS": 2, "FORM": "signed"}),
    "last, line": _variant(
        "last_pass", WIDE, {"AXIS": 1, "DIMS": 1, "FORM": "one_sided", "SQUARED": True}),
    "error, plain too": _variant("hausdorff_pass", {"plain_errors": "fp32"}, {}),
    "error, double": _variant(
        "hausdorff_pass", DOUBLE, {"ALPHA": 2.5, "EMPTY": "diagonal", "BOOL_TARGET": False}),
    "error, target given": _variant("hausdorff_pass", {"ignore": "u8", "target_summaries": None},
                                    {"ALPHA": 1.0, "EMPTY": "scipy", "SIGMOID": False}),
    "error, both given": _variant(
        "hausdorff_pass", {"ignore": "u8", "input_summaries": None, "target_summaries": None},
        {"ALPHA": 0.0}),
    "error, plane": _variant("hausdorff_pass", dict.fromkeys(FIELDS, "i16"), {"AXIS": 1, "DIMS": 2}),
    "trace, plane": _variant("trace_indices", {}, {"DEEP": False, "DIMS": 2}),
    "contour, double": _variant(
        "contour_pass", {"x": "fp64", "contour": "fp64", "ignore": "u8"}, {}),
    "contour, ignore": _variant("contour_pass, planes", {"ignore": "u8"}, {}),
    "contour gradient, double": _variant(
        "contour_gradient_pass", {"grad": "fp64", "grad_input": "fp64"}, {}),
}  # fmt: skip


def compiled(kernel: Kernel, target: GPUTarget, with_parts: bool = True) -> dict[str, Any]:
    """Registers, bytes of shared memory and of spills, and the instruction counts of the binary."""
    registers = kernel.registers if target.backend == "cuda" else None
    options: dict[str, Any] = backend._options(kernel.warps, registers or None)
    result = triton.compile(kernel.source(), target=target, options=options)
    shared = result.metadata.shared
    if target.backend == "hip":
        text = result.asm["amdgcn"]
        number = {name: int(value) for name, value in re.findall(r"\.(vgpr_\w+):\s+(\d+)", text)}
        return {"registers": number["vgpr_count"], "shared": shared, "spills": number["vgpr_spill_count"]}
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(result.asm["cubin"])
        file.flush()
        usage = _output("cuobjdump", "-res-usage", file.name)
        code = _output("nvdisasm", "-c", file.name)
    found = {name: int(number) for name, number in re.findall(r"(REG|STACK):(\d+)", usage)}
    return {"registers": found["REG"], "shared": shared, "spills": found["STACK"]} | (
        {"parts": _parts(code, bool(kernel.search))} if with_parts else {}
    )


def _output(tool: str, *arguments: str) -> str:
    return subprocess.run([str(TOOLS / tool), *arguments], capture_output=True, text=True, check=True).stdout


def _parts(code: str, searches: bool) -> dict[str, list[int]]:
    """Instruction counts per part of a kernel: all of them, and those of the slow unit.

    A search tests a summary, or a group of them, up to its vote (REDUX). It reads a block from there to the
    last of the shuffles that compute the tile's worst distance. Without a search, the longest backward jump
    is the loop. All other instructions are in "rest".
    """
    pattern = r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)(?: `\((\.L_x_\d+)\))?|^(\.L_x_\d+):"
    matches = list(re.finditer(pattern, code, re.MULTILINE))
    lines = [match[1] for match in matches]
    labels = [index for index, line in enumerate(lines) if line is None]
    votes = [index for index, line in enumerate(lines) if searches and line and line.startswith("REDUX")]
    places = {match[3]: index for index, match in enumerate(matches) if match[3]}
    back = [range(places[match[2]], i) for i, match in enumerate(matches) if places.get(match[2], i) < i]
    ranges: dict[str, list[range]] = {"test": [], "group": [], "read": []}
    ranges["loop"] = [] if votes or not back else [max(back, key=len)]
    for vote in votes:
        start = max((label for label in labels if label < vote), default=0)
        if sum((line or "").startswith("LDG") for line in lines[start:vote]) > 2:
            ranges["group"].append(range(start, vote + 1))
            continue
        shuffles = [i for i in range(vote, len(lines)) if (lines[i] or "").startswith("SHFL")][:5]
        ranges["test"].append(range(start, vote + 1))
        ranges["read"].append(range(vote + 1, shuffles[-1] + 1))
    parts = {name: [i for r in found for i in r] for name, found in ranges.items()}
    inside = {i for found in parts.values() for i in found}
    parts["rest"] = [i for i in range(len(lines)) if i not in inside]
    return {
        name: [
            sum(lines[i] is not None and lines[i] != "NOP" for i in found),
            sum((lines[i] or "").startswith(ON_THE_SLOW_UNIT) for i in found),
        ]
        for name, found in parts.items()
    }


def structures() -> Iterator[tuple[str, torch.Tensor]]:
    z, y, x = torch.meshgrid(*(torch.linspace(0, 1, n) for n in SHAPE), indexing="ij")
    noise = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0))
    yield "blob", cases.blob(1, *SHAPE)[0]
    yield "noise", noise < 0.5
    yield "sparse", noise < 1e-4
    yield "diagonal", x + y + z < 1.5
    yield "corner", x + y + z == 0


def searched(mask: torch.Tensor) -> dict[str, visits.Visits]:
    """Count the visits of the searches along y and z, on a sample of their columns with unit steps."""
    depth, height, width = mask.shape
    rows = -edt_operator(mask.reshape(-1, width), [1.0], None, "signed", True, "cpu").view(mask.shape).numpy()
    planes = -edt_operator(mask, [1.0, 1.0], None, "signed", True, "cpu").view(depth, -1).numpy()
    found = {axis: visits.Visits() for axis in ("y", "y, one by one", "z")}
    for z in range(1, depth, 5):
        for x in range(0, width, 4 * backend.LANES):
            columns = rows[z, :, x : x + backend.LANES]
            visits.count(columns, 1.0, found["y"])
            visits.count(columns, 1.0, found["y, one by one"], ahead=0)
    for column in range(0, height * width, 61 * backend.LANES):
        visits.count(planes[:, column : column + backend.LANES], 1.0, found["z"])
    return found


def per_voxel(kernel: Kernel, parts: dict[str, list[int]], found: dict[str, visits.Visits]) -> np.ndarray:
    """Instructions per voxel: all of them, and those of the slow unit."""
    total = np.array(parts["rest"], float) + np.multiply(parts["loop"], max(1, kernel.loops))
    if kernel.search:
        seen = found[kernel.search]
        total += np.multiply(parts["test"], seen.summaries / seen.tiles)
        total += np.multiply(parts["group"], seen.groups / seen.tiles)
        total += np.multiply(parts["read"], seen.blocks / seen.tiles)
    return total / kernel.voxels


def gather() -> dict[str, Any]:
    found = {name: searched(mask) for name, mask in structures()}
    candidates = {
        name: {axis: round(v.per_voxel(backend.BLOCK), 1) for axis, v in axes.items() if axis in "yz"}
        for name, axes in found.items()
    }
    kernels = {}
    for kernel in KERNELS:
        row: dict[str, Any] = {target: compiled(kernel, place) for target, place in TARGETS.items()}
        counts = {name: per_voxel(kernel, row["sm_90"]["parts"], axes) for name, axes in found.items()}
        voxels = MASKS * np.prod(SHAPE)
        row["bytes"] = kernel.bytes
        row["instructions"] = {name: round(float(count[0])) for name, count in counts.items()}
        row["predicted_us"] = {
            name: round(
                1e6 * voxels * max(kernel.bytes / BANDWIDTH, count[0] / ISSUED, count[1] / COMPARED), 1
            )
            for name, count in counts.items()
        }
        row["measured_us"] = None
        kernels[kernel.name] = row
    variants = {name: compiled(kernel, TARGETS["sm_90"], False) for name, kernel in VARIANTS.items()}
    versions = {"torch": torch.__version__, "triton": triton.__version__}
    return {
        "versions": versions,
        "shape": SHAPE,
        "masks": MASKS,
        "candidates": candidates,
        "kernels": kernels,
        "variants": variants,
    }


def tables(facts: dict[str, Any]) -> str:
    size = "x".join(map(str, facts["shape"]))
    head = (
        "kernel",
        f"registers ({', '.join(TARGETS)})",
        "shared bytes",
        "spilled bytes",
        "bytes per voxel",
        "instructions per voxel (blob, noise, diagonal)",
        f"predicted microseconds for {facts['masks']} masks of {size} (blob, noise, diagonal)",
        "measured",
    )

    def each(values: Iterable[Any]) -> str:
        return ", ".join(map(str, values))

    body = []
    for name, row in facts["kernels"].items():
        counts, times = (
            each(row[what][s] for s in ("blob", "noise", "diagonal"))
            for what in ("instructions", "predicted_us")
        )
        registers, spills = (
            each(row[target][what] for target in TARGETS) for what in ("registers", "spills")
        )
        shared = str(row["sm_90"]["shared"])
        body.append(
            [f"`{name}`", registers, shared, spills, f"{row['bytes']:g}", counts, times, "not measured yet"]
        )
    candidates = [
        [f"along {axis}", *(str(found[axis]) for found in facts["candidates"].values())]
        for axis in ("y", "z")
    ]
    second = documents.table(["candidates per voxel", *facts["candidates"]], candidates, len(candidates[0]))
    return f"{documents.table(head, body, len(head))}\n\n{second}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--table", type=Path, help="document whose table to fill")
    arguments = parser.parse_args()
    facts = gather()
    if arguments.json:
        write_text(arguments.json, json.dumps(facts, indent=1) + "\n")
    if arguments.table:
        documents.fill(arguments.table, "kernels", lambda _: tables(facts))
    if not (arguments.json or arguments.table):
        print(tables(facts))
