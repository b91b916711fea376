"""The files around the code: versions agree, pages are current, and types reach a user's type checker."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import surfloss

ROOT = Path(__file__).parents[1]


def test_the_version_is_the_same_everywhere() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert f'version = "{surfloss.__version__}"' in project
    assert citation["version"] == surfloss.__version__
    assert citation["cff-version"] == "1.2.0" and citation["authors"] and citation["title"]  # noqa: PT018


USER = """
import torch
from surfloss import CompoundLoss, DiceCELoss, HausdorffDTLoss, metrics, two_sided_edt
from surfloss.schedules import LinearWarmup

surface = HausdorffDTLoss(softmax=True, to_onehot_y=True, spacing=(5.0, 0.42, 0.42))
loss = CompoundLoss({"dice_ce": (DiceCELoss(), 1.0), "surface": (surface, LinearWarmup(1e-3, 5))})
mask = torch.zeros(1, 4, 5, 6, dtype=torch.bool)
distance: torch.Tensor = two_sided_edt(mask, spatial_dims=3)
dice: float | None = metrics.evaluate(mask[0], mask[0], spacing=(5.0, 0.42, 0.42), tolerance=1.0).dice
HausdorffDTLoss(alpha="two")
"""


def test_a_user_of_the_types_gets_an_error_for_a_wrong_argument_alone(tmp_path: Path) -> None:
    """mypy --strict on a program that uses the installed package."""
    program = tmp_path / "program.py"
    program.write_text(USER)
    options = ["--strict", "--cache-dir", str(tmp_path / "cache"), "--config-file", ""]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(program)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if "error:" in line and "program.py" in line]
    assert len(errors) == 1, done.stdout + done.stderr
    assert "alpha" in errors[0]


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md"])
def test_what_a_public_project_has(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8").startswith("# ")
