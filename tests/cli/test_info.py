"""`surfloss info`: what is installed, and which backends run or why they do not."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import surfloss
from surfloss.cli import app

REASON = "it needs a GPU, and [none] was found"  # brackets, which rich would take for a style


@pytest.fixture
def two_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surfloss, "backend_status", lambda: {"fast": REASON, "reference": None})


def info(*arguments: str) -> str:
    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, ["info", *arguments])
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def facts() -> dict[str, Any]:
    return json.loads(info("--json"))


def test_json_holds_the_versions_and_the_machine() -> None:
    got = facts()
    assert got["surfloss"] == surfloss.__version__
    assert got["python"] == platform.python_version()
    assert got["threads"] == torch.get_num_threads()
    assert got["packages"]["torch"] == version("torch")
    assert got["packages"]["numpy"] == version("numpy")
    assert (got["device"] == "CPU only") != torch.cuda.is_available()
    assert (Path(got["nnunet_trainers"]) / "surface.py").is_file()


def test_json_names_every_backend_of_the_library() -> None:
    assert facts()["backends"] == surfloss.backend_status()
    assert facts()["backends"]["reference"] is None


@pytest.mark.usefixtures("two_backends")
def test_a_backend_is_ready_or_has_a_reason() -> None:
    assert facts()["backends"] == {"fast": REASON, "reference": None}
    rows = {
        cells[1].strip(): cells[2].strip() for line in info().splitlines() if (cells := line.split("│"))[2:]
    }
    assert rows["fast"] == REASON
    assert rows["reference"] == "ready"


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert set(facts()["packages"].values()) == {None}
    assert "not installed" in info()


def test_paths_are_whole_in_a_narrow_terminal() -> None:
    result = CliRunner(env={"COLUMNS": "40"}).invoke(app, ["info"])
    assert f"nnunet_trainers: {facts()['nnunet_trainers']}\n" in result.stdout
