"""The report of runs written by hand: tables, tests, failures, files, and the page in a browser."""

import csv
import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from scipy import stats

from surfloss.nnunet.comparison import agreement_table, comparison_table
from surfloss.nnunet.experiments import CONTOUR_3D, DICE_CE_2D, DICE_CE_3D, HAUSDORFF_3D, Ensemble
from surfloss.nnunet.pictures import worst_cases
from surfloss.nnunet.report import write_report
from surfloss.nnunet.results import read_cases, tables
from surfloss.nnunet.run_folder import CROSS_VALIDATION, RunFolder
from tests.nnunet.conftest import MINI
from tests.nnunet.synthetic import synthetic_run
from tests.support.browser import assert_sound, needs_browser, visit

EXPERIMENT = dataclasses.replace(
    MINI,
    name="hand-written",
    models=(DICE_CE_2D, DICE_CE_3D, CONTOUR_3D, HAUSDORFF_3D),
    ensembles=(Ensemble("ensemble", "Dice+CE", (DICE_CE_2D.name, DICE_CE_3D.name)),),
)
CASES = 8
MISSED = {("contour_3d", "002"), ("dice_ce_2d", "001")}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = synthetic_run(tmp_path_factory.mktemp("whole") / "run", EXPERIMENT, CASES, MISSED)
    write_report(run)
    return run


@pytest.fixture
def small(tmp_path: Path) -> RunFolder:
    """Two cases, of which the 2-D model misses the first."""
    experiment = dataclasses.replace(EXPERIMENT, models=EXPERIMENT.models[:3])
    return synthetic_run(tmp_path / "run", experiment, 2, {("dice_ce_2d", "001")})


def values(run: RunFolder, name: str, metric: str) -> dict[str, float | None]:
    return {case: classes["1"][metric] for case, classes in read_cases(run, name).items()}


def test_tables(small: RunFolder) -> None:
    architectures, losses = (table.rows for table in tables(small))
    assert [row.title for row in architectures] == [
        "2D U-Net, Dice+CE",
        "3D U-Net, Dice+CE",
        "2D + 3D ensemble, Dice+CE",
    ]
    assert [row.title for row in losses] == [
        "3D U-Net, Dice+CE",
        "3D U-Net, Dice+CE+contour",
    ]
    assert architectures[0].paper == ("71.0 ± 30.0", "29.3 ± 30.3", "null", "49.6 ± 20.9")
    # One prediction of two is empty: its Dice counts as 0, its distances are undefined.
    dice = 100 * (values(small, "dice_ce_2d", "dice")["002"] or 0) / 2
    distance = values(small, "dice_ce_2d", "hausdorff_distance")["002"]
    assert architectures[0].ours[0] == f"{dice:.1f} ± {dice:.1f}"
    assert architectures[0].ours[2] == f"{distance:.1f} ± 0.0"
    assert (architectures[0].null, architectures[0].cases) == (1, 2)


def test_a_model_without_result_is_missing_in_its_row(small: RunFolder) -> None:
    small.metrics("contour_3d").unlink()
    row = tables(small)[1].rows[1]
    assert (row.title, row.cases) == ("3D U-Net, Dice+CE+contour", 0)
    assert row.pairs[0] == ("69.1 ± 29.5", "missing")


def test_losses_are_tested_on_the_cases_that_both_have(run: RunFolder) -> None:
    table = comparison_table(run, "")
    assert table is not None
    rows = {tuple(row[:2]): row[2:] for row in table.rows}
    assert len(rows) == len(table.rows) == 5 * 2
    distances = [values(run, name, "hausdorff_distance") for name in ("dice_ce_3d", "contour_3d")]
    pairs = zip(*(side.values() for side in distances), strict=True)
    differences = [b - a for a, b in pairs if a is not None and b is not None]
    wanted = stats.wilcoxon([difference for difference in differences if difference]).pvalue
    row = rows["HD [mm]", "3D U-Net: Dice+CE+contour vs Dice+CE"]
    assert row[:2] == ["7", "1"]
    assert float(row[3]) == pytest.approx(wanted, abs=5e-4)
    dice = sorted(
        [float(cell) for cell in row[3:]] for (metric, _), row in rows.items() if metric == "Dice [%]"
    )
    assert dice[0][1] == pytest.approx(min(1, 2 * dice[0][0]), abs=2e-3)
    # A displaced lesion keeps its volume.
    assert (
        rows["RVD [%]", "3D U-Net: Dice+CE+Hausdorff (warm-up) vs Dice+CE"][3] == "differing < 6: not tested"
    )


def test_few_cases_are_not_tested(small: RunFolder) -> None:
    table = comparison_table(small, CROSS_VALIDATION)
    assert table is not None
    assert {row[5] for row in table.rows} == {"n < 6: not tested"}


def test_volumes_agree_as_far_as_they_do(small: RunFolder) -> None:
    """Moved lesions keep their volume; a missed one is a loss of all of it."""
    rows = {(row[0], row[1]): row[2:] for row in agreement_table(small).rows}
    assert rows["3D U-Net, Dice+CE", "voxel volume"] == ["2", "+0.00", "+0.00 to +0.00"]
    lost = -(values(small, "dice_ce_2d", "target_abc2_volume_ml")["001"] or 0) / 2
    assert rows["2D U-Net, Dice+CE", "ABC/2"][:2] == ["2", f"{lost:+.2f}"]


