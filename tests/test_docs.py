"""The Python examples of README and documents run, page by page; the reference has every name and option."""

import html
import importlib
import re
from pathlib import Path

import pytest
import torch
import typer

from surfloss.cli import app

ROOT = Path(__file__).parents[1]
EXAMPLES = {
    page: blocks
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if (blocks := re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL))
}


def test_there_are_examples() -> None:
    assert {"README.md", "evaluation.md", "losses.md", "metrics.md", "phantom.md"} <= {
        page.name for page in EXAMPLES
    }


@pytest.mark.filterwarnings("ignore:the gradient")
@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_examples_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for block in EXAMPLES[page]:
        exec(block, names)


@pytest.mark.parametrize(
    "name",
    [
        "surfloss",
        *(f"surfloss.{part}" for part in ("functional", "metrics", "presets", "schedules", "transforms")),
    ],
)
def test_reference_has_every_public_name(name: str) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    module = importlib.import_module(name)
    wanted = {f"{name}.{public}" for public in module.__all__ if callable(getattr(module, public))}
    shown = set(re.findall(r"^::: ([\w.]+)$", pages, flags=re.MULTILINE))
    shown |= {f"{name}.evaluate"} if f"{name}.evaluate.evaluate" in shown else set()  # also a module's name
    assert wanted <= shown


def test_command_line_page_is_current() -> None:
    """`make docs` makes the page; what it must have does not depend on the version of typer."""
    page = html.unescape((ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8"))
    commands = typer.main.get_command(app).commands
    sections = dict(
        re.findall(r"^## `surfloss ([\w-]+)`\n(.*?)(?=^## |\Z)", page, flags=re.DOTALL | re.MULTILINE)
    )
    assert sections.keys() == commands.keys()
    for name, command in commands.items():
        for param in command.params:
            help_text = getattr(param, "help", None) or ""
            assert help_text in sections[name], f"{name}: run `make docs` and commit the page"
            if param.param_type_name == "option":
                assert all(option in sections[name] for option in param.opts), name
