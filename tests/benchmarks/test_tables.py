"""Documents whose tables come from the JSON and from nowhere else, and goals judged by the worst row."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import goals, plans, tables
from benchmarks.documents import filled
from benchmarks.goals import GOALS
from benchmarks.plans import PATCH
from benchmarks.published import Gpu, Machine, Published, WeighedOutcome
from surfloss.bench.result import Column, Outcome, Row
from surfloss.bench.timing import Times
from surfloss.bench.workloads import VOXELS, Size
from tests.support.bench_results import on_a_cpu

MACHINE = Machine("A CPU", 2, architecture="x86_64", instruction_sets=("avx", "avx2"))


def published() -> Published:
    result = Published.of(on_a_cpu(), MACHINE, "0123456789abcdef+")
    weights = {(0, "surfloss/cpu"): 2**26, (0, "scipy"): 28 * result.rows[0].voxels}
    weights[3, "surfloss/cpu"] = 2 * 8 * result.rows[3].voxels
    for (place, name), peak in weights.items():
        results = result.rows[place].results
        results[name] = WeighedOutcome(**vars(results[name]), peak_extra_bytes=peak)
    return result


def test_the_other_tables() -> None:
    result = published()
    assert tables.summary(result) == (
        ["task", "size", "surfloss/cpu", "edt", "scipy", "monai"],
        [["edt", "64x512x512 @ 5/0.42/0.42", "14.0 ms to 54.4 ms", "5.5x to 15.8x", "357x", "-"]],
    )
    assert tables.shape(result)[1] == [
        ["64x512x512 @ 5/0.42/0.42", "random", "3.9x", "1.4x", "-"],
        ["64x512x512 @ 5/0.42/0.42", "noise", "1.4x", "0.72x", "-"],
    ]
    head, body = tables.memory(result)
    assert head == ["task", "size", "surfloss/cpu", "edt", "scipy", "monai"]
    assert [row[2:] for row in body] == [["1.0", "-", "7.0", "-"], ["2.0", "-", "-", "-"]]
    assert tables.accuracy(result)[1] == [
        ["edt", "all", "0", "2e-06", "0", "-"],
        ["loss", "all", "0", "-", "-", "0"],
    ]
    assert tables.speed(result) == (
        "For masks of 64x512x512 voxels, `surfloss.two_sided_edt` is 5.5x to 15.8x as fast as edt and 357x "
        "as fast as SciPy on A CPU with 1 thread."
    )


def row(task: str, size: Size, items: int = 1, mask: str = "blobs", **seconds: float) -> Row:
    """A row with the median times of contestants, whose names have `__` for `/`."""
    results = {name.replace("__", "/"): Outcome(times=Times(s, s, s, 1)) for name, s in seconds.items()}
    return Row(task, [*size], [*VOXELS], mask, int(np.prod(size)), results, items)


def cubes(mask: str, contestant: str, seconds: dict[int, float]) -> list[Row]:
    return [row("edt", (side,) * 3, mask=mask, **{contestant: s}) for side, s in seconds.items()]


def test_slopes_of_known_powers() -> None:
    rows = [row("edt", (n,) * 3, linear=1e-9 * n**3, square=1e-9 * n**6) for n in (128, 64, 256)]
    rows += cubes("noise", "linear", {64: 1.0, 128: 1.0})  # two points are no line
    rows += cubes("blobs", "linear", {32: 99.0})  # overheads, not the transform
    rows += [row("edt", (32, 64, 128), mask="noise", linear=1.0)]
    result = replace(
        published(), rows=rows, contestants={n: Column(["edt"], "") for n in ("linear", "square")}
    )
    found = {(slope.mask, slope.contestant): slope for slope in goals.slopes(result)}
    assert set(found) == {("blobs", "linear"), ("blobs", "square")}
    assert found["blobs", "linear"].slope == pytest.approx(1)
    assert found["blobs", "square"].slope == pytest.approx(2)
    assert found["blobs", "linear"].sides == (64, 128, 256)
    assert tables.scaling(result) == (
        ["mask", "cubes", "linear", "square"],
        [["blobs", "64^3 to 256^3", "1.00", "2.00"]],
    )


def test_documents_are_filled(tmp_path: Path) -> None:
    result = published()
    (tmp_path / "here.json").write_text(json.dumps(result.to_dict()))
    document = (
        "Before\n<!-- benchmark: accuracy of here -->\nold\n<!-- end -->\nbetween\n"
        "<!-- benchmark: machine of here -->\n<!-- end -->\n<!-- study: other -->\nkept\n<!-- end -->\n"
        "<!-- benchmark: edt of elsewhere -->\n| stale |\n<!-- end -->\nafter\n"
    )

    def fill(text: str) -> str:
        return filled(text, "benchmark", lambda words: tables.block(words, tmp_path))

    done = fill(document)
    assert done == (
        "Before\n<!-- benchmark: accuracy of here -->\n\n"
        "| task | rows | surfloss/cpu | edt | scipy | monai |\n| --- | --- | ---: | ---: | ---: | ---: |\n"
        "| edt | all | 0 | 2e-06 | 0 | - |\n| loss | all | 0 | - | - | 0 |\n\n<!-- end -->\nbetween\n"
        f"<!-- benchmark: machine of here -->\n\n{chr(10).join(result.notes())}\n\n<!-- end -->\n"
        "<!-- study: other -->\nkept\n<!-- end -->\n"
        "<!-- benchmark: edt of elsewhere -->\n<!-- end -->\nafter\n"
    )
    assert fill(done) == done
    with pytest.raises(ValueError, match="block: got 'colors', wanted machine, speed, costs, passes, edt or"):
        fill("<!-- benchmark: colors of here -->\n<!-- end -->")


@pytest.mark.parametrize("document", tables.DOCUMENTS, ids=lambda path: path.name)
def test_committed_tables_are_those_of_the_committed_json(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert "<!-- benchmark: " in text
    assert filled(text, "benchmark", tables.block) == text


@pytest.mark.parametrize("path", sorted(tables.RESULTS.glob("[cg]pu-*.json")), ids=lambda path: path.stem)
def test_committed_json_is_read_whole(path: Path) -> None:
    committed, again = json.loads(path.read_text(encoding="utf-8")), Published.read(path).to_dict()
    for old, new in zip(committed["cells"], again["cells"], strict=True):
        for name, outcome in old["results"].items():
            known = {key: value for key, value in outcome.items() if value is not None}
            assert new["results"][name] == known
        assert {**old, "results": {}} == {**new, "results": {}}


def measured(**more: object) -> Published:
    """A result whose numbers are the goals of 4 masks of 16x320x320 and of 512^3, on a GPU of 1 TB/s."""
    floor = 5 * 512**3 / 1e12
    rows = [
        row("edt", PATCH, 4, surfloss__a=1e-4, surfloss__b=5e-5, cupyx=3e-3),
        row("edt", PATCH, 4, surfloss__a=2e-4, surfloss__b=5e-5, cupyx=3e-3),
        row("edt", (512,) * 3, surfloss__a=13 * floor, surfloss__b=4 * floor, cupyx=1.0),
        row("loss", PATCH, surfloss__a=1e-3, monai=1.0),
        *cubes("noise", "surfloss/a", {side: 1e-9 * side ** (3 * 1.05) for side in (64, 128, 256)}),
    ]
    outcomes = rows[3].results
    outcomes["surfloss/a"] = WeighedOutcome(
        **vars(outcomes["surfloss/a"]), peak_extra_bytes=2 * 4 * 16 * 320 * 320
    )
    steps = {"dice_ce": {"ratio": 1.0}, "dice_ce + hausdorff": {"ratio": 1.02}}
    names = ("surfloss/a", "surfloss/b", "cupyx", "monai")
    facts = {
        "baseline": "surfloss/a",
        "contestants": {name: Column(["edt", "loss"], "") for name in names},
        "absent": {},
        "machine": Machine("A CPU", 2, gpu=Gpu("A GPU", copy_bytes_per_s=1e12)),
        "rows": rows,
        "training_step": {"patch": list(PATCH), "steps": steps},
    }
    return Published(**vars(published()) | facts | more)


def test_goals_are_judged_by_the_worst_row() -> None:
    head, body = tables.goals(measured())
    assert head == ["goal", "required", "aim", "surfloss/a", "surfloss/b"]
    rows = {row[0]: row[1:] for row in body}
    assert rows["4 masks of 16x320x320: speedup over cupyx"] == [
        "at least 20.0x",
        "60.0x",
        "15.0x, missed",
        "60.0x, aim met",
    ]
    shown = [row for row in body if row[3] != "not measured"]
    assert {row[0]: row[3] for row in shown[1:]} == {
        "4 masks of 16x320x320: time": "200 µs, met",
        "512^3: speedup over cupyx": f"{1 / (13 * 5 * 512**3 / 1e12):.0f}x, aim met",
        "512^3: time over moving 5 bytes per voxel": "13.0x, missed",
        "Hausdorff loss, 2x1x16x320x320: time": "1.00 ms, missed",
        "Hausdorff loss: speedup over MONAI": "1000x, met",
        "Hausdorff loss: peak memory, in float32 inputs": "1.0, aim met",
        "nnU-Net's 3-D training step: time added": "+2.0%, met",
        "slope of log time over log voxels, cubes": "1.05, met",
    }
    assert rows["nnU-Net's 3-D training step: time added"][3] == "not measured", "the baseline's alone"
    assert rows["512^3: time over moving 5 bytes per voxel"][3] == "4.0x, aim met"
    assert tables.floor(measured())[1][2] == ["512x512x512", "blobs", "13.0x", "4.0x"]


def test_a_small_training_step_says_nothing_of_the_goal() -> None:
    tiny = measured().training_step | {"patch": [8, 32, 32]}
    assert not list(goals._training_step(measured(training_step=tiny), "surfloss/a"))


def test_every_goal_has_its_rows_in_the_plan() -> None:
    """Where every contestant has been timed on every workload of the plan, no goal is left unmeasured."""
    names = ["surfloss/a", "cupyx", "cucim", "monai"]
    outcome = WeighedOutcome(times=Times(1.0, 1.0, 1.0, 1), peak_extra_bytes=1)
    rows = [
        replace(row(w.task, w.size, w.items, w.mask), results=dict.fromkeys(names, outcome))
        for w in plans.gpu()
    ]
    result = measured(rows=rows, contestants={name: Column(["edt", "loss"], "") for name in names})
    assert all(line[3] != "not measured" for line in tables.goals(result)[1])


def test_tables_of_every_gpu_or_of_none(tmp_path: Path) -> None:
    def fill(text: str) -> str:
        return filled(text, "benchmark", lambda words: tables.block(words, tmp_path))

    block = "<!-- benchmark: {} of gpu-* -->\n<!-- end -->\n"
    unmeasured = fill(block.format("goals") + block.format("parts"))
    assert unmeasured.count("not measured yet |") == len(GOALS)
    assert "\n\nNot measured yet.\n\n" in unmeasured
    failed = {
        "state": "failed",
        "reason": "ended with code 1",
        "passed": 7,
        "failed": {"x": ""},
        "seconds": 3,
    }
    parts = {
        "machine": {"state": "done", "seconds": 9.6},
        "tests": failed,
        "plot": {"state": "skipped", "reason": "no matplotlib"},
    }
    for name in ("gpu-one", "gpu-two"):
        (tmp_path / f"{name}.json").write_text(json.dumps(measured(parts=parts).to_dict()))
    done = fill(unmeasured)
    assert "yet" not in done
    assert done.count("**gpu-one**") == done.count("**gpu-two**") == 2
    assert "| tests | failed: ended with code 1 | 7 | 1 | 3 s |" in done
    assert "| plot | skipped: no matplotlib | - | - | - |" in done
    assert fill(done) == done
