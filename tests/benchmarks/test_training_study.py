"""The training study: its patches, one short run of it, and what its tables say."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks.training import (
    configurations,
    costs,
    data,
    decision,
    first_study,
    second_study,
    strength,
    study,
    summary,
    train,
)
from benchmarks.training.configurations import Configuration, Plan, on, weight_of
from benchmarks.training.data import TrainingCase
from benchmarks.training.tasks import TASKS
from surfloss.bench.losses import Batch

PATCH = (8, 16, 16)
SIZE = (8, 32, 32)
PICTURES = ("curves", "differences", "outlines")


def case(seed: int, size: int = 9) -> TrainingCase:
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.random(SIZE, np.float32))
    label = torch.zeros(SIZE, dtype=torch.uint8)
    z, y, x = (int(rng.integers(0, n - extent)) for n, extent in zip(SIZE, (3, size, size), strict=True))
    label[z : z + 3, y : y + size, x : x + size] = 1
    return TrainingCase(str(seed), image + label, label, (9.0, 1.7, 1.7))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two iterations on two cases per part; of the first study, and of the second on phantoms."""
    monkeypatch.setattr(data, "load", lambda _, part, folder=None: [case(len(part)), case(len(part) + 1)])
    monkeypatch.setattr(train, "MEAN_OVER", 1)
    monkeypatch.setitem(TASKS, "phantom", dataclasses.replace(TASKS["phantom"], looks=2))
    hemorrhage = dataclasses.replace(TASKS["hemorrhage"], iterations=2, patch=PATCH)
    monkeypatch.setitem(TASKS, "hemorrhage", hemorrhage)
    first = [dataclasses.replace(c, iterations=2, patch=PATCH) for c in first_study.EXPLORATION]
    second = [on("hemorrhage"), *(on("hemorrhage", title, 0.5) for title in configurations.TERMS)]
    plans = {"exploration": Plan(tuple(first), (0, 1)), "second": Plan(tuple(second), (0, 1))}
    monkeypatch.setattr(study, "PLANS", plans)
    monkeypatch.setattr(strength, "RATIO_EVERY", 1)
    monkeypatch.setattr(train, "RATIO_EVERY", 1)


