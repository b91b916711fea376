"""Imports go one way, from cli down to the backends; and `import surfloss` stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "surfloss"
ROOT = "surfloss"  # the package's own __init__: public names, which only the command line may import

# What each room may import of ours, beside itself. The root's private modules are open to all,
# and import of ours at most the checks and the environment.
MAY_IMPORT = {
    "backends": set(),
    "ops": {"backends"},
    "edt": {"ops"},
    "ndimage": {"ops"},
    "losses": {"edt", "ops"},
    "functional": {"losses"},
    "presets": {"losses"},
    "schedules": {"losses"},
    "transforms": {"losses", "ops"},
    "metrics": {"edt", "ndimage", "ops"},
    "phantom": set(),
    "bench": {"edt", "losses", "ndimage", "ops"},
    "nnunet": {"losses", "metrics", "phantom", "presets"},
}
MAY_IMPORT["cli"] = {*MAY_IMPORT, ROOT}
MAY_IMPORT[ROOT] = {*MAY_IMPORT} - {"backends", "nnunet", "phantom", "bench", "cli", "transforms"}

FILES = {str(path.relative_to(SOURCE)): path.read_text() for path in sorted(SOURCE.rglob("*.py"))}


def imports(source: str) -> Iterator[tuple[str, ...]]:
    """The path below the package of everything of ours that a file imports, at the top or in a function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides the room it comes from"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (tuple(name.split(".")[1:]) for name in names if name.split(".")[0] == ROOT)


def room(parts: tuple[str, ...]) -> str:
    """The room of a file or an import; a name that the package's own __init__ defines is the root's."""
    first = parts[0].removesuffix(".py") if parts else ROOT
    exists = (SOURCE / first).is_dir() or (SOURCE / f"{first}.py").is_file()
    return first if exists and first != "__init__" else ROOT


def violations(file: str, source: str) -> list[str]:
    parts = Path(file).parts
    here = room(parts)
    found = []
    for target in imports(source):
        there = room(target)
        if here.startswith("_"):
            if here == "_check" or there not in (here, "_check", "_env"):
                found.append(f"{here} may not import {there}")
        elif there.startswith("_"):
            continue
        elif there != here and there not in MAY_IMPORT[here]:
            found.append(f"{here} may not import {there}")
        elif there == "backends" and target[1] == "_interface":
            continue
        elif there == "backends" and here == "ops" and parts[-1] != "_select.py":
            found.append("only ops/_select.py may know the backends")
        elif there == here == "backends" and target[1] not in (parts[1].removesuffix(".py"), "_load"):
            found.append(f"backend {parts[1]} may not import backend {target[1]}")
    return found


@pytest.mark.parametrize("file", FILES)
def test_imports_go_down(file: str) -> None:
    assert violations(file, FILES[file]) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("edt.py", "from surfloss.losses import hausdorff"),
        ("edt.py", "from surfloss.backends.reference import squared_edt"),
        ("edt.py", "from surfloss import two_sided_edt"),
        ("edt.py", "import surfloss.metrics"),
        ("ops/edt.py", "def f():\n    from surfloss import edt"),
        ("ops/edt.py", "from surfloss.backends import reference"),
        ("losses/hausdorff.py", "from surfloss.backends._interface import HausdorffArguments"),
        ("losses/hausdorff.py", "from surfloss.metrics.overlap import dice"),
        ("metrics/overlap.py", "from surfloss import losses"),
        ("nnunet/stages.py", "import surfloss.ops.edt"),
        ("losses/hausdorff.py", "from surfloss.transforms import TargetDistance"),
        ("backends/cpu.py", "from surfloss.backends import reference"),
        ("backends/cpu.py", "from surfloss.ops._select import Backend"),
        ("_check.py", "from surfloss import _env"),
        ("_volumes/_nifti.py", "from surfloss._files import write_text"),
        ("_volumes/_nifti.py", "from surfloss.metrics.overlap import dice"),
        ("__init__.py", "from surfloss.nnunet import stages"),
    ],
)
def test_an_upward_arrow_is_noticed(file: str, line: str) -> None:
    assert violations(file, line) != []


def test_import_is_light() -> None:
    """PyTorch and NumPy only: everything else is imported where it is used."""
    heavy = ("scipy", "nibabel", "typer", "rich", "matplotlib", "jinja2", "triton", "nnunetv2", "monai")
    heavy += ("batchgenerators", "batchgeneratorsv2")
    code = (
        "import sys, torch; before = set(sys.modules)\n"
        "import surfloss, surfloss.transforms; print(*sorted(set(sys.modules) - before))"
    )
    new = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [name for name in new if name.split(".")[0] in heavy] == []
