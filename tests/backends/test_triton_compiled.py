"""The Triton kernels compiled ahead of time, as benchmarks/kernels.py reports them; no GPU is needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
ROOT = Path(__file__).parents[2]
TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942")


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The report, from another process, since Triton interprets in this one."""
    path = tmp_path_factory.mktemp("kernels") / "kernels.json"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(path.parent / "cache")
    command = [sys.executable, "-m", "benchmarks.kernels", "--json", str(path)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(path.read_text())


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_spilled(facts: dict, target: str) -> None:
    assert {name: row[target]["spills"] for name, row in facts["kernels"].items()} == dict.fromkeys(
        facts["kernels"], 0
    )


@pytest.mark.parametrize("target", TARGETS)
def test_a_search_needs_neither_shared_memory_nor_many_registers(facts: dict, target: str) -> None:
    """One column per thread. With another layout, reductions would go through shared memory."""
    for name in ("middle_pass", "last_pass", "hausdorff_pass"):
        assert facts["kernels"][name][target]["shared"] == 0
        assert facts["kernels"][name][target]["registers"] <= 112


@pytest.mark.parametrize("target", TARGETS)
def test_contours_are_exchanged_within_a_warp(facts: dict, target: str) -> None:
    rows = {name: row[target] for name, row in facts["kernels"].items() if name.startswith("contour")}
    assert len(rows) == 4
    assert {row["shared"] for row in rows.values()} == {0}
    assert max(row["registers"] for row in rows.values()) <= 128


def test_every_option_compiles(facts: dict) -> None:
    """Only the double variant, which is for gradient checks, may spill."""
    spilled = {name for name, row in facts["variants"].items() if row["spills"]}
    assert spilled <= {"error, double"}
