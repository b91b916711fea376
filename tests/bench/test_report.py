"""Numbers as text, and documents whose tables come from the JSON and from nowhere else."""

import json
from pathlib import Path

import pytest

from surfloss.bench import report

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "gpu.md")


def timed(seconds: float, ratio: float | None = None, **more: object) -> dict:
    own = {"median_s": seconds, "p20_s": seconds * 0.9, "p80_s": seconds * 1.2, "difference": 0, "repeats": 5}
    return own | ({} if ratio is None else {"ratio": ratio}) | more


@pytest.fixture
def result() -> dict:
    cells = [
        {
            "task": "edt",
            "size": [64, 512, 512],
            "spacing": [5.0, 0.42, 0.42],
            "mask": mask,
            "voxels": 64 * 512 * 512,
            "results": {
                "surfloss/cpu": timed(ours, 1.0, **({"peak_extra_bytes": 2**26} if mask == "blobs" else {})),
                "edt": timed(edt, edt / ours, difference=2e-6 if mask == "noise" else 0),
                "scipy": scipy,
            },
        }
        for mask, ours, edt, scipy in (
            ("blobs", 0.014, 0.221, timed(5, 357.1, peak_extra_bytes=28 * 64 * 512 * 512)),
            ("random", 0.0544, 0.30, {"disagrees": 0.00123}),
            ("noise", 0.02, 0.16, {"failed": "MemoryError: no room"}),
        )
    ]
    cells.append(
        {
            "task": "loss",
            "size": [16, 320, 320],
            "spacing": [1.0, 1.0, 1.0],
            "mask": "blobs",
            "voxels": 16 * 320 * 320,
            "results": {
                "surfloss/cpu": timed(0.0031, 1.0, peak_extra_bytes=2 * 8 * 16 * 320 * 320),
                "monai": timed(1.1, 354.8),
            },
        }
    )
    return {
        "format": 1,
        "date": "2026-11-24T18:00:00+00:00",
        "commit": "0123456789abcdef+",
        "machine": {
            "cpu": "A CPU",
            "cores": 2,
            "architecture": "x86_64",
            "instruction_sets": ["avx", "avx2"],
        },
        "load_before": 0.3,
        "threads": 1,
        "versions": {"python": "3.11.7", "surfloss": "0.1.0", "edt": "3.1.2"},
        "baseline": "surfloss/cpu",
        "contestants": {
            "surfloss/cpu": {"tasks": ["edt", "loss"], "computes": ""},
            "edt": {"tasks": ["edt"], "computes": ""},
            "gone": {"tasks": ["edt"], "computes": ""},
            "scipy": {"tasks": ["edt"], "computes": ""},
            "monai": {"tasks": ["loss"], "computes": ""},
        },
        "absent": {"gone": "not installed"},
        "cells": cells,
        "slopes": [
            {"task": "edt", "mask": "blobs", "contestant": name, "sides": [64, 128, 256], "slope": slope}
            for name, slope in (("surfloss/cpu", 1.024), ("scipy", 1.1))
        ],
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (12.34, "12.3 s"),
        (1.0, "1.00 s"),
        (0.5, "500 ms"),
        (0.0123, "12.3 ms"),
        (4.2e-5, "42.0 µs"),
        (3e-9, "0.00 µs"),
    ],
)
def test_times(seconds: float, text: str) -> None:
    assert report.time_text(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(357.1, "357x"), (99.6, "100x"), (15.79, "15.8x"), (1.0, "1.0x"), (0.31, "0.31x")]
)
def test_ratios(ratio: float, text: str) -> None:
    assert report.ratio_text(ratio) == text


