"""The scripts of `examples/` run and do what they say."""

import importlib.util
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "examples"


def run(name: str) -> Any:
    return runpy.run_path(str(FOLDER / f"{name}.py"))["main"]()


# Lightning's torchmetrics imports torchvision where it is installed, but PyPI's does not import beside a CPU
# build of PyTorch. So the script runs as if there were none; what is printed last is the result.
WITHOUT_TORCHVISION = """
import importlib.metadata, json, runpy, sys

installed = importlib.metadata.version

def version(name):
    if name == "torchvision":
        raise importlib.metadata.PackageNotFoundError(name)
    return installed(name)

importlib.metadata.version = version
sys.modules["torchvision"] = None
print(json.dumps(runpy.run_path(sys.argv[1])["main"]()))
"""


def test_every_example_has_a_test() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {"lightning_module", "monai_swap", "plain_pytorch"}


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


def test_lightning_resumes_exactly() -> None:
    if importlib.util.find_spec("lightning") is None:
        pytest.skip("Lightning is not installed")
    command = [sys.executable, "-c", WITHOUT_TORCHVISION, str(FOLDER / "lightning_module.py")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    whole, resumed, weights = json.loads(printed.splitlines()[-1])
    assert len(whole) == 2 * len(resumed)
    assert resumed == whole[-len(resumed) :]
    assert weights[0] == weights[1]
    assert 0 < weights[0]["surface"] < 1e-3  # the schedule's end, times the monitor's factor
    assert sum(whole[-3:]) < 0.3 * sum(whole[:3])
