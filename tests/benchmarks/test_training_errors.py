"""What the study says about errors and about where gradients lie."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.training import errors, pictures, strength
from benchmarks.training.data import TrainingCase
from benchmarks.training.network import plain
from benchmarks.training.tasks import TASKS

TASK = dataclasses.replace(
    TASKS["nuclei"], network=plain((4, 8), 2), patch=(32, 32), iterations=4, averaged=0.5
)


@pytest.fixture
def scene() -> tuple[np.ndarray, TrainingCase]:
    """A square that is found but for its rim, one that is missed, and an island of eight pixels far away."""
    label = torch.zeros(40, 40, dtype=torch.uint8)
    label[5:15, 5:15] = 1
    label[5:10, 25:30] = 1
    found = np.zeros((40, 40), np.uint8)
    found[6:14, 6:14] = 1
    found[36:38, 36:40] = 1
    return found, TrainingCase("scene", label.float(), label, (1.0, 1.0))


def test_each_kind_of_error_is_counted(scene: tuple[np.ndarray, TrainingCase]) -> None:
    found, case = scene
    facts = errors.analysed([found], [case], TASK)
    assert facts["wrong class"] == [0]
    assert facts["false"] == [[0, 0, 0, 0, 8]]
    assert np.sum(facts["missed"]) == 36 + 25
    assert facts["missed"][0][0] == 36 + 16  # both rims
    assert sum(errors.shares(facts)["false"]) == pytest.approx(8 / 69, rel=1e-2)


def test_cures_remove_one_kind_of_error_only(scene: tuple[np.ndarray, TrainingCase]) -> None:
    found, case = scene
    target = case.label.numpy()
    cured = errors.cures(found, case, TASK)
    assert np.array_equal(cured["as it is"], found)
    assert np.array_equal(cured["no islands"], np.where(np.arange(40)[:, None] > 20, 0, found))
    assert np.array_equal(cured["no missed objects"] != found, (target > 0) & (np.arange(40) > 20))
    assert (cured["no far errors"] != target).sum() == 36 + 25
    assert (cured["no near errors"] != target).sum() == 8
    rows = errors.table(errors.analysed([found], [case], TASK)).splitlines()
    assert len(rows) == 2 + len(cured)
    assert rows[-1].startswith("| no near errors |")


def test_strength_says_how_hard_and_where_terms_pull(
    scene: tuple[np.ndarray, TrainingCase], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, case = scene
    monkeypatch.setitem(TASKS, "nuclei", TASK)
    monkeypatch.setattr(strength, "RATIO_EVERY", 2)
    facts = strength.measured("nuclei", [case])
    assert facts["moments"] == [2, 4, 2, 4]
    assert facts["ratios"]["Dice + CE again"] == pytest.approx([1] * 4)
    assert facts["cosines"]["squared error"] == pytest.approx([1] * 4)
    assert facts["median"]["convolution"] == pytest.approx(np.median(facts["ratios"]["convolution"][1::2]))
    for found in facts["shares"].values():
        assert np.sum(found, axis=1) == pytest.approx(1, abs=0.01)
    pictures.draw_strength(facts, tmp_path / "strength.png")
    pictures.draw_errors({"nuclei": errors.analysed([scene[0]], [case], TASK)}, tmp_path / "errors.png")
    assert all(path.stat().st_size > 5000 for path in tmp_path.iterdir())