def test_every_cell_says_what_came_of_it(result: dict) -> None:
    head, body = report.TABLES["edt"](result)
    assert head == ["size", "mask", "surfloss/cpu", "edt", "scipy"]
    size = "64x512x512 @ 5/0.42/0.42"
    assert body == [
        [size, "blobs", "14.0 ms ±15%", "221 ms ±15%, 15.8x", "5.00 s ±15%, 357x"],
        [size, "random", "54.4 ms ±15%", "300 ms ±15%, 5.5x", "disagrees (0.001)"],
        [size, "noise", "20.0 ms ±15%", "160 ms ±15%, 8.0x", "failed (MemoryError)"],
    ]
    assert report.TABLES["loss"](result)[1] == [["16x320x320", "blobs", "3.10 ms ±15%", "1.10 s ±15%, 355x"]]


def test_the_other_tables(result: dict) -> None:
    assert report.TABLES["summary"](result) == (
        ["task", "size", "surfloss/cpu", "edt", "scipy", "monai"],
        [["edt", "64x512x512 @ 5/0.42/0.42", "14.0 ms to 54.4 ms", "5.5x to 15.8x", "357x", "-"]],
    )
    assert report.TABLES["scaling"](result) == (
        ["mask", "cubes", "surfloss/cpu", "edt", "scipy"],
        [["blobs", "64^3 to 256^3", "1.02", "-", "1.10"]],
    )
    assert report.TABLES["shape"](result)[1] == [
        ["64x512x512 @ 5/0.42/0.42", "random", "3.9x", "1.4x", "-"],
        ["64x512x512 @ 5/0.42/0.42", "noise", "1.4x", "0.72x", "-"],
    ]
    head, body = report.TABLES["memory"](result)
    assert head == ["task", "size", "surfloss/cpu", "edt", "scipy", "monai"]
    assert [row[2:] for row in body] == [["1.0", "-", "7.0", "-"], ["2.0", "-", "-", "-"]]
    assert report.TABLES["accuracy"](result)[1] == [
        ["edt", "all", "0", "2e-06", "0", "-"],
        ["loss", "all", "0", "-", "-", "0"],
    ]


def test_notes_name_the_machine_and_the_absent(result: dict) -> None:
    first, *rest = report.notes(result)
    assert first == (
        "2026-11-24, A CPU, 2 cores (x86_64, avx2), 1 thread; surfloss 0.1.0 at 0123456789, "
        "python 3.11.7, edt 3.1.2."
    )
    assert rest == ["Absent: gone (not installed)."]
    busy = report.notes(result | {"load_before": 1.5})
    assert busy[1] == "The machine was busy before (load 1.5): do not rely on these times."


def test_documents_are_filled(result: dict, tmp_path: Path) -> None:
    (tmp_path / "here.json").write_text(json.dumps(result))
    document = (
        "Before\n<!-- benchmark: scaling of here -->\nold\n<!-- end -->\nbetween\n"
        "<!-- benchmark: machine of here -->\n<!-- end -->\n"
        "<!-- benchmark: edt of elsewhere -->\n| stale |\n<!-- end -->\nafter\n"
    )
    filled = report.filled(document, tmp_path)
    assert filled == (
        "Before\n<!-- benchmark: scaling of here -->\n\n"
        "| mask | cubes | surfloss/cpu | edt | scipy |\n| --- | --- | ---: | ---: | ---: |\n"
        "| blobs | 64^3 to 256^3 | 1.02 | - | 1.10 |\n\n<!-- end -->\nbetween\n"
        f"<!-- benchmark: machine of here -->\n\n{chr(10).join(report.notes(result))}\n\n<!-- end -->\n"
        "<!-- benchmark: edt of elsewhere -->\n<!-- end -->\nafter\n"
    )
    assert report.filled(filled, tmp_path) == filled
    with pytest.raises(ValueError, match="block: got 'speed', wanted"):
        report.filled("<!-- benchmark: speed of here -->\n<!-- end -->", tmp_path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_committed_tables_are_those_of_the_committed_json(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert "<!-- benchmark: " in text
    assert report.filled(text, ROOT / "benchmarks" / "results") == text


def test_picture(result: dict, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from surfloss.bench.plot import draw

    for name, cells in {"all": result["cells"], "loss only": result["cells"][-1:], "none": []}.items():
        draw(result | {"cells": cells}, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