def call(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(study.app, list(arguments))
    assert done.exit_code == code, done.output
    return done.output


def test_patches_are_the_same_for_every_loss_and_hold_what_is_asked_for() -> None:
    cases, task = [case(seed) for seed in range(3)], TASKS["phantom"]
    first, second = (
        list(data.batches(cases, task, 6, seed=4, patch=PATCH, foreground_share=1.0)) for _ in range(2)
    )
    for (images, labels), (again, _) in zip(first, second, strict=True):
        assert images.shape == labels.shape == (2, 1, *PATCH)
        assert torch.equal(images, again)
        assert labels.flatten(1).any(1).all()  # a lesion in every patch
        assert torch.equal(images >= 1, labels == 1)  # mirrored together


def test_small_cases_are_surrounded_by_background() -> None:
    patch = (12, 32, 40)
    ((image, label),) = data.batches([case(0)], TASKS["phantom"], 1, seed=0, patch=patch)
    assert image.shape == (2, 1, *patch)
    assert label.sum() == 2 * case(0).label.sum()


def test_first_study_runs_resumes_and_reports(few: None, tmp_path: Path) -> None:
    names = ["Dice + CE", "Hausdorff 1e-2, warm-up"]
    only = [word for name in names for word in ("--only", name)]
    arguments = ["run", "exploration", *only, "--out", str(tmp_path)]
    call(*arguments)
    folder = tmp_path / "exploration"
    paths = sorted(folder.glob("*.json"))
    assert len(paths) == 4
    facts = json.loads(paths[-1].read_text())
    assert facts["configuration"]["name"] == names[1]
    assert [look["iteration"] for look in facts["validation"]] == [1, 2]
    assert len(facts["ratios"]) == len(facts["dice_ce"]) == 2
    before = [path.stat().st_mtime_ns for path in paths]
    call(*arguments)
    assert [path.stat().st_mtime_ns for path in paths] == before  # nothing was trained again
    assert "test" not in facts
    call("test", *arguments[1:])
    assert "test" in json.loads(paths[0].read_text())
    pictures = [word for name in PICTURES for word in (f"--{name}", str(tmp_path / f"{name}.png"))]
    for part in ("validation", "test"):
        told = call("report", *arguments[1:], "--part", part, *pictures)
        assert all(f"| {name} | 2 |" in told for name in names)
    for name in PICTURES:
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- study: exploration test -->\nold\n<!-- end -->\nafter\n")
    call("document", str(page), "--out", str(tmp_path))
    text = page.read_text()
    assert "| Dice + CE | 2 |" in text
    assert "old" not in text
    assert study.filled(text, tmp_path) == text
    call("run", "exploration", "--only", "no such", "--out", str(tmp_path), code=2)


def test_second_study_weighs_every_term_by_its_measured_strength(few: None, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path)]
    told = call("run", "second", *out, code=2)
    assert "strength hemorrhage" in told  # before any training
    assert not list((tmp_path / "second").glob("*.json"))
    call("strength", "hemorrhage", *out)
    strong = strength.read(tmp_path, "hemorrhage")
    assert strong.keys() >= configurations.TERMS.keys()
    assert strong["Dice + CE again"] == pytest.approx(1)
    call("run", "second", *out)
    runs = summary.read(tmp_path / "second", [c.name for c in study.PLANS["second"].configurations])
    for name, seeds in runs.items():
        title = name.removesuffix(", 0.5")
        assert seeds[0]["weight"] == pytest.approx(
            0.5 / strong[title] if title in configurations.TERMS else 0
        )
    # A term that is Dice + CE itself is as strong as was wanted: a warm-up of one step, so at the second.
    assert runs["Dice + CE again, 0.5"][1]["ratios"] == [[1, 0.0], [2, 0.5]]
    told = call("report", "second", "--control", *out)
    rows = {row.split(" | ")[0].strip("| "): row for row in told.splitlines()}
    assert "(" in rows["convolution, 0.5"]
    assert "(" not in rows["squared error, 0.5"]


def test_a_network_that_is_gone_is_named(few: None, tmp_path: Path) -> None:
    arguments = ("exploration", "--only", "Dice + CE", "--seed", "0", "--out", str(tmp_path))
    call("run", *arguments)
    next((tmp_path / "exploration").glob("*.pt")).unlink()
    told = call("test", *arguments, code=2)
    assert "no network of dice___ce.0: delete" in told


def runs(dice: dict[str, list[list[float]]], **setting: Any) -> dict:
    return {
        name: {
            seed: {
                "configuration": dataclasses.asdict(
                    Configuration(name, None if name == "Dice + CE" else "hausdorff", **setting)
                ),
                "ratios": [[1, 0.5], [300, 0.3]],
                "validation": [
                    {
                        "cases": [
                            dict.fromkeys((m for _, m, _ in summary.COLUMNS + summary.SECOND_COLUMNS), None)
                            | {"dice": d}
                            for d in cases
                        ]
                    }
                ],
            }
            for seed, cases in enumerate(rows)
        }
        for name, rows in dice.items()
    }


BASE = [[0.1, 0.5, 0.9], [0.2, 0.4, 0.8]]
BETTER = [[d + 0.05 for d in cases] for cases in BASE]


def test_differences_are_paired() -> None:
    """Cases differ by far more than configurations; pairs show the difference all the same."""
    text = summary.table(runs({"Dice + CE": BASE, "better": BETTER}))
    assert "(+0.050: +0.050 to +0.050)" in text
    assert text.count("| 100% |") == 2  # no distance is defined


def test_a_control_has_the_same_ratio() -> None:
    rows = {"Dice + CE": BASE, "squared error, 0.3": BASE, "Hausdorff, 0.3": BETTER, "Hausdorff, 1": BETTER}
    text = summary.table(runs(rows, ratio=0.3), reference=summary.control).splitlines()
    assert "| Hausdorff, 0.3 | 2 | 0.3 |" in text[4]
    assert "(+0.0500: +0.0500 to +0.0500)" in text[4]
    assert all("(" not in text[row] for row in (2, 3, 5))


