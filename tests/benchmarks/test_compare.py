"""`make bench`: what it writes beside what `surfloss bench` does."""

import json
from pathlib import Path

import pytest

from benchmarks import checkout, compare, memory, passes, tables
from surfloss.bench import losses
from surfloss.bench.contestants import ours
from surfloss.bench.workloads import MASKS, Workload


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two rows of one contestant, into a folder of the test; the documents stay."""
    monkeypatch.setattr(compare, "full", lambda: [Workload("edt", (2, 5, 6), m) for m in ("blobs", "random")])
    monkeypatch.setattr(compare, "choose", lambda **_: [ours("reference")])
    monkeypatch.setattr(compare, "SECONDS", 0.01)
    monkeypatch.setattr(passes, "SIZES", ((4, 8, 8),))
    monkeypatch.setattr(losses, "BATCHES", (losses.Batch(1, 2, (4, 8, 8)),))
    monkeypatch.setattr(memory, "peak_extra_bytes", lambda contestant, workload, threads: 7)
    monkeypatch.setattr(checkout, "RESULTS", tmp_path)
    monkeypatch.setattr(tables, "DOCUMENTS", ())
    return tmp_path


def test_rows_have_their_memory_and_the_record_its_commit(small: Path) -> None:
    pytest.importorskip("matplotlib")
    compare.main()
    path, picture, costs, by_pass = sorted(small.iterdir())
    assert picture == path.with_suffix(".png")
    assert costs.name == f"losses-{path.name}"
    assert list(json.loads(costs.read_text())["batches"]) == ["1x2x4x8x8"]
    head, body = passes.table(json.loads(by_pass.read_text()))
    assert head[:5] == ["size", "mask", "x", "y", "z"]
    assert [row[:2] for row in body] == [["4x8x8", mask] for mask in MASKS]
    assert all(float(number) >= 0 for row in body for number in row[2:])
    result = json.loads(path.read_text())
    assert result["commit"] == checkout.commit()
    peaks = [row["results"]["surfloss/reference"].get("peak_extra_bytes") for row in result["cells"]]
    assert peaks == [7, None]


def test_an_interrupted_run_is_not_published(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(memory, "peak_extra_bytes", pressed)
    with pytest.raises(SystemExit, match="interrupted after 1 rows: nothing is written"):
        compare.main()
    assert not list(small.iterdir())
