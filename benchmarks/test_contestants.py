"""The comparison under pytest-benchmark, to see what a change does: `pytest benchmarks --benchmark-autosave`,
then, after the change, `pytest benchmarks --benchmark-compare`. Choose with `-k`: `-k "surfloss and blobs"`.

The cases, the contestants and the gate are those of `surfloss bench`, which measures what is published.
"""

import math
from functools import cache
from typing import Any

import pytest
import torch

from surfloss.bench import plan
from surfloss.bench.cases import Case
from surfloss.bench.peers import Contestant, choose, ours
from surfloss.bench.plan import Cell
from surfloss.bench.run import TOLERANCE, difference

MOST_VOXELS = 128**3  # larger ones take SciPy seconds a call
CELLS = [cell for cell in plan.full() if math.prod(cell.size) <= MOST_VOXELS]


@cache
def reference(cell: Cell) -> tuple[Case, Any]:
    case = cell.make()
    return case, ours("reference").prepare(cell.task, case, torch.get_num_threads())()


@pytest.mark.parametrize("cell", CELLS, ids=[cell.label.replace(" ", "-") for cell in CELLS])
@pytest.mark.parametrize("contestant", choose(), ids=lambda contestant: contestant.name)
def test_contestant(benchmark: Any, cell: Cell, contestant: Contestant) -> None:
    if cell.task not in contestant.tasks:
        pytest.skip(f"{contestant.name} has no {cell.task}")
    if reason := contestant.absent():
        pytest.skip(f"{contestant.name}: {reason}")
    case, wanted = reference(cell)
    call = contestant.prepare(cell.task, case, torch.get_num_threads())
    assert difference(cell.task, call(), wanted) <= TOLERANCE
    benchmark.group = cell.label
    benchmark(call)
