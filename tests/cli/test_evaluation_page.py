"""The page of `surfloss evaluate`: what stands on it and where, its plots, and its pictures of cases."""

import io
import itertools
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from surfloss import _render
from surfloss._figures import OUTLINES, PREDICTION, TRUTH
from surfloss.cli import app
from surfloss.cli._pictures import _slice_picture, _upright, chosen_rows, distributions, worst_cases
from surfloss.cli._report import report
from surfloss.metrics import (
    CaseResult,
    FolderEvaluation,
    FolderSettings,
    evaluate_folders,
    hausdorff_distance,
)
from surfloss.metrics._case import Image
from surfloss.metrics.summary import summarize
from surfloss.metrics.surface import farthest_voxel
from tests.support.browser import needs_browser, visit

AFFINE = np.diag([-0.5, -0.5, 5.0, 1.0])


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """An organ with a tumor; the tumor of the second case was missed, the third has no prediction."""
    for number, shift in enumerate((1, 4, None)):
        target = np.zeros((30, 24, 6), np.uint8)
        target[5:20, 6:18, 1:5] = 1
        target[8:12, 8:12, 2:4] = 2
        prediction = target if shift is None else np.roll(np.minimum(target, shift % 4 + 1), shift, axis=0)
        for folder, mask in (("targets", target), ("predictions", prediction), ("images", 40 * target)):
            (tmp_path / folder).mkdir(exist_ok=True)
            if (folder, shift) != ("predictions", None):
                ending = "_0000" if folder == "images" else ""
                path = tmp_path / folder / f"case_{number}{ending}.nii.gz"
                nibabel.save(nibabel.Nifti1Image(mask, AFFINE), path)
    return tmp_path / "predictions", tmp_path / "targets"


LABELS = "1=organ,2=$tumor"


def evaluated(folders: tuple[Path, Path]) -> FolderEvaluation:
    return evaluate_folders(*folders, tolerance=1.5, labels=LABELS)


def page_of(folders: tuple[Path, Path], tmp_path: Path, *options: Any) -> str:
    out = tmp_path / "report.html"
    arguments = ["evaluate", *folders, "--tolerance", 1.5, "--labels", LABELS, "--html", out, *options]
    assert CliRunner().invoke(app, [str(argument) for argument in arguments]).exit_code == 2
    return out.read_text()


