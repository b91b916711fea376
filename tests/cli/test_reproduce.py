"""`surfloss reproduce`: what it refuses, and that it starts and shows what it was asked for."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from surfloss.cli import app
from tests.nnunet.conftest import MINI


def reproduce(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["reproduce", *arguments])
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "huge"], "preset: got 'huge', wanted one of tiny, paper"),
        (["--until", "lunch"], "until: got 'lunch', wanted one of prepare, plan, train"),
        (["--device", "abacus"], "device: got 'abacus', wanted cpu or cuda"),
        (["--preset", "paper"], "data: got no folder, wanted the data set's folder"),
        (["--data", "nowhere"], "without data/"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    code, error = reproduce("--out", str(tmp_path / "run"), *arguments)
    assert code == 2
    assert message in " ".join(error.split())
    assert "Traceback" not in error


def test_a_folder_of_another_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surfloss.nnunet.presets.PRESETS", {"tiny": MINI})
    assert reproduce("--out", str(tmp_path), "--until", "prepare")[0] == 0
    monkeypatch.undo()
    code, error = reproduce("--out", str(tmp_path), "--until", "prepare")
    assert code == 2
    assert "a run with other settings" in " ".join(error.split())


def test_it_stops_after_the_asked_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surfloss.nnunet.presets.PRESETS", {"tiny": MINI})
    assert reproduce("--out", str(tmp_path), "--until", "prepare")[0] == 0
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["prepare.json"]


def test_without_nnunet_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, error = reproduce("--out", str(tmp_path))
    assert code == 2
    assert "pip install 'surfloss[nnunet]'" in error