def test_a_winner_must_beat_dice_ce_and_squared_error() -> None:
    rng = np.random.default_rng(0)
    base = 0.5 + 0.01 * rng.random((8, 30))
    names = ("Dice + CE", "squared error, 3", "absolute error, 3", "capped absolute error, 3")
    winners = {"nuclei": ("capped absolute error", 3.0)}

    def told(*gains: float) -> str:
        rows = {n: (base + g).tolist() for n, g in zip(names, gains, strict=True)}
        finals = runs(rows, ratio=3)
        for seeds in finals.values():
            for facts in seeds.values():
                for case in facts["validation"][0]["cases"]:
                    case.update(dict.fromkeys((m for _, m, _ in summary.SECOND_COLUMNS), case["dice"]))
        return decision.decided({"nuclei": finals}, winners, "validation")

    better = told(0, 0.01, 0.02, 0.03)
    assert "| nuclei | Dice + CE | +0.0300 (+0.0300 to +0.0300)" in better
    assert "| nuclei | absolute error, 3 | +0.0100" in better
    assert better.endswith("**the winner helps**.")
    for gains in ((0, 0.03, 0, 0.03), (0.03, 0, 0, 0.03), (0.04, 0.05, 0, 0)):  # even, even, and worse
        assert told(*gains).endswith("**no surface term did**.")


def test_costs_of_every_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        costs, "BATCHES", {name: Batch(2, 3, (8,) * dims) for name, dims in (("a", 2), ("b", 3))}
    )
    facts = costs.measured(1, 0.0)
    table = costs.table(facts)
    assert all(f"| {title} | " in table for title in (costs.REGION, *costs.LOSSES))
    assert "| Dice + CE | " in table
    assert table.count("(1)") >= 2  # beside itself


@pytest.mark.parametrize("page", study.PAGES, ids=lambda page: page.stem)
def test_the_pages_hold_what_the_raw_results_say(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert study.filled(text, study.RESULTS) == text


def test_a_control_gets_the_strength_that_the_winner_reached() -> None:
    at_weight_1 = {"Hausdorff": 3.0, "squared error": 0.1}
    reached = {"Hausdorff, 0.3": 0.12, "squared error, 0.3": 0.24}
    winner, control = (
        on("nuclei", title, 0.3, like="Hausdorff, 0.3") for title in ("Hausdorff", "squared error")
    )
    assert weight_of(winner, at_weight_1, reached) == pytest.approx(0.1)
    assert weight_of(control, at_weight_1, reached) == pytest.approx(3.0 * 0.5)
    with pytest.raises(KeyError):
        weight_of(control, at_weight_1, {})


def test_a_baseline_is_of_the_same_setting() -> None:
    base = {"Dice + CE": [[0.1, 0.5]]}
    other = {"other patches": [[0.4, 0.4]]}
    text = summary.table(runs(base) | runs(other, patch=(8, 8, 8)))
    assert "(" not in text.splitlines()[-1]
    assert summary.baseline("other patches", runs(base | other)) == "Dice + CE"


def test_configurations_have_names_and_files_of_their_own() -> None:
    for plan in (first_study.PLANS | second_study.PLANS).values():
        paths = {study.path_of(configuration, 0, Path()) for configuration in plan.configurations}
        assert len(paths) == len(plan.configurations)
        for configuration in plan.configurations:
            compound = configuration.loss((9.4, 1.7, 1.7), 1.0)
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


def test_p_values_are_small_where_the_interval_is_off_zero() -> None:
    rng = np.random.default_rng(0)
    apart, near = rng.normal(0.1, 0.05, (6, 20)), rng.normal(0.0, 0.05, (6, 20))
    near[0, 0] = np.nan
    assert summary.p_value(apart) == pytest.approx(2 / (summary.RESAMPLES + 1))
    assert 0.1 < summary.p_value(near) <= 1
    assert summary.p_value(-apart) == summary.p_value(apart)
