"""Metrics gathered over batches, in one process and in two."""

import math
import os
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from surfloss import metrics

PROCESSES = 2
SPACING = torch.tensor([[5.0, 0.5, 0.5], [2.0, 1.0, 1.0], [1.0, 1.0, 1.0], [3.0, 0.4, 0.4], [5.0, 1.0, 2.0]])


def cases() -> tuple[Tensor, Tensor]:
    """Five pairs of masks; the second prediction is empty."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(5, 6, 7, 8, generator=generator) < 0.2
    prediction = target.roll(1, dims=-1)
    prediction[1] = False
    return prediction, target


def one_by_one() -> list[metrics.CaseMetrics]:
    items = zip(*cases(), SPACING, strict=True)
    return [metrics.evaluate(p, t, spacing, tolerance=0.5) for p, t, spacing in items]


def test_batches_are_measured_item_by_item_with_their_own_spacing():
    prediction, target = cases()
    running = metrics.SurfaceMetrics(tolerance=0.5)
    assert running.update(prediction[:2, None], target[:2, None], SPACING[:2]) == one_by_one()[:2]
    running.update(prediction[2:].float(), target[2:].long(), SPACING[2:].numpy())
    assert running.cases == one_by_one()
    running.reset()
    assert running.update(prediction[0], target[0], (5.0, 0.5, 0.5)) == running.cases == one_by_one()[:1]


def test_the_mean_is_that_of_the_defined_values():
    running = metrics.SurfaceMetrics(tolerance=0.5)
    running.update(*cases(), SPACING)
    got = running.compute()
    assert list(got) == [field.name for field in fields(metrics.CaseMetrics)]
    values = [case.hausdorff_distance for case in one_by_one()]
    assert values[1] is None
    defined = [value for value in values if value is not None]
    assert got["hausdorff_distance"] == {
        "mean": pytest.approx(np.mean(defined)),
        "std": pytest.approx(np.std(defined)),
        "median": pytest.approx(np.median(defined)),
        "ci95": None,
        "count": 4,
        "null": 1,
    }
    assert (got["dice"]["count"], got["dice"]["null"]) == (5, 0)


def test_nothing_gathered_has_no_mean():
    got = metrics.SurfaceMetrics().compute()
    assert all(summary["mean"] is None and summary["count"] == 0 for summary in got.values())


def test_two_dimensions():
    prediction, target = cases()
    running = metrics.SurfaceMetrics(spatial_dims=2)
    running.update(prediction, target, 0.5)
    assert len(running.cases) == 5 * 6
    assert asdict(running.cases[3])["volume_ml"] is None


def test_merging_adds_the_cases():
    prediction, target = cases()
    running, other, whole = (metrics.SurfaceMetrics(tolerance=0.5) for _ in range(3))
    running.update(prediction[:2], target[:2])
    other.update(prediction[2:], target[2:])
    whole.update(prediction, target)
    running.merge(other)
    assert running.compute() == whole.compute()
    assert len(other.cases) == 3
    with pytest.raises(ValueError, match=r"other: got a tolerance of 1.0 mm, wanted 0.5 mm"):
        running.merge(metrics.SurfaceMetrics(tolerance=1))


def test_wrong_arguments_are_named_and_nothing_counts():
    prediction, target = cases()
    running = metrics.SurfaceMetrics()
    with pytest.raises(ValueError, match="prediction: got shape"):
        running.update(prediction[1:], target)
    with pytest.raises(ValueError, match="spacing"):
        running.update(prediction, target, torch.ones(4, 3))
    labels = target.long()
    labels[4] *= 2
    with pytest.raises(ValueError, match=r"target: got values \[2\]"):
        running.update(prediction, labels)
    with pytest.raises(TypeError, match="prediction: got ndarray"):
        running.update(prediction.numpy(), target)
    assert running.cases == []
    for options in ({"tolerance": -1}, {"tolerance": math.inf}, {"spatial_dims": 1}):
        with pytest.raises(ValueError, match=f"{next(iter(options))}: got"):
            metrics.SurfaceMetrics(**options)


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    prediction, target = cases()
    running = metrics.SurfaceMetrics(tolerance=0.5)
    mine = slice(rank, None, PROCESSES)  # three cases here, two there
    running.update(prediction[mine], target[mine], SPACING[mine])
    torch.save((running.compute(), len(running.cases)), f"{folder}/{rank}.pt")
    dist.destroy_process_group()
    os._exit(0)  # Gloo's threads must not outlive the interpreter


@pytest.mark.timeout(120)
def test_two_processes_compute_what_one_does(tmp_path: Path):
    whole = metrics.SurfaceMetrics(tolerance=0.5)
    whole.update(*cases(), SPACING)
    wanted = whole.compute()
    mp.spawn(work, args=(str(tmp_path),), nprocs=PROCESSES)
    for rank in range(PROCESSES):
        got, own = torch.load(tmp_path / f"{rank}.pt")
        assert own == 3 - rank
        assert {name: (s["count"], s["null"], s["median"]) for name, s in got.items()} == {
            name: (s["count"], s["null"], s["median"]) for name, s in wanted.items()
        }
        for name, summary in got.items():
            assert summary["mean"] == pytest.approx(wanted[name]["mean"], rel=1e-12)
