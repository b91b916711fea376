"""The comparison under pytest-benchmark, to measure the effect of a change.

Run `pytest benchmarks --benchmark-autosave`, then, after the change, `pytest benchmarks --benchmark-compare`.
Select rows with `-k "surfloss and blobs"`. Workloads, contestants and checks are those of `surfloss bench`.
"""

import math
from functools import cache
from typing import Any

import pytest
import torch

from benchmarks.plans import full
from surfloss.bench.contestants import Contestant, choose, ours
from surfloss.bench.run import TOLERANCE, difference
from surfloss.bench.workloads import Workload

MOST_VOXELS = 128**3  # for larger ones SciPy takes seconds per call
WORKLOADS = [workload for workload in full() if math.prod(workload.size) <= MOST_VOXELS]


@cache
def reference(workload: Workload) -> Any:
    return ours("reference").prepare(workload, torch.get_num_threads())()


@pytest.mark.parametrize(
    "workload", WORKLOADS, ids=[workload.label.replace(" ", "-") for workload in WORKLOADS]
)
@pytest.mark.parametrize("contestant", choose(), ids=lambda contestant: contestant.name)
def test_contestant(benchmark: Any, workload: Workload, contestant: Contestant) -> None:
    if workload.task not in contestant.tasks:
        pytest.skip(f"{contestant.name} has no {workload.task}")
    if reason := contestant.absent():
        pytest.skip(f"{contestant.name}: {reason}")
    call = contestant.prepare(workload, torch.get_num_threads())
    assert difference(workload.task, call(), reference(workload)) <= TOLERANCE
    benchmark.group = workload.label
    benchmark(call)
