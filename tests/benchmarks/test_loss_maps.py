"""The benchmark of loss maps on the smallest batches: what it measures, and its tables."""

from pathlib import Path

import pytest

from benchmarks import loss_maps
from surfloss.bench.losses import Batch


def test_fills_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- maps: times -->\n<!-- end -->\n")
    monkeypatch.setattr(loss_maps, "PAGE", page)
    monkeypatch.setattr(loss_maps, "BATCHES", {Batch(2, 1, (8, 16, 16)): 1, Batch(2, 3, (8, 16, 16)): 1})
    monkeypatch.setattr(loss_maps, "WORKERS", (1,))
    monkeypatch.setattr(loss_maps, "LOSSES", {"BoundaryLoss()": loss_maps.LOSSES["BoundaryLoss()"]})
    race = loss_maps.raced
    monkeypatch.setattr(loss_maps, "raced", lambda calls, _: race(calls, 0.0))
    result = tmp_path / "maps.json"
    monkeypatch.setattr("sys.argv", ["loss_maps", "--rounds", "1", "--json", str(result)])
    loss_maps.main()
    assert result.exists()
    text = page.read_text()
    for batch in ("2x1x8x16x16", "2x3x8x16x16"):
        assert text.count(f"| {batch} | `BoundaryLoss()` |") == 2
