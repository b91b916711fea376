"""The contestants of a GPU, tried on the CPU: batches, the libraries on CuPy, the goals, and the command."""

import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from typer.testing import CliRunner

from surfloss.bench import accelerator, budgets, cases, peers, plan, report, run
from surfloss.bench.peers import Contestant
from surfloss.cli import app
from tests.support import oracles

SIZE, ITEMS = (5, 12, 14), 3


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy and SciPy under the names of CuPy and cuCIM, with the argument that is theirs alone."""

    def transform(image: np.ndarray, sampling: tuple[float, ...], *, float64_distances: bool) -> np.ndarray:
        assert not float64_distances
        return ndimage.distance_transform_edt(image, sampling=sampling).astype(np.float32)

    def module(name: str, **names: object) -> None:
        made = types.ModuleType(name)
        made.__dict__.update(names)
        monkeypatch.setitem(sys.modules, name, made)

    names = ("asarray", "logical_not", "from_dlpack", "empty", "float32", "add")
    module("cupy", **{name: getattr(np, name) for name in names})
    for package, last in (("cupyx.scipy.ndimage", "cupyx"), ("cucim.core.operations.morphology", "cucim")):
        parts = package.split(".")
        for depth in range(1, len(parts)):
            module(".".join(parts[:depth]), __path__=[])
        module(package, distance_transform_edt=transform)
        monkeypatch.delitem(sys.modules, f"surfloss.bench.peers.{last}", raising=False)
    monkeypatch.delitem(sys.modules, "surfloss.bench.peers._cupy", raising=False)


def on_cpu(contestant: Contestant) -> Contestant:
    return replace(contestant, device="cpu")


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("size", [SIZE, (1, 12, 14)], ids=str)
@pytest.mark.parametrize(
    "contestant",
    [peers.ours("reference", "cpu"), *(on_cpu(p) for p in peers.GPU_PEERS if "edt" in p.tasks)],
    ids=lambda c: c.name,
)
def test_distances_of_a_batch(contestant: Contestant, size: cases.Size) -> None:
    case = cases.make(size, "random", cases.HEAD_CT, ITEMS)
    masks, spacing = case.batch()
    got = np.asarray(contestant.prepare("edt", case, 1)())
    wanted = np.stack([oracles.scipy_two_sided(mask, spacing) for mask in masks])
    assert got.shape == ((ITEMS, *size) if size[0] > 1 else (ITEMS, *size[1:]))
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    single = cases.make(SIZE, "random", cases.HEAD_CT)
    assert np.asarray(contestant.prepare("edt", single, 1)()).shape == SIZE


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize(
    "contestant", [on_cpu(p) for p in peers.GPU_PEERS if "loss" in p.tasks], ids=lambda c: c.name
)
def test_loss_is_the_references(contestant: Contestant) -> None:
    if contestant.name == "monai":
        pytest.importorskip("monai.losses")
    case = cases.make((6, 12, 17), "blobs")
    wanted = peers.ours("reference").prepare("loss", case, 1)()
    call = contestant.prepare("loss", case, 1)
    for _ in range(2):
        assert run.difference("loss", call(), wanted) < 1e-5


def test_batches_hold_moved_masks() -> None:
    case = cases.make(SIZE, "blobs", cases.HEAD_CT, ITEMS)
    masks, spacing = case.batch()
    assert (masks.shape, spacing) == ((ITEMS, *SIZE), cases.HEAD_CT)
    np.testing.assert_array_equal(masks[0], case.voxels)
    np.testing.assert_array_equal(masks[2], np.roll(case.voxels, (14, 26), (1, 2)))
    assert case.facts()["items"] == ITEMS
    planes, spacing = cases.make((1, 8, 9), "random", (5.0, 2.0, 3.0), 2).batch()
    assert (planes.shape, spacing) == ((2, 8, 9), (2.0, 3.0))


def test_every_backend_of_a_gpu_takes_part_as_called_and_as_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "unavailable", lambda name, device: None)
    names = [c.name for c in peers.choose([], ["cpu"], "cuda")]
    assert names == ["surfloss/cpu", "surfloss/cpu graph"]
    assert [c.name for c in peers.choose(None, ["cpu"], "cuda")[2:]] == ["cupyx", "cucim", "monai", "scipy"]
    with pytest.raises(ValueError, match="peers: got 'edt', wanted some of cupyx, cucim, monai, scipy"):
        peers.choose(["edt"], ["cpu"], "cuda")


def test_a_backend_of_another_device_is_refused() -> None:
    with pytest.raises(
        ValueError, match="backends: got 'cpu', wanted backends that run here: it runs on cpu"
    ):
        peers.choose([], ["cpu"], "cuda")


def test_a_comparison_in_batches_is_kept_row_by_row() -> None:
    cells = [plan.drawn("edt", SIZE, "random", items=2), plan.drawn("edt", SIZE, "blobs", without=("gone",))]
    contestants = [peers.ours("reference", "cpu"), Contestant("gone", "scipy", "json", ("edt",), "")]
    kept: list[int] = []
    result = run.compare(
        cells, contestants, threads=1, seconds=0.01, keep=lambda r: kept.append(len(r["cells"]))
    )
    assert kept == [1, 2]
    batch, single = result["cells"]
    assert batch["items"] == 2
    assert "disagrees" in batch["results"]["gone"], "the adapter without batches gives one item"
    assert set(single["results"]) == {"surfloss/reference"}
    assert result["machine"]["gpu"]["copy_bytes_per_s"] > 0
    assert report.TABLES["edt"](result)[1][0][0] == "5x12x14 x 2"
    json.dumps(result, allow_nan=False)


def test_large_volumes_need_a_fast_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases.make(SIZE, "random", items=2)
    assert run._reference(case, "cuda").name == "surfloss/reference"
    monkeypatch.setattr(run, "_QUICK", 10)
    monkeypatch.setattr(run, "unavailable", lambda name, device: None)
    assert run._reference(case, "cuda").name == "surfloss/cpu"
    assert run._reference(case, None).name == "surfloss/reference"
    monkeypatch.setattr(run, "unavailable", lambda name, device: "not built")
    assert run._reference(case, "cuda").name == "surfloss/reference"
    monkeypatch.setattr(run, "_MOST", 10)
    row = run._row(
        plan.drawn("edt", SIZE, "random", items=2), [peers.ours("reference", "cuda")], 1, 1, lambda _: None
    )
    assert "too many to compare without" in row["results"]["surfloss/reference"]["failed"]


def test_waiting_and_weighing_are_for_gpus() -> None:
    assert accelerator.synchronized(len, "cpu") is len
    assert accelerator.peak_extra_bytes(lambda: torch.ones(9), "cpu") is None


def measured(**more: object) -> dict:
    """A result whose numbers are the goals of 4 masks of 16x320x320 and of 512^3, on a GPU of 1 TB/s."""

    def cell(task: str, size: tuple[int, ...], items: int, **times: float) -> dict:
        outcomes = {name.replace("__", "/"): {"median_s": s} for name, s in times.items()}
        voxels = int(np.prod(size))
        return {
            "task": task,
            "size": [*size],
            "spacing": [1, 1, 1],
            "mask": "blobs",
            "items": items,
            "voxels": voxels,
            "results": outcomes,
        }

    floor = 5 * 512**3 / 1e12
    cells = [
        cell("edt", plan.PATCH, 4, surfloss__a=1e-4, surfloss__b=5e-5, cupyx=3e-3),
        cell("edt", plan.PATCH, 4, surfloss__a=2e-4, surfloss__b=5e-5, cupyx=3e-3),
        cell("edt", (512,) * 3, 1, surfloss__a=13 * floor, surfloss__b=4 * floor, cupyx=1.0),
        cell("loss", plan.PATCH, 1, surfloss__a=1e-3, monai=1.0),
    ]
    cells[3]["results"]["surfloss/a"]["peak_extra_bytes"] = 2 * 4 * 16 * 320 * 320
    steps = {"dice_ce": {"ratio": 1.0}, "dice_ce + hausdorff": {"ratio": 1.02}}
    return {
        "baseline": "surfloss/a",
        "contestants": {
            n: {"tasks": ["edt", "loss"]} for n in ("surfloss/a", "surfloss/b", "cupyx", "monai")
        },
        "absent": {},
        "machine": {"gpu": {"copy_bytes_per_s": 1e12}},
        "cells": cells,
        "slopes": [{"task": "edt", "contestant": "surfloss/a", "slope": 1.05}],
        "training_step": {"patch": list(plan.PATCH), "steps": steps},
    } | more


def test_goals_are_judged_by_the_worst_cell() -> None:
    head, body = report.TABLES["budgets"](measured())
    assert head == ["goal", "must", "should", "surfloss/a", "surfloss/b"]
    rows = {row[0]: row[1:] for row in body}
    assert rows["4 masks of 16x320x320: cupyx takes"] == [
        "at least 20.0x",
        "60.0x",
        "15.0x, missed",
        "60.0x, aim met",
    ]
    shown = [row for row in body if row[3] != "not measured"]
    assert {row[0]: row[3] for row in shown[1:]} == {
        "the same: time": "200 µs, met",
        "512^3: cupyx takes": f"{1 / (13 * 5 * 512**3 / 1e12):.0f}x, aim met",
        "512^3: time over 5 bytes a voxel": "13.0x, missed",
        "Hausdorff loss of 2x1x16x320x320: time": "1.00 ms, missed",
        "the same: MONAI (cuCIM, else SciPy) takes": "1000x, met",
        "the same: peak memory, float32 inputs": "1.0, aim met",
        "nnU-Net's 3-D training step: added": "+2.0%, met",
        "slope of time over volume, cubes": "1.05, met",
    }
    assert rows["nnU-Net's 3-D training step: added"][3] == "not measured", "the baseline's alone"
    assert rows["512^3: time over 5 bytes a voxel"][3] == "4.0x, aim met"


def test_a_small_training_step_says_nothing_of_the_goal() -> None:
    tiny = measured()["training_step"] | {"patch": [8, 32, 32]}
    assert not list(budgets._training_step(measured(training_step=tiny), "surfloss/a"))


def test_every_goal_has_its_cells_in_the_plan() -> None:
    """Where every contestant has been timed on every cell of the plan, no goal is left unmeasured."""
    names = ["surfloss/a", "cupyx", "cucim", "monai"]
    result = measured(slopes=[{"task": "edt", "contestant": "surfloss/a", "slope": 1.0}])
    result["contestants"] = {name: {} for name in names}
    result["cells"] = [
        {
            "task": cell.task,
            "size": [*cell.size],
            "items": cell.make.args[3],
            "voxels": 1,
            "results": {name: {"median_s": 1.0, "peak_extra_bytes": 1} for name in names},
        }
        for cell in plan.gpu()
    ]
    assert all(row[3] != "not measured" for row in report.TABLES["budgets"](result)[1])
    cubes = [cell for cell in plan.gpu() if cell.make.args[3] == 1 and len({*cell.size}) == 1]
    assert {64, 128, 256, 512} <= {cell.size[0] for cell in cubes if cell.mask == "blobs"}


def test_tables_of_every_gpu_or_of_none(tmp_path: Path) -> None:
    block = "<!-- benchmark: {} of gpu-* -->\n<!-- end -->\n"
    document = block.format("budgets") + block.format("parts")
    unmeasured = report.filled(document, tmp_path)
    assert unmeasured.count("not measured yet |") == len(budgets.BUDGETS)
    assert "\n\nNot measured yet.\n\n" in unmeasured
    parts = {
        "machine": {"state": "done", "seconds": 9.6},
        "tests": {
            "state": "failed",
            "reason": "ended with code 1",
            "passed": 7,
            "failed": {"x": ""},
            "seconds": 3,
        },
        "plot": {"state": "skipped", "reason": "no matplotlib"},
    }
    for name in ("gpu-one", "gpu-two"):
        (tmp_path / f"{name}.json").write_text(json.dumps(measured(parts=parts)))
    filled = report.filled(unmeasured, tmp_path)
    assert "yet" not in filled
    assert filled.count("**gpu-one**") == filled.count("**gpu-two**") == 2
    assert "| tests | failed: ended with code 1 | 7 | 1 | 3 s |" in filled
    assert "| plot | skipped: no matplotlib | - | - | - |" in filled
    assert report.filled(filled, tmp_path) == filled


def test_the_command_needs_the_device_it_is_told() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for device, message in (
        ("cuda", "Error: device: got 'cuda', wanted a GPU: PyTorch"),
        ("tpu", "Error: device: got 'tpu', wanted cpu or cuda"),
    ):
        done = CliRunner().invoke(app, ["bench", "--device", device])
        assert done.exit_code == 2
        assert done.stderr.startswith(message)
        assert len(done.stderr.strip().splitlines()) == 1


def test_the_command_takes_a_gpus_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The device is the CPU here, and has the other's name where rows and peers are chosen."""
    own = [peers.ours("reference", "cpu")]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(peers, "choose", lambda names, backends, device: own if device == "cuda" else [])
    arguments = [
        "--device",
        "cuda",
        "--quick",
        "--seconds",
        "0.01",
        "--threads",
        "1",
        "--json",
        str(tmp_path),
    ]
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, ["bench", *arguments])
    assert done.exit_code == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["gpu-cpu.json"]
    for title in (
        "Contour loss",
        "Time as a multiple of moving 5 bytes a voxel",
        "8x48x48 x 2 @ 5/0.42/0.42",
    ):
        assert title in done.stdout
    result = json.loads((tmp_path / "gpu-cpu.json").read_text())
    assert len(result["cells"]) == len(plan.gpu_quick())
