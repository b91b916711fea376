"""What compilers make of the GPU kernels: registers, shared memory and spills. No GPU is needed.

    python -m benchmarks.kernels --json benchmarks/results/triton-kernels.json --tables

compiles every Triton kernel ahead of time, and with `--tables` the CUDA kernels, for which it needs nvcc.
`benchmarks.executed` counts the work that the kernels do.
"""

import argparse
import dataclasses
import importlib
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from benchmarks import checkout, documents
from surfloss._files import write_text
from tests.support import ptxas

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
INTEGERS = ("items", "Z", "Y", "X", "size", "stride", "voxels", "start", "width", "tiles", "span", "inner")


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One kernel as a call on masks of bytes and float32 values launches it."""

    name: str
    function: Any
    pointers: dict[str, str]
    constants: dict[str, Any]
    warps: int = 1
    searches: bool = False

    @property
    def registers(self) -> int | None:
        """What the adapter allows it."""
        if self.searches:
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
CONTOUR = {"x": "fp32", "contour": "fp32", "highest": "i8", "lowest": "i8"}
BACKWARD = {"grad": "fp32", "highest": "i8", "lowest": "i8", "grad_input": "fp32"}
FIELDS = {f"{side}_{what}": "fp32" for side in ("input", "target") for what in ("field", "summaries")}

KERNELS = (
    Kernel("scan_rows", scan.scan_rows, {"first": "u8", "second": "u8", "rows": "i16", "summaries": "i16"},
           SCAN, warps=8),
    Kernel("middle_pass", edt.middle_pass, ROWS,
           {"nearest": None, "ONE_SIDED": False, "WITH_INDEX": False, "PAIR": 1, **PLAIN}, searches=True),
    Kernel("last_pass", edt.last_pass, {"field": "fp32", "summaries": "fp32", "distance": "fp32"},
           {**LAST, **PLAIN}, searches=True),
    Kernel("hausdorff_pass", hausdorff.hausdorff_pass,
           {"input": "fp32", "target": "u8", "gradient": "fp32", "errors": "fp32", **FIELDS},
           {**ERROR, **PLAIN}, searches=True),
    Kernel("middle_pass, indices", edt.middle_pass, {**ROWS, "nearest": "i32"},
           {"ONE_SIDED": True, "WITH_INDEX": True, "PAIR": 1, **PLAIN}, searches=True),
    Kernel("last_pass, indices", edt.last_pass, {"field": "fp32", "summaries": "fp32", "distance": "i32"},
           {**INDEX, **PLAIN}, searches=True),
    Kernel("trace_indices", edt.trace_indices,
           {"rows": "i16", "nearest_y": "i32", "nearest_z": "i32", "indices": "i32"},
           {"DIMS": 3, "DEEP": True, "TILE": backend.TRACED}, warps=4),
    Kernel("contour_pass", contour.contour_pass, CONTOUR, {"ignore": None, **STRIP}),
    Kernel("contour_gradient_pass", contour.contour_gradient_pass, BACKWARD, STRIP),
    Kernel("contour_pass, planes", contour.contour_pass, CONTOUR,
           {"ignore": None, **STRIP, "DEPTH": 1}),
    Kernel("contour_gradient_pass, planes", contour.contour_gradient_pass, BACKWARD,
           {**STRIP, "DEPTH": 1}),
)  # fmt: skip


def _variant(name: str, pointers: dict[str, str], constants: dict[str, Any]) -> Kernel:
    """A kernel above with other types and options; None for a pointer takes it away."""
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
    return Kernel("turn_signs", labels.turn_signs, pointers, constants)


DOUBLE = dict.fromkeys(("input", "target", "gradient", "errors", "plain_errors", "item_steps"), "fp64")
WIDE = {"field": "i32", "summaries": "i32"}
# Compiled only: what the table's kernels do not have.
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


def compiled(kernel: Kernel, target: GPUTarget) -> dict[str, int]:
    """Registers, bytes of shared memory and bytes of spills of the binary."""
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
    found = {name: int(number) for name, number in re.findall(r"(REG|STACK):(\d+)", usage)}
    return {"registers": found["REG"], "shared": shared, "spills": found["STACK"]}


def _output(tool: str, *arguments: str) -> str:
    return subprocess.run([str(TOOLS / tool), *arguments], capture_output=True, text=True, check=True).stdout


def gather() -> dict[str, Any]:
    return {
        "versions": {"torch": torch.__version__, "triton": triton.__version__},
        "kernels": {
            kernel.name: {name: compiled(kernel, target) for name, target in TARGETS.items()}
            for kernel in KERNELS
        },
        "variants": {name: compiled(kernel, TARGETS["sm_90"]) for name, kernel in VARIANTS.items()},
    }


def triton_table(facts: dict[str, Any]) -> str:
    head = ("kernel", f"registers ({', '.join(TARGETS)})", "shared bytes", "spilled bytes")

    def each(row: dict[str, dict[str, int]], what: str) -> str:
        return ", ".join(str(row[target][what]) for target in TARGETS)

    body = [
        [f"`{name}`", each(row, "registers"), str(row["sm_90"]["shared"]), each(row, "spills")]
        for name, row in facts["kernels"].items()
    ]
    return documents.table(head, body, len(head))


def cuda_table(architecture: str) -> str:
    head = (f"kernel ({architecture})", "registers", "bytes of stack", "bytes of spills")
    usage = sorted(ptxas.usage(architecture).items())
    return documents.table(
        head, [[f"`{name}`", *map(str, (used.registers, used.stack, used.spills))] for name, used in usage], 1
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where the numbers of the Triton kernels go")
    parser.add_argument("--tables", action="store_true", help="fill the tables of the documents")
    arguments = parser.parse_args()
    facts = gather()
    if arguments.json:
        write_text(arguments.json, json.dumps(facts, indent=1) + "\n")
    if arguments.tables:
        pages = checkout.ROOT / "docs"
        documents.fill(pages / "gpu-transform.md", "kernels", lambda _: triton_table(facts))
        documents.fill(pages / "cuda-backend.md", "kernels", lambda _: cuda_table("sm_90"))


if __name__ == "__main__":
    main()
