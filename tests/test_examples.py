"""The scripts of `examples/` run and do what they say."""

import runpy
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "examples"


def run(name: str) -> Any:
    return runpy.run_path(str(FOLDER / f"{name}.py"))["main"]()


def test_every_example_has_a_test() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {"monai_swap", "plain_pytorch"}


@pytest.mark.filterwarnings("ignore:the gradient of 'surface'")
def test_plain_pytorch_learns(capsys: pytest.CaptureFixture[str]) -> None:
    first, last, cases = run("plain_pytorch")
    assert last < first - 0.3
    assert max(case.dice for case in cases) > 0.3
    assert "case 7: Dice" in capsys.readouterr().out


def test_monais_loss_and_ours_train_alike() -> None:
    monais, ours, in_mm = run("monai_swap")
    assert monais == pytest.approx(ours, rel=1e-4)
    assert ours[-1] < 0.5 * ours[0]
    assert in_mm[-1] < in_mm[0]
