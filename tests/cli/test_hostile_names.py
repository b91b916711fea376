"""Names that are made to be read as something else: in files, in reports and in the terminal."""

import csv
import json
import os
import re
import warnings

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from surfloss.cli import app
from surfloss.cli._terminal import Console, progress_bars
from tests.support.browser import assert_sound, needs_browser, visit

NAMES = (
    "<img src=x onerror=alert(1)>",
    "=HYPERLINK(1)",
    "+1+2",
    "-x",
    "@SUM(A1)",
    "[red]a",
    "[bold]b[",
    "red\x1b[31m",
    "new\nline",
    "\rback",
    "\"quo'te",
    "`tick`|pipe|_a_*b*",
    "$x$ {{ y }}",
    "\N{RIGHT-TO-LEFT OVERRIDE}abc",
    os.fsdecode(b"caf\xe9"),
)


@pytest.fixture
def folders(tmp_path):
    """Every case twice: one has a prediction, the one with a 2 behind has none."""
    mask = np.zeros((6, 7, 4), np.uint8)
    mask[2:4, 2:4, 1:3] = 1
    for folder, shift in (("predictions", 1), ("targets", 0)):
        (tmp_path / folder).mkdir()
        image = nibabel.Nifti1Image(np.roll(mask, shift, axis=0), np.eye(4))
        for name in NAMES:
            nibabel.save(image, tmp_path / folder / "case.nii.gz")
            (tmp_path / folder / "case.nii.gz").rename(tmp_path / folder / f"{name}.nii.gz")
    for name in NAMES:
        (tmp_path / "targets" / f"{name}2.nii.gz").write_bytes(
            (tmp_path / "targets" / f"{name}.nii.gz").read_bytes()
        )
    return str(tmp_path / "predictions"), str(tmp_path / "targets")


@pytest.fixture
def evaluated(folders, tmp_path):
    outputs = {option: tmp_path / f"out.{option}" for option in ("json", "csv", "markdown", "html")}
    options = [text for option, path in outputs.items() for text in (f"--{option}", str(path))]
    labels = "1=../<script>alert(1)</script>\x1b$[red]"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a font without some sign
        result = CliRunner().invoke(
            app, ["evaluate", *folders, "--tolerance", "1", "--labels", labels, "--per-lesion", *options]
        )
    assert result.exit_code == 2, result.output
    return result, {option: path.read_text(encoding="utf-8") for option, path in outputs.items()}, tmp_path


def test_every_file_is_written_with_readable_names(evaluated):
    _, texts, _ = evaluated
    assert {row["case"] for row in json.loads(texts["json"])["cases"]} == {
        name + more for name in NAMES for more in ("", "2")
    }
    for option in ("csv", "markdown", "html"):
        slash = r"\\" if option == "markdown" else "\\"
        for name in ("caf{}xe9", "new{}nline", "{}rback", "{}u202eabc"):
            assert name.format(slash) in texts[option]
        assert not re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f\u202e]", texts[option])


def test_no_cell_of_a_csv_file_is_a_formula(evaluated):
    _, texts, folder = evaluated
    for text in (texts["csv"], (folder / "out_lesions.csv").read_text()):
        rows = list(csv.DictReader(text.splitlines()))
        assert not [cell for row in rows for cell in row.values() if re.match(r"[=+@\t\r]|-[^\d]", cell)]
        assert {"'=HYPERLINK(1)", "'+1+2", "'-x", "'@SUM(A1)", r"'\rback"} < {row["case"] for row in rows}


def test_markdown_keeps_its_tables_and_shows_no_html(evaluated):
    _, texts, _ = evaluated
    lines = texts["markdown"].splitlines()
    rows = lines[lines.index("## Cases") : lines.index("## Lesions and false positives")]
    table = [line for line in rows if line.startswith("|")]
    assert len(table) == 2 + 2 * len(NAMES)
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert not re.search(r"(?<!\\)<", texts["markdown"])
    assert r"\`tick\`\|pipe\|\_a\_\*b\*" in texts["markdown"]


def test_html_shows_names_as_text(evaluated):
    _, texts, _ = evaluated
    assert "<img src=x" not in texts["html"]
    assert "<script>alert" not in texts["html"]
    assert "&lt;img src=x onerror=alert(1)&gt;" in texts["html"]
    assert "{{ y }}" in texts["html"]


@needs_browser
def test_the_page_runs_nothing_of_them(evaluated):
    _, texts, folder = evaluated
    (folder / "visit").mkdir()
    assert_sound(visit(texts["html"], folder / "visit"))


def test_the_terminal_gets_a_line_for_each_problem_and_no_control_sequence(evaluated):
    result, _, _ = evaluated
    shown = result.stdout + result.stderr
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert r"new\nline2: missing: " in shown
    assert "[red]a2: missing: " in shown
    assert "[bold]b[2: missing: " in shown
    assert r"caf\xe92: missing: " in shown


@pytest.mark.parametrize("name", ["a[/b]", "[red]x", "y\x1b[31m", "new\nline"])
def test_paths_are_no_markup(name, tmp_path):
    out = tmp_path / name
    result = CliRunner(env={"COLUMNS": "200"}).invoke(
        app, ["phantom", "--out", str(out), "--cases", "1", "--size", "4,16,16"]
    )
    assert result.exit_code == 0, result.output
    assert f"Written to {out}".replace("\x1b", r"\x1b") in result.stdout
    for arguments in (
        ["bench", "--file", str(out)],
        ["evaluate", str(out / "x"), str(out), "--tolerance", "1"],
        ["reproduce", "--out", str(out / "phantom.json")],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        line = result.stderr.strip().splitlines()[-1]  # behind the progress bar
        assert "\x1b" not in line
        assert name.replace("\x1b", r"\x1b").replace("\n", r"\n") in line


def test_bars_show_text_as_it_is(capsys):
    with progress_bars() as display:
        display.add_task("[/b] mine")
    assert "[/b] mine" in capsys.readouterr().err


def test_the_console_takes_text_as_it_is(capsys):
    Console(width=60).print("a [red]b[/red] :smile: \x1b[31m\x07\udcff")
    assert capsys.readouterr().out == "a [red]b[/red] :smile: \\x1b[31m\\x07\\xff\n"
