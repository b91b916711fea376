"""Numbers as text, the table of times, and the picture."""

from dataclasses import replace
from pathlib import Path

import pytest

from surfloss.bench import report
from surfloss.bench.machine import Gpu
from tests.support.bench_results import on_a_cpu


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


def test_every_cell_says_what_came_of_it() -> None:
    head, body = report.times(on_a_cpu(), "edt")
    assert head == ["size", "mask", "surfloss/cpu", "edt", "scipy"]
    size = "64x512x512 @ 5/0.42/0.42"
    assert body == [
        [size, "blobs", "14.0 ms ±15%", "221 ms ±15%, 15.8x", "5.00 s ±15%, 357x"],
        [size, "random", "54.4 ms ±15%", "300 ms ±15%, 5.5x", "disagrees (0.001)"],
        [size, "noise", "20.0 ms ±15%", "160 ms ±15%, 8.0x", "failed (MemoryError)"],
    ]
    _, body = report.times(on_a_cpu(), "loss")
    assert body == [["16x320x320", "blobs", "3.10 ms ±15%", "1.10 s ±15%, 355x"]]


def test_sizes_tell_batches() -> None:
    row = replace(on_a_cpu().rows[0], items=8)
    assert report.size_text(row) == "64x512x512 x 8 @ 5/0.42/0.42"


def test_notes_name_the_machine_and_the_absent() -> None:
    result = on_a_cpu()
    first, *rest = report.notes(result)
    assert first == ("2026-11-24, A CPU, 2 cores, 1 thread; surfloss 0.1.0, python 3.11.7, edt 3.1.2.")
    assert rest == ["Absent: gone (not installed)."]
    busy = report.notes(replace(result, load_before=1.5))
    assert busy[1] == "The machine was busy before (load 1.5): do not rely on these times."
    machine = replace(result.machine, gpu=Gpu("A GPU", cuda="13.0"))
    (first, *_) = report.notes(replace(result, machine=machine))
    assert first.startswith("2026-11-24, A GPU (CUDA 13.0) beside A CPU, 2 cores, 1 thread;")


def test_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from surfloss.bench.plot import draw

    result = on_a_cpu()
    for name, rows in {"all": result.rows, "loss only": result.rows[-1:], "none": []}.items():
        draw(replace(result, rows=rows), tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
