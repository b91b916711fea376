"""The command itself: its version, its help, and that no command begins work it cannot finish."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import surfloss
from surfloss.cli import app

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"surfloss {surfloss.__version__}\n")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=["surfloss", *COMMANDS])
def test_short_help(command: list[str]) -> None:
    short, long = (CliRunner().invoke(app, [*command, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.stdout == long.stdout
    assert "Usage: " in short.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["bench", "--json", "FILE/x"],
        ["bench", "--plot", "FILE/x.png"],
        ["phantom", "--out", "FILE"],
        ["phantom", "--out", "new", "--preview", "FILE/x.png"],
        ["phantom", "--out", "new", "--preview", "sheet.doc"],
        ["reproduce", "--out", "FILE"],
        ["reproduce", "--out", "FILE/run"],
    ],
    ids=" ".join,
)
def test_an_output_that_cannot_be_made_is_told_before_the_work(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    blocked = [argument.replace("FILE", "file") for argument in arguments]
    for work in (
        "surfloss.bench.run.compare",
        "surfloss.phantom.write_dataset",
        "surfloss.nnunet.jobs.complete",
    ):
        monkeypatch.setattr(work, None)
    result = CliRunner().invoke(app, blocked)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    assert Path("file").read_text() == "mine"
