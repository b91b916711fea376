"""The `surfloss bench` command: tables, files, and one line on bad input."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from surfloss.bench import losses, run
from surfloss.bench.workloads import Workload
from surfloss.cli import app
from tests.support.volumes import DATA

FAST = ["--seconds", "0.01", "--threads", "1"]


def bench(*arguments: object):
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, ["bench", *map(str, arguments)])


def test_named_volumes_into_json_and_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    sizes = ["--size", "4,16,18", "--size", "16x16x16", "--spacing", "5,.5,.5"]
    masks = ["--mask", "blobs", "--mask", "random"]
    outputs = ["--json", tmp_path / "out.json", "--plot", tmp_path / "out.png"]
    done = bench("--peers", "scipy", *sizes, *masks, *FAST, *outputs)
    assert done.exit_code == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    rows = [(c["task"], tuple(c["size"]), c["mask"], c["spacing"][0]) for c in result["cells"]]
    assert sorted(rows) == sorted(
        (task, size, mask, 5 if task == "edt" else 1)
        for task in ("edt", "loss")
        for size in ((4, 16, 18), (16, 16, 16))
        for mask in ("blobs", "random")
    )
    assert result["threads"] == 1
    assert list(result["contestants"])[1:] == ["scipy"]
    for text in (
        "16x16x16",
        "4x16x18 @ 5/0.5/0.5",
        "scipy",
        "Two-sided distance transform",
        "Hausdorff loss",
    ):
        assert text in done.stdout
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_what_every_loss_costs(tmp_path: Path) -> None:
    done = bench("losses", "--size", "4,16,16", *FAST, "--json", tmp_path / "out.json")
    assert done.exit_code == 0, done.stderr
    (rows,) = json.loads((tmp_path / "out.json").read_text())["batches"].values()
    peers = [name for name, (package, _) in losses.PEERS.items() if find_spec(package)]
    assert list(rows) == [*losses.LOSSES, *peers, losses.NETWORK]
    assert all(row["times"]["median_s"] > 0 for row in rows.values())
    for name in ("HausdorffDTLoss()", "ContourLoss", losses.NETWORK, "2x2x4x16x16"):
        assert name in done.stdout
    costs = losses.Costs.from_dict(json.loads((tmp_path / "out.json").read_text()))
    assert costs.to_dict() == json.loads((tmp_path / "out.json").read_text())
    for option in (
        ["--peers", "edt"],
        ["--mask", "blobs"],
        ["--backends", "cpu:avx2"],
        ["--plot", tmp_path / "a.png"],
    ):
        refused = bench("losses", *option, *FAST)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert f"{option[0][2:]}: got" in refused.stderr
        assert "wanted no such option beside losses" in refused.stderr
    with_others = bench("losses", "edt", "--size", "4,16,16", *FAST)
    assert (with_others.exit_code, with_others.stdout) == (2, "")
    assert "task: got 'losses', wanted" in with_others.stderr


def test_a_file_of_the_user(tmp_path: Path) -> None:
    volume = np.zeros((12, 10, 6), np.int16)
    volume[3:7, 2:5, 1:4] = 7
    nibabel.Nifti1Image(volume, np.diag([0.5, 0.75, 4, 1])).to_filename(tmp_path / "mine.nii.gz")
    done = bench(
        "edt", "--file", tmp_path / "mine.nii.gz", "--peers", "none", *FAST, "--json", tmp_path / "o"
    )
    assert done.exit_code == 0, done.stderr
    (cell,) = json.loads((tmp_path / "o").read_text())["cells"]
    assert (cell["size"], cell["spacing"], cell["mask"]) == ([6, 10, 12], [4, 0.75, 0.5], "mine.nii.gz")
    assert cell["foreground"] == pytest.approx(36 / 720)
    assert [name.split("/")[0] for name in cell["results"]] == ["surfloss"]


@pytest.mark.parametrize("done", [0, 1])
def test_interrupt_keeps_the_rows_that_are_done(
    done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, row = [], run._row

    def pressed(workload: Workload, *rest: object):
        if len(measured) == done:
            raise KeyboardInterrupt
        measured.append(workload)
        return row(workload, *rest)

    monkeypatch.setattr(run, "_row", pressed)
    options = ["edt", "--size", "2,5,6", "--peers", "none", *FAST, "--json", tmp_path / "out.json"]
    outcome = bench(*options)
    assert outcome.exit_code == 130
    if not done:
        assert not list(tmp_path.iterdir())
        return
    assert len(json.loads((tmp_path / "out.json").read_text())["cells"]) == 1
    assert "Interrupted after 1 rows" in outcome.stderr


def test_without_a_size_it_is_the_papers_patch_or_quick_a_smaller_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans: list[list[Workload]] = []

    def stop(plan: list[Workload], *rest: object, **options: object) -> None:
        plans.append(plan)
        raise ValueError("enough")

    monkeypatch.setattr(run, "compare", stop)
    for options in ([], ["--quick", "contour", "--mask", "blobs"]):
        assert bench(*options).exit_code == 2
    patch, quick = plans
    assert [w.task for w in patch] == ["edt"] * 4 + ["loss"] * 4
    assert {w.size for w in patch} == {(16, 320, 320)}
    assert [(w.task, w.size, w.mask) for w in quick] == [("contour", (16, 96, 96), "blobs")]


def test_absent_libraries_are_named_and_missed_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("edt", "SimpleITK"):
        monkeypatch.setitem(sys.modules, package, None)  # as if not installed
    done = bench("edt", "--size", "3,8,8", "--mask", "random", *FAST, "--json", tmp_path / "out.json")
    assert done.exit_code == 0, done.stderr
    assert "Absent: edt (not installed)." in done.stdout
    assert "Absent: simpleitk (not installed)." in done.stdout
    assert "monai: " not in done.stdout, "it has no distance transform"
    (cell,) = json.loads((tmp_path / "out.json").read_text())["cells"]
    assert [name for name in cell["results"] if not name.startswith("surfloss")] == ["scipy"]


def test_no_picture_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = bench("--plot", tmp_path / "out.png")
    assert done.exit_code == 2
    assert "wanted it installed: pip install 'surfloss[bench]'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gpu"], "task: got 'gpu', wanted some of edt, labels, loss"),
        (["--peers", "numpy"], "peers: got 'numpy', wanted some of"),
        (["--backends", "abacus"], "backends: got 'abacus', wanted some of"),
        (["--mask", "cube"], "mask: got 'cube', wanted one of blobs,"),
        (["--size", "16,16"], "size: got '16,16', wanted three whole numbers z,y,x"),
        (["--size", "16,16,1.5"], "size: got '16,16,1.5', wanted three whole numbers"),
        (["--size", "16,-3,16"], "size: got '16,-3,16', wanted three whole numbers"),
        (["--size", "9999,9999,9999"], "size: got 9999,9999,9999, wanted 8 to"),
        (["--size", "8,8,8", "--spacing", "1,nan,1"], "spacing: got '1,nan,1', wanted three numbers"),
        (["--file", "no.nii.gz"], "no.nii.gz: got a file that cannot be read"),
        (["--file", str(DATA / "README.md")], "README.md: got no header of a NIfTI file"),
        (["--threads", "0"], "threads: got 0, wanted"),
        (["--seconds", "-1"], "seconds: got -1.0, wanted"),
        (["--json", "/proc/folder/out.json"], "/proc/folder/out.json: got /proc, where it cannot be made"),
        (["--plot", "picture.doc"], "plot: got picture.doc, wanted a file ending in .png"),
    ],
)
def test_bad_input_ends_with_code_2_and_one_line(arguments: list[str], message: str) -> None:
    done = bench(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_no_output_overwrites_another_or_an_input(tmp_path: Path) -> None:
    mask = tmp_path / "mask.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), mask)
    before = mask.read_bytes()
    done = bench("edt", "--file", mask, "--json", mask)
    assert (done.exit_code, mask.read_bytes()) == (2, before)
    assert "mask.nii.gz: got a file that is read, wanted a file of its own" in done.stderr
    same = bench("edt", "--json", tmp_path / "a.png", "--plot", tmp_path / "a.png")
    assert same.exit_code == 2
    assert "a.png: got the file of another output" in same.stderr