def test_problems_and_settings_come_first(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/surfloss", "evaluate", "a folder"])
    page = page_of(folders, tmp_path)
    places = [
        page.index(f"<h2>{title}</h2>")
        for title in ("Settings", "Summary", "Distributions", "Worst cases", "Cases")
    ]
    assert [page.index("Problems: 1 missing."), *places] == sorted(
        [page.index("Problems: 1 missing."), *places]
    )
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert facts["Command"] == "surfloss evaluate &#39;a folder&#39;"
    assert facts["Tolerance of the surface Dice"] == "1.5 mm"
    assert facts["Labels"] == "organ = 1, $tumor = 2"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d \w+", facts["Date"])
    assert {"surfloss", "One mask empty", "Both masks empty"} < set(facts)
    for name in ("Hausdorff distance 95 % [mm]", "Surface Dice at 1.5 mm", "True ABC/2 volume [ml]"):
        assert name in page
    assert "hausdorff_distance" not in page


def test_a_page_without_problems_says_so(folders: tuple[Path, Path]) -> None:
    result = evaluated(folders)
    result = replace(result, cases=tuple(replace(row, problem=None) for row in result.cases))
    page = report(result, "evaluation.html.j2", {}, distributions=[], worst=[], outlines=OUTLINES)
    assert "<strong>No problems.</strong>" in page
    assert "Worst cases" not in page


def test_a_page_of_a_thousand_cases_is_small(folders: tuple[Path, Path]) -> None:
    result = evaluated(folders)
    rows = [replace(row, case=f"case_{number:04}") for number in range(500) for row in result.cases[:2]]
    result = replace(result, cases=tuple(rows))
    plots = distributions(result)
    assert [plot.caption for plot in plots][:3] == [
        "Dice",
        "Relative volume difference",
        "Hausdorff distance [mm]",
    ]
    page = report(result, "evaluation.html.j2", {}, distributions=plots, worst=[], outlines=OUTLINES)
    assert len(page) < 2e6


def evaluation_of(rows: list[dict[str, float | None]]) -> FolderEvaluation:
    """An evaluation of one case for each row of values."""
    cases = tuple(CaseResult(str(number), "1", values) for number, values in enumerate(rows))
    summary = summarize([[values] for values in rows], list(rows[0])).summary
    return FolderEvaluation(cases, summary, {}, (), (), (), FolderSettings((1.0,)))


def volumes(values: list[float | None]) -> FolderEvaluation:
    return evaluation_of([{"volume_ml": value} for value in values])


@pytest.mark.parametrize("largest", [0, 1.1e-4, 0.00017, 0.0234, 0.77, 3, 45.6, 1234, 98765])
def test_numbers_below_a_plot_stand_apart(largest: float, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = []
    monkeypatch.setattr("surfloss.cli._pictures.png", lambda figure: figures.append(figure) or b"")
    distributions(volumes([largest / 2, largest]))
    (figure,) = figures
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(left.x1 + 3 < right.x0 for left, right in itertools.pairwise(boxes))


def test_a_metric_without_a_value_has_no_plot() -> None:
    assert distributions(volumes([None, None])) == []
    assert len(distributions(volumes([None, 2.0]))) == 1


def test_labels_stand_beside_each_other_in_a_table_of_metrics(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    page = page_of(folders, tmp_path)
    table = page[page.index("<h3>By label</h3>") :]
    table = table[: table.index("</table>")]
    assert re.findall(r"<button[^>]*>(.*?)</button>", table) == ["Metric", "organ", "$tumor"]
    assert len(re.findall("<tr>", table)) == 14
    for number in re.findall(r"<td>([\d.]+ ± [\d.]+)</td>", table):
        mean, spread = number.split(" ± ")
        assert len(mean.partition(".")[2]) == len(spread.partition(".")[2])


def test_components_that_match_are_not_named_like_a_count(folders: tuple[Path, Path], tmp_path: Path) -> None:
    page = page_of(folders, tmp_path, "--per-lesion")
    assert "Matched components" in page
    assert ">Matched<" not in page


WIDTHS = """
  const heading = [...document.querySelectorAll("h3")].find(one => one.textContent === "By label");
  const box = heading.nextElementSibling;
  return [box.scrollWidth, box.clientWidth, document.documentElement.scrollWidth, innerWidth];
"""


@needs_browser
def test_three_labels_fit_a_page(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    labels = "1=organ,2=tumor,1+2=whole organ"
    arguments = ["evaluate", *folders, "--tolerance", 1.5, "--labels", labels, "--html", out]
    CliRunner().invoke(app, [str(argument) for argument in arguments])
    (tmp_path / "visit").mkdir()
    seen = visit(out.read_text(), tmp_path / "visit", WIDTHS)
    table, room, page, window = seen.found
    assert table <= room
    assert page <= window


def test_the_worst_cases_are_the_lowest_dice_and_the_largest_distances() -> None:
    dice = [1, 0.9, 0.5, None, 0.2, 0.8, 0.7, 0.6, 0.95]
    distances = [0, 9, 2, None, None, 3, 4, 5, 0.1]
    rows = [{"dice": a, "hausdorff_distance_95": b} for a, b in zip(dice, distances, strict=True)]
    chosen = chosen_rows(evaluation_of(rows))
    assert list(chosen) == [4, 2, 7, 6, 1, 5]
    assert (chosen[4], chosen[7], chosen[1]) == (
        "lowest Dice",
        "lowest Dice, largest distance",
        "largest distance",
    )


def test_pictures_say_what_they_show(folders: tuple[Path, Path]) -> None:
    shown = list(worst_cases(evaluated(folders), *folders, None))
    assert shown[0].caption == (
        "case_1, $tumor (lowest Dice). Dice 0.0000, Hausdorff distance 95 % undefined. Axial slice 3 of 6, "
        "no prediction on this slice."
    )
    assert len(shown) == 4
    assert all(picture.png.startswith(b"\x89PNG") for picture in shown)


def test_an_image_lies_below_the_outlines_if_it_fits(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "images" / "case_1_0000.nii.gz").write_bytes(b"")  # this one goes without
    plain, over = (
        list(worst_cases(evaluated(folders), *folders, images)) for images in (None, tmp_path / "images")
    )
    different = [a.png != b.png for a, b in zip(plain, over, strict=True)]
    assert different == [not picture.caption.startswith("case_1,") for picture in plain]
    assert "Worst cases" in page_of(folders, tmp_path, "--images", tmp_path / "images")


def far_apart(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Masks that differ most on the first slice; a part of one of them lies far off, on the last."""
    target = np.zeros((30, 24, 6), np.uint8)
    target[5:20, 6:18, :3] = 1
    prediction = target.copy()
    prediction[5:8, :, 0] = 0
    (prediction if part == "prediction" else target)[27, 3:5, 5] = 1
    return prediction, target


@pytest.mark.parametrize("part", ["prediction", "target"])
def test_a_largest_distance_is_shown_where_it_is(tmp_path: Path, part: str) -> None:
    folders = tmp_path / "predictions", tmp_path / "targets"
    for folder, mask in zip(folders, far_apart(part), strict=True):
        folder.mkdir()
        nibabel.save(nibabel.Nifti1Image(mask, AFFINE), folder / "a.nii.gz")
    result = evaluate_folders(*folders, tolerance=1)
    (shown,) = worst_cases(result, *folders, None)
    other = {"prediction": "target", "target": "prediction"}[part]
    distance = _render.number(result.cases[0].values["hausdorff_distance"])
    assert shown.caption.endswith(
        f"Axial slice 6 of 6, no {other} on this slice. The farthest point here is {distance} mm off."
    )


@pytest.mark.parametrize("shape", [(7, 8), (5, 7, 8)])
def test_the_farthest_voxel_is_one_at_the_farthest_place(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(shape))
    spacing = np.array((3.0, 1.0, 0.7)[-len(shape) :])
    for _ in range(20):
        masks = rng.random((2, *shape)) < 0.1
        masks[:, 0, 0] = True
        voxel = farthest_voxel(*masks, spacing)
        distances = [
            surface_distances_of(mask, other, spacing) for mask, other in (masks, masks[::-1]) if mask[voxel]
        ]
        assert max(distance[voxel] for distance in distances) == pytest.approx(
            hausdorff_distance(*masks, spacing=spacing)
        )


def surface_distances_of(mask: np.ndarray, other: np.ndarray, spacing: Any) -> np.ndarray:
    """For each voxel of a mask the largest distance of its corners at the surface, by comparing all."""

    def points(one: np.ndarray) -> np.ndarray:
        padded = np.pad(one, 1)
        parts = [padded[tuple(slice(a, a + n + 1) for a, n in zip(corner, one.shape, strict=True))]
                 for corner in np.ndindex(*(2,) * one.ndim)]  # fmt: skip
        return np.any(parts, axis=0) & ~np.all(parts, axis=0)

    here, there = (np.argwhere(points(one)) for one in (mask, other))
    nearest = np.linalg.norm((here[:, None] - there) * spacing, axis=-1).min(1)
    found = np.zeros(mask.shape)
    for place, distance in zip(here, nearest, strict=True):
        around = tuple(slice(max(0, p - 1), p + 1) for p in place)
        found[around] = np.maximum(found[around], distance * mask[around])
    return found


IMAGES = {
    "junk": (lambda path: path.write_bytes(b""), "got a file that cannot be read", "cannot be shown"),
    "grid": (lambda path: save_image(path, np.ones((30, 24, 5))), "got shape (30, 24, 5)", "cannot be shown"),
    "channels": (lambda path: save_image(path, np.ones((30, 24, 6, 4))), "got shape", "cannot be shown"),
    "none": (lambda path: path.unlink(), "got no image of this case, wanted a file named case_1",
             "cannot be shown"),
    "NaN": (lambda path: save_image(path, np.full((30, 24, 6), np.nan)),
            "got 4320 values that are not finite", "is not finite everywhere"),
    "inf": (lambda path: save_image(path, np.pad(np.full((1, 1, 6), np.inf), ((0, 29), (0, 23), (0, 0)))),
            "got 6 values that are not finite", "is not finite everywhere"),
}  # fmt: skip


def save_image(path: Path, voxels: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), AFFINE), path)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_cannot_be_used_is_named_once(
    folders: tuple[Path, Path], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message, note = IMAGES[name]
    spoil(tmp_path / "images" / "case_1_0000.nii.gz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = list(worst_cases(evaluated(folders), *folders, tmp_path / "images"))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("case_1: image: ")
    assert message in line
    for picture in shown:
        assert (f". Its image {note}." in picture.caption) == picture.caption.startswith("case_1,")
        assert matplotlib.image.imread(io.BytesIO(picture.png)).std() > 0.02  # something is drawn


ORIENTATIONS = {
    "LPS": np.diag([-1.0, -2, 5, 1]),
    "RAS": np.diag([1.0, 2, 5, 1]),
    "oblique": np.array([[-0.99, 0.2, 0, 3], [0.1, 1.98, 0, 4], [0, 0, -5, 7], [0, 0, 0, 1]]),
    "PIR": np.array([[0, 0, 1.0, 0], [-2, 0, 0, 0], [0, -5, 0, 0], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_slices_lie_as_radiologists_have_them(name: str) -> None:
    """A voxel at the patient's right, front and top is in the last slice, at the left and the top."""
    affine = ORIENTATIONS[name]
    volume = np.zeros((4, 5, 6) if name != "PIR" else (5, 6, 4), np.uint8)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in volume.shape], indexing="ij")).reshape(3, -1).T
    volume[tuple(corners[(corners @ affine[:3, :3].T).sum(1).argmax()])] = 1
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    upright, spacing, plane = _upright(Image(volume.T, affine, tuple(steps[::-1])))
    assert np.argwhere(upright(volume.T)).tolist() == [[5, 4, 0]]  # rows go up
    assert (plane, spacing) == ("Axial", pytest.approx((2, 1), rel=0.02))


def test_thick_slices_are_shown_whatever_their_plane() -> None:
    grid = Image(np.zeros((5, 6, 7)), np.diag([6.0, 1, 2, 1]), (2.0, 1.0, 6.0))
    upright, spacing, plane = _upright(grid)
    assert (upright(grid.voxels).shape, spacing, plane) == ((7, 5, 6), (2, 1), "Sagittal")


def test_outlines_are_in_true_proportions() -> None:
    """Four rows of 3 mm against twelve columns of 1 mm are a square."""
    target = np.zeros((1, 20, 40), bool)
    target[0, 5:9, 10:22] = True
    grid = Image(target, np.diag([-1.0, -3, 5, 1]), (5.0, 3.0, 1.0))
    png, where = _slice_picture(np.zeros_like(target), target, grid, None)
    assert where == "Axial slice 1 of 1, no prediction on this slice"
    pixels = matplotlib.image.imread(io.BytesIO(png))[..., :3]

    def reach(color: str) -> list[int]:
        near = np.abs(pixels - matplotlib.colors.to_rgb(color)).max(-1) < 0.1
        return [np.ptp(places) if places.size else 0 for places in np.nonzero(near)]

    height, width = reach(TRUTH)
    assert height == pytest.approx(width, abs=4)
    assert height > 80
    assert reach(PREDICTION) == [0, 0]


def test_a_picture_in_2d_has_its_first_row_on_top() -> None:
    grid = Image(np.eye(3), np.eye(4), (1.0, 2.0))
    upright, spacing, plane = _upright(grid)
    assert upright(grid.voxels)[0, -1].tolist() == [1, 0, 0]
    assert (spacing, plane) == ((1.0, 2.0), "")
