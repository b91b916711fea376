"""The training study: its patches, one short run of it, and what its tables say."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks.training import configurations, data, study, summary, train
from benchmarks.training.data import Volume

PATCH = (8, 16, 16)
PICTURES = ("curves", "differences", "outlines")


def volume(seed: int, size: int = 9) -> Volume:
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.random(data.SIZE, np.float32))
    label = torch.zeros(data.SIZE, dtype=torch.uint8)
    z, y, x = (int(rng.integers(0, n - extent)) for n, extent in zip(data.SIZE, (3, size, size), strict=True))
    label[z : z + 3, y : y + size, x : x + size] = 1
    return Volume(image + label, label, (9.0, 1.7, 1.7))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two iterations on two volumes a part."""
    monkeypatch.setattr(data, "SIZE", (8, 32, 32))
    monkeypatch.setattr(data, "load", lambda _, part: [volume(len(part)), volume(len(part) + 1)])
    small = [dataclasses.replace(c, iterations=2, patch=PATCH) for c in configurations.EXPLORATION]
    monkeypatch.setattr(study, "PLANS", {"exploration": configurations.Plan(tuple(small), (0, 1))})
    monkeypatch.setattr(train, "LOOKS", 2)
    monkeypatch.setattr(train, "MEAN_OVER", 1)


@pytest.mark.usefixtures("few")
def test_patches_are_the_same_for_every_loss_and_hold_what_is_asked_for() -> None:
    volumes = [volume(seed) for seed in range(3)]
    first, second = (list(data.batches(volumes, 6, 2, PATCH, 1.0, seed=4)) for _ in range(2))
    for (images, labels), (again, _) in zip(first, second, strict=True):
        assert images.shape == labels.shape == (2, 1, *PATCH)
        assert torch.equal(images, again)
        assert labels.flatten(1).any(1).all()  # a lesion in every patch
        assert torch.equal(images >= 1, labels == 1)  # mirrored together


@pytest.mark.usefixtures("few")
def test_study_runs_resumes_and_reports(tmp_path: Path) -> None:
    names = ["Dice + CE", "Hausdorff 1e-2, warm-up"]
    only = [word for name in names for word in ("--only", name)]
    arguments = ["run", "exploration", *only, "--out", str(tmp_path)]
    done = CliRunner().invoke(study.app, arguments)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "exploration"
    paths = sorted(folder.glob("*.json"))
    assert len(paths) == 4
    facts = json.loads(paths[-1].read_text())
    assert facts["configuration"]["name"] == names[1]
    assert [look["iteration"] for look in facts["validation"]] == [1, 2]
    assert len(facts["ratios"]) == 1
    assert len(facts["dice_ce"]) == 2
    before = [path.stat().st_mtime_ns for path in paths]
    assert CliRunner().invoke(study.app, arguments).exit_code == 0
    assert [path.stat().st_mtime_ns for path in paths] == before  # nothing was trained again
    assert CliRunner().invoke(study.app, [*arguments, "--test"]).exit_code == 0
    assert "test" in json.loads(paths[0].read_text())
    pictures = [word for name in PICTURES for word in (f"--{name}", str(tmp_path / f"{name}.png"))]
    for part in ("validation", "test"):
        wanted = ["report", "exploration", "--folder", str(tmp_path), "--part", part, *only, *pictures]
        told = CliRunner().invoke(study.app, wanted)
        assert told.exit_code == 0, told.output
        assert all(f"| {name} | 2 |" in told.output for name in names)
    for name in PICTURES:
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- study: exploration test -->\nold\n<!-- end -->\nafter\n")
    assert CliRunner().invoke(study.app, ["document", str(page), "--folder", str(tmp_path)]).exit_code == 0
    text = page.read_text()
    assert "| Dice + CE | 2 |" in text
    assert "old" not in text
    assert study.filled(text, tmp_path) == text
    wrong = CliRunner().invoke(study.app, ["run", "exploration", "--only", "no such", "--out", str(tmp_path)])
    assert wrong.exit_code == 2


def runs(dice: dict[str, list[list[float]]], **setting: Any) -> dict:
    return {
        name: {
            seed: {
                "configuration": dataclasses.asdict(
                    configurations.Configuration(
                        name, None if name == "Dice + CE" else "hausdorff", **setting
                    )
                ),
                "ratios": [[1, 0.5]],
                "validation": [
                    {
                        "cases": [
                            dict.fromkeys((m for _, m, _ in summary.COLUMNS), None) | {"dice": d}
                            for d in cases
                        ]
                    }
                ],
            }
            for seed, cases in enumerate(rows)
        }
        for name, rows in dice.items()
    }


def test_differences_are_paired() -> None:
    """Cases differ by far more than configurations; pairs show the difference all the same."""
    base = [[0.1, 0.5, 0.9], [0.2, 0.4, 0.8]]
    better = [[d + 0.05 for d in cases] for cases in base]
    text = summary.table(runs({"Dice + CE": base, "better": better}))
    assert "(+0.050: +0.050 to +0.050)" in text
    assert text.count("| 100% |") == 2  # no distance is defined


def test_the_page_holds_what_the_raw_results_say() -> None:
    text = study.PAGE.read_text(encoding="utf-8")
    assert study.filled(text, study.RESULTS) == text


def test_a_baseline_is_of_the_same_setting() -> None:
    base = {"Dice + CE": [[0.1, 0.5]]}
    other = {"other patches": [[0.4, 0.4]]}
    text = summary.table(runs(base) | runs(other, patch=(8, 8, 8)))
    assert "(" not in text.splitlines()[-1]
    assert summary.baseline("other patches", runs(base | other)) == "Dice + CE"


def test_configurations_have_names_and_files_of_their_own() -> None:
    for plan in study.PLANS.values():
        paths = {study.path_of(configuration, 0, Path()) for configuration in plan.configurations}
        assert len(paths) == len(plan.configurations)
        for configuration in plan.configurations:
            compound = configuration.loss((9.4, 1.7, 1.7))
            assert len(compound.losses) == (2 if configuration.surface else 1)


def test_brain_is_cut_between_its_lesions() -> None:
    parts = {part: data.load("brain", part)[0] for part in ("train", "validation")}
    assert {part: int(volume.label.sum()) for part, volume in parts.items()} == {
        "train": 3524,
        "validation": 613,
    }
    assert parts["train"].spacing == pytest.approx((6.5, 0.78125, 0.78125))


def test_interval_covers_the_mean_and_narrows_with_seeds() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for seeds in (3, 30):
        low, high = summary.interval(rng.normal(0.1, 0.05, (seeds, 20)))
        assert low < 0.1 < high
        widths.append(high - low)
    assert widths[1] < widths[0]
    assert np.isnan(summary.interval(np.full((2, 3), np.nan))).all()