def test_worst_cases_are_those_of_each_metric_and_the_empty_predictions(run: RunFolder) -> None:
    reasons = {worst.case: worst.reasons for worst in worst_cases(run) if worst.name == "contour_3d"}
    assert reasons["002"] == ("empty prediction", "worst Dice")
    distances = {
        case: value for case, value in values(run, "contour_3d", "hausdorff_distance").items() if value
    }
    assert reasons[max(distances, key=lambda case: distances[case])] == ("largest HD",)
    assert len(reasons) == 2


def test_markdown_csv_and_latex(run: RunFolder) -> None:
    text = (run.report / "report.md").read_text()
    assert "| 2D U-Net, Dice+CE | 71.0 ± 30.0 |" in text
    links = re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)
    assert len(links) == len(set(links)) == len(list(run.report.glob("*.png")))
    for link in links:
        assert (run.report / link).stat().st_size > 1000
    rows = read_csv(run.report / "results.csv")
    assert [row["table"] for row in rows] == ["Architectures"] * 3 + ["Losses"] * 3 + ["Cross-validation"] * 4
    assert rows[0]["Null cases"] == "1 of 8"
    assert [rows[i]["Dice [%] paper"] for i in (0, -1)] == ["71.0 ± 30.0", "-"]
    assert all("±" in row["Dice [%] ours"] for row in rows)
    missed = [c for c in read_csv(run.report / "cases.csv") if (c["predictions"], c["case"]) in MISSED]
    assert [c["hausdorff_distance"] for c in missed] == ["null"] * 2
    assert len(read_csv(run.report / "tests.csv")) == 2 * 10
    assert len(read_csv(run.report / "volumes.csv")) == 2 * 5
    latex = (run.report / "report.tex").read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 8
    assert r"71.0 $\pm$ 30.0" in latex
    assert r"Dice [\%]" in latex
    assert not list(run.report.glob(".*"))


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


SORT = """
  const table = document.querySelector("table.sortable");
  const column = [...table.tHead.rows[0].cells].findIndex(cell => cell.textContent === "hausdorff distance");
  const shown = () => [...table.tBodies[0].rows].map(row => row.cells[column].textContent);
  const button = table.tHead.rows[0].cells[column].firstElementChild;
  const orders = [];
  for (let click = 0; click < 2; click++) { button.click(); orders.push(shown()); }
  return orders;
"""


@needs_browser
def test_the_page_in_a_browser(run: RunFolder, tmp_path: Path) -> None:
    page = (run.report / "report.html").read_text()
    seen = visit(page, tmp_path, SORT)
    assert_sound(seen)
    assert len(seen.widths) == len(list(run.report.glob("*.png"))) > 10
    up, down = seen.found
    assert len(up) == CASES
    assert up[-1] == down[-1] == "null"  # the 2-D model's missed case
    assert [float(cell) for cell in up[:-1]] == sorted(float(cell) for cell in up[:-1])
    assert down[:-1] == up[-2::-1]


def test_the_page_is_self_contained(run: RunFolder) -> None:
    page = (run.report / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) > 10
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "not complete" not in page
    assert page.count("<td>1</td>") >= 9 * CASES  # the lesion of each case, in whole numbers
    parser = _Balance()
    parser.feed(page)
    assert parser.open == []


def test_a_run_that_has_just_begun_has_a_report(tmp_path: Path) -> None:
    page = write_report(RunFolder(tmp_path / "run", EXPERIMENT)).read_text()
    assert "Without a result: 2D U-Net, Dice+CE; 3D U-Net, Dice+CE;" in page
    assert page.count("<td>missing</td>") >= 4 * len(EXPERIMENT.models)
    assert "0 of 2" in page


def test_a_run_with_a_failed_model_has_a_report(small: RunFolder) -> None:
    """No result for one model, a fold that ended early and one that is not there, and lost predictions."""
    for name in ("contour_3d", f"{CROSS_VALIDATION}contour_3d", "ensemble"):
        small.metrics(name).unlink()
    log = json.loads(small.training_log(CONTOUR_3D, 0).read_text())
    small.training_log(CONTOUR_3D, 0).write_text(json.dumps({key: log[key][:2] for key in log}))
    small.training_log(DICE_CE_3D, 1).unlink()
    for path in small.predictions("dice_ce_3d").iterdir():
        path.unlink()
    page = write_report(small).read_text()
    missing = (
        "3D U-Net, Dice+CE+contour; 2D + 3D ensemble, Dice+CE; cross-validation of 3D U-Net, Dice+CE+contour."
    )
    assert f"Without a result: {missing}" in page
    assert "1 of 2" in page
    assert 'id="tests"' not in page  # one loss alone
    assert 'id="failures"' in page


def test_one_case_one_fold_and_no_distance(tmp_path: Path) -> None:
    experiment = dataclasses.replace(EXPERIMENT, folds=1, models=EXPERIMENT.models[:3])
    names = [*(model.name for model in experiment.models), "ensemble"]
    run = synthetic_run(tmp_path / "run", experiment, 1, {(name, "001") for name in names})
    assert tables(run)[1].rows[0].ours == ("0.0 ± 0.0", "100.0 ± 0.0", "null", "0.0 ± 0.0")
    page = write_report(run).read_text()
    assert "empty prediction" in page
    assert "-100.00" not in page  # nothing compared


class _Balance(HTMLParser):
    """The tags that are still open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
