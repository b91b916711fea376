"""`surfloss info`: what is installed, which backends are live, and why the others are not."""

import importlib.util
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from surfloss.cli._terminal import Console

_PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "triton",
    "nibabel",
    "SimpleITK",
    "nnunetv2",
    "monai",
    "matplotlib",
    "jinja2",
)


def info(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show versions, devices and backends, with the reason for each backend that cannot run here."""
    facts = gather()
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    console = Console()
    table = Table("", "", title=f"surfloss {facts['surfloss']}", show_header=False)
    for key in ("python", "platform", "device", "threads"):
        table.add_row(key, str(facts[key]))
    for name, found in facts["packages"].items():
        table.add_row(name, found or Text("not installed", "dim"))
    console.print(table)
    backends = Table("backend", "state", title="Distance-transform backends")
    for name, reason in facts["backends"].items():
        backends.add_row(name, Text("ready", "green") if reason is None else Text(reason, "yellow"))
    console.print(backends)
    for key in ("build", "nnunet_trainers"):  # paths to copy, whole however narrow the terminal
        console.print(f"{key}: {facts[key]}", soft_wrap=True)


def gather() -> dict[str, Any]:
    """The facts as one JSON-ready dictionary."""
    import torch

    import surfloss

    cuda = torch.cuda.is_available()
    return {
        "surfloss": surfloss.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if cuda else "CPU only",
        "threads": torch.get_num_threads(),
        "build": _build(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "backends": surfloss.backend_status(),
        # What nnU-Net's variable nnUNet_extTrainer must name for the trainers to be found.
        "nnunet_trainers": str(Path(surfloss.__file__).parent / "nnunet" / "trainers"),
    }


def _build() -> str:
    from surfloss.backends import _load

    path = _load.cpu_library_path()
    return "pure Python: no compiled library in this package" if path is None else f"compiled: {path}"


def _version(package: str) -> str | None:
    if importlib.util.find_spec(package) is None:
        return None
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown version"
