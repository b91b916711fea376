"""Metrics by class gathered over batches, with torchmetrics and without, in one process and in two."""

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn import functional

from surfloss import metrics
from surfloss.metrics.summary import summarize
from tests.support import torchmetrics

NAMES = [field.name for field in fields(metrics.CaseMetrics)]
CLASSES = ["background", "liver", "tumor"]
TOLERANCES = {"liver": 0.5, "tumor": 1.0}
STEPS = [[5.0, 0.5, 0.5], [2.0, 1.0, 1.0], [1.0, 1.0, 1.0], [3.0, 0.4, 0.4], [5.0, 1.0, 2.0]]
SPACING = torch.tensor(STEPS)
PROCESSES = 2


def labels() -> tuple[Tensor, Tensor]:
    """Five pairs of label volumes; no tumor is predicted in the second case, none is in the third."""
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(5, 6, 7, 8, generator=generator) * 10 - 7).clamp(0, 2).ceil().long()
    prediction = target.roll(1, dims=-1)
    prediction[1] *= prediction[1] == 1
    for masks in (prediction, target):
        masks[2] *= masks[2] == 1
    return prediction, target


def onehot(volumes: Tensor) -> Tensor:
    return functional.one_hot(volumes, 3).movedim(-1, 1)


def case_by_case(**options: Any) -> list[list[dict[str, float | None]]]:
    """The values of `evaluate`, by case and class."""
    return [
        [
            vars(
                metrics.evaluate(p == k, t == k, spacing=spacing, tolerance=TOLERANCES[CLASSES[k]], **options)
            )
            for k in (1, 2)
        ]
        for p, t, spacing in zip(*labels(), SPACING, strict=True)
    ]


def wanted(cases: list[list[dict[str, float | None]]]) -> metrics.Summaries:
    return summarize(cases, NAMES, labels=CLASSES[1:])


@pytest.fixture(
    scope="module",
    params=[
        False,
        pytest.param(
            True, marks=pytest.mark.skipif(not torchmetrics.INSTALLED, reason="torchmetrics is not installed")
        ),
    ],
    ids=["alone", "torchmetrics"],
)
def surface_metrics(request: pytest.FixtureRequest) -> Iterator[type[metrics.SurfaceMetrics]]:
    with torchmetrics.surface_metrics(request.param) as made:
        assert hasattr(made, "merge_state") == request.param
        yield made


@pytest.fixture
def running(surface_metrics: type[metrics.SurfaceMetrics]) -> metrics.SurfaceMetrics:
    return surface_metrics(classes=CLASSES, tolerance=TOLERANCES)


PREDICTION, TARGET = labels()
FORMS = {
    "labels": (PREDICTION, TARGET),
    "labels behind a channel": (PREDICTION[:, None], TARGET[:, None].to(torch.uint8)),
    "one-hot": (onehot(PREDICTION), onehot(TARGET).bool()),
    "one-hot and labels": (onehot(PREDICTION).float(), TARGET.to(torch.int16)),
    "a list of one-hot cases": (list(onehot(PREDICTION)), list(TARGET[:, None])),
    "a list of labels": (list(PREDICTION), list(TARGET.double())),
}
SPACINGS = {
    "tensor": SPACING,
    "array": SPACING.numpy(),
    "sequence of sequences": STEPS,
    "sequence of tensors": list(SPACING),
}


@pytest.mark.parametrize("batches", FORMS.values(), ids=FORMS)
def test_batches_of_every_form_are_measured_case_by_case(
    running: metrics.SurfaceMetrics, batches: Any
) -> None:
    running.update(batches[0][:2], batches[1][:2], spacing=SPACING[:2])
    running.update(batches[0][2:], batches[1][2:], spacing=SPACING[2:])
    assert running.summary() == wanted(case_by_case())


@pytest.mark.parametrize("spacing", SPACINGS.values(), ids=SPACINGS)
def test_every_case_has_its_own_spacing(running: metrics.SurfaceMetrics, spacing: Any) -> None:
    running.update(*labels(), spacing=spacing)
    assert running.summary() == wanted(case_by_case())


def test_one_spacing_is_for_all(
    surface_metrics: type[metrics.SurfaceMetrics], running: metrics.SurfaceMetrics
) -> None:
    running.update(*labels(), spacing=0.5 * torch.ones(3))
    other = surface_metrics(classes=3, tolerance=[0.5, 1.0], spatial_dims=3)
    other.update(*labels(), spacing=0.5)
    assert other.summary().summary == running.summary().summary
    assert list(other.summary().summary_by_label) == ["1", "2"]


def test_compute_gives_means_over_classes_and_by_class_and_counts_what_is_undefined(
    running: metrics.SurfaceMetrics,
) -> None:
    running.update(*labels(), spacing=SPACING)
    got, summaries = running.compute(), wanted(case_by_case())
    expected = {}
    for suffix, summary in (
        ("", summaries.summary),
        ("/liver", summaries.summary_by_label["liver"]),
        ("/tumor", summaries.summary_by_label["tumor"]),
    ):
        expected |= {f"{name}{suffix}": summary[name].mean for name in NAMES}
        expected |= {f"null/{name}{suffix}": summary[name].null for name in NAMES}
    assert got.keys() == expected.keys()
    assert all(isinstance(value, Tensor) and value.shape == () for value in got.values())
    assert {name: value.item() for name, value in got.items()} == pytest.approx(expected, rel=1e-6)
    assert got["null/hausdorff_distance/tumor"] == 2
    assert got["null/hausdorff_distance"] == 2
    assert got["null/dice"] == 0


def test_the_values_are_those_of_the_folders(running: metrics.SurfaceMetrics, tmp_path: Path) -> None:
    for folder, volumes in zip(("predictions", "targets"), labels(), strict=True):
        (tmp_path / folder).mkdir()
        for case, (volume, spacing) in enumerate(zip(volumes, SPACING, strict=True)):
            affine = np.diag([*spacing.tolist()[::-1], 1])
            image = nibabel.Nifti1Image(volume.numpy().T.astype(np.uint8), affine)
            nibabel.save(image, tmp_path / folder / f"{case}.nii.gz")
    folders, options = (tmp_path / "predictions", tmp_path / "targets"), {"labels": [1, 2], "bootstrap": 0}
    result = metrics.evaluate_folders(*folders, tolerance=(0.5, 1.0), **options)
    running.update(*labels(), spacing=SPACING)
    got = running.summary()
    liver, tumor = (result.summary_by_label[label] for label in "12")
    assert got.summary_by_label == {
        "liver": {name: liver[name] for name in NAMES},
        "tumor": {name: tumor[name] for name in NAMES} | {"surface_dice": tumor["surface_dice_1"]},
    }
    for name in set(NAMES) - {"surface_dice"}:
        assert got.summary[name] == result.summary[name]
        assert running.compute()[name].item() == pytest.approx(result.summary[name].mean)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("both_empty", ["official", "perfect"])
def test_a_class_that_no_target_has_is_undefined_as_in_folders(
    surface_metrics: type[metrics.SurfaceMetrics], tmp_path: Path, dims: int, both_empty: Any
) -> None:
    """Whether or not some prediction has it; class 4 is in the target of the last case alone."""
    prediction, target = labels()
    prediction[0, 0, 0], target[-1, -1, -1] = 3, 4
    if dims == 2:
        prediction, target = prediction[:, 0], target[:, -1]
    for folder, volumes in zip(("predictions", "targets"), (prediction, target), strict=True):
        (tmp_path / folder).mkdir()
        for case, volume in enumerate(volumes):
            image = nibabel.Nifti1Image(volume.numpy().T.astype(np.uint8), np.diag([0.5, 0.5, 5.0, 1.0]))
            nibabel.save(image, tmp_path / folder / f"{case}.nii.gz")
    folders, options = (tmp_path / "predictions", tmp_path / "targets"), {"labels": [1, 2, 3, 4, 5]}
    result = metrics.evaluate_folders(*folders, tolerance=0.5, bootstrap=0, both_empty=both_empty, **options)
    assert result.absent_labels == (3, 5)
    running = surface_metrics(classes=6, tolerance=0.5, both_empty=both_empty)
    spacing = (5.0, 0.5, 0.5)[-dims:]
    for cases in (slice(0, 2), slice(2, 5)):
        running.update(prediction[cases], target[cases], spacing=spacing)
    with pytest.warns(UserWarning, match="^no target has the class 3, 5: all of its values") as warned:
        got = running.summary()
    assert len(warned) == 1
    assert got == metrics.Summaries(result.summary, result.summary_by_label)
    with pytest.warns(UserWarning, match="^no target has the class 3, 5: all of its values") as warned:
        means = running.compute()
    assert len(warned) == 1
    assert means["dice/3"].isnan()
    assert means["null/dice/3"] == means["null/lesions/5"] == 5
    assert means["null/dice/4"] == 0
    assert means["null/dice"] == 10


def test_without_any_foreground_in_the_targets_nothing_is_defined(
    surface_metrics: type[metrics.SurfaceMetrics],
) -> None:
    running = surface_metrics(classes=2, tolerance=1.0)
    running.update(PREDICTION * 0, TARGET * 0, spacing=SPACING)
    with pytest.warns(UserWarning, match="no target has the class 1"):
        assert running.summary() == summarize([[dict.fromkeys(NAMES)]] * 5, NAMES, labels=["1"])


def test_an_empty_batch_counts_nothing(running: metrics.SurfaceMetrics) -> None:
    running.update(PREDICTION[:0], TARGET[:0], spacing=(2.0, 0.5, 0.5))
    running.update([], [], spacing=[])
    running.update(*labels(), spacing=SPACING)
    running.update(PREDICTION[:0], TARGET[:0], spacing=SPACING[:0])
    assert running.summary() == wanted(case_by_case())


@pytest.mark.parametrize("array", [tuple, np.array, torch.tensor])
def test_tolerances_come_in_arrays_too(
    surface_metrics: type[metrics.SurfaceMetrics], array: Callable[..., Any]
) -> None:
    running = surface_metrics(classes=CLASSES, tolerance=array([0.5, 1.0]))
    running.update(*labels(), spacing=SPACING)
    assert running.summary() == wanted(case_by_case())
    one = surface_metrics(classes=CLASSES, tolerance=np.float32(0.42))
    assert one.settings[0].tolerances == (pytest.approx(0.42),)


def test_reset_forgets_all(running: metrics.SurfaceMetrics) -> None:
    running.update(*labels(), spacing=SPACING)
    running.reset()
    running.update(PREDICTION[:1], TARGET[:1], spacing=SPACING[:1])
    assert running.summary() == wanted(case_by_case()[:1])


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_gathered_has_no_mean(running: metrics.SurfaceMetrics) -> None:
    got = running.compute()
    assert got["dice"].isnan()
    assert got["null/dice"] == 0
    assert running.summary().summary["dice"].count == 0


def test_ignored_voxels_belong_to_no_mask(surface_metrics: type[metrics.SurfaceMetrics]) -> None:
    prediction, target = labels()
    void = torch.zeros_like(target, dtype=torch.bool)
    void[:, :, 3:5, 2:6] = True
    for ignore_index in (255, -1, 256):
        running = surface_metrics(classes=CLASSES, tolerance=TOLERANCES, ignore_index=ignore_index)
        running.update(prediction, target.masked_fill(void, ignore_index), spacing=SPACING)
        without = surface_metrics(classes=CLASSES, tolerance=TOLERANCES)
        without.update(prediction.masked_fill(void, 0), target.masked_fill(void, 0), spacing=SPACING)
        assert running.summary() == without.summary()
    with pytest.raises(ValueError, match=r"target: got 3 channels and ignore_index=256, wanted labels"):
        running.update(prediction, onehot(target), spacing=SPACING)
    with pytest.raises(ValueError, match=r"prediction: got values \[256\], wanted labels from 0 to 2$"):
        running.update(target.masked_fill(void, 256), target, spacing=SPACING)


def test_regions_may_overlap_and_have_no_background(surface_metrics: type[metrics.SurfaceMetrics]) -> None:
    regions = torch.stack([TARGET > 0, TARGET > 1], 1)
    running = surface_metrics(classes=["whole", "core"], include_background=True, tolerance=1.0)
    running.update(regions.roll(1, dims=-1), regions, spacing=SPACING)
    whole = metrics.evaluate(regions[0, 0].roll(1, -1), regions[0, 0], spacing=SPACING[0], tolerance=1.0)
    running.reset()
    running.update(regions[:1].roll(1, dims=-1), regions[:1], spacing=SPACING[:1])
    assert running.compute()["dice/whole"].item() == pytest.approx(whole.dice)
    assert running.summary().summary_by_label.keys() == {"whole", "core"}


def test_rules_for_empty_masks_are_those_of_evaluate(surface_metrics: type[metrics.SurfaceMetrics]) -> None:
    rules = {"empty": "worst", "both_empty": "perfect"}
    running = surface_metrics(classes=CLASSES, tolerance=TOLERANCES, **rules)
    running.update(*labels(), spacing=SPACING)
    assert running.summary() == wanted(case_by_case(**rules))
    assert running.compute()["null/hausdorff_distance"] == 0
    assert running.summary().summary_by_label["tumor"]["hausdorff_distance"].count == 5


def test_the_slice_axis_of_abc2_is_free(surface_metrics: type[metrics.SurfaceMetrics]) -> None:
    mask = torch.zeros(1, 9, 12, 4, dtype=torch.long)
    mask[0, 2:7, 3:9, 1:3] = 1
    mask[0, 3:5, 4:6, 0] = 1
    spacing = (0.5, 0.6, 5.0)  # (x, y, z)
    running = surface_metrics(classes=2, tolerance=1.0, slice_axis=2)
    running.update(mask, mask, spacing=spacing)
    got = running.summary().summary["abc2_volume_ml"].mean
    assert got == metrics.abc2_volume_ml(mask[0], spacing=spacing, slice_axis=2)
    assert got != metrics.abc2_volume_ml(mask[0], spacing=spacing)


def test_two_dimensions(surface_metrics: type[metrics.SurfaceMetrics]) -> None:
    running = surface_metrics(classes=3, tolerance=1.0)
    running.update(PREDICTION[0], TARGET[0], spacing=(0.5, 0.5))  # six slices
    got = running.summary().summary
    assert (got["dice"].count, got["volume_ml"].null) == (12, 12)


def test_monais_cases_bring_their_spacing(running: metrics.SurfaceMetrics) -> None:
    """Batched by MONAI's loader and taken apart by `decollate_batch`, with different spacings."""
    data = pytest.importorskip("monai.data")
    affines = [torch.diag(torch.tensor([*steps, 1.0], dtype=torch.float64)) for steps in STEPS]
    volumes = [
        data.list_data_collate([data.MetaTensor(v[None], affine=a) for v, a in zip(vs, affines, strict=True)])
        for vs in labels()
    ]
    prediction, target = map(data.decollate_batch, volumes)
    running.update(prediction, target, spacing=[case.pixdim for case in target])
    assert running.summary() == wanted(case_by_case())
    running.reset()
    running.update(*volumes, spacing=volumes[1].pixdim)
    assert running.summary() == wanted(case_by_case())


SOFT = torch.rand(2, 3, 6, 7, 8, generator=torch.Generator().manual_seed(1))
MM = (5.0, 0.5, 0.5)
REFUSED = {
    "no spacing": (TARGET, TARGET, None, "spacing: got None, wanted 2 or 3 numbers in mm"),
    "number of axes unknown": (
        TARGET,
        TARGET,
        0.5,
        "spacing: got 0.5, wanted .* spatial_dims=2 or 3",
    ),
    "spacings of other cases": (TARGET, TARGET, SPACING[:4], "spacing: got 4 spacings, wanted .* of 5 cases"),
    "one volume without a batch": (
        TARGET[0],
        TARGET[0],
        MM,
        r"a case of shape \(7, 8\), wanted 3",
    ),
    "slices for volumes": (TARGET, TARGET, (0.5, 0.5), r"a case of shape \(6, 7, 8\), wanted 2"),
    "soft values": (
        SOFT,
        TARGET[:2],
        MM,
        r"got values \[0\..*wanted 0 and 1 in each of 3 channels",
    ),
    "soft labels": (SOFT[:, 0], TARGET[:2], MM, r"prediction: got values \[0\..*wanted labels from 0 to 2"),
    "another number of channels": (SOFT[:, :2], TARGET[:2], MM, "of 1 .labels. or 3 .one-hot."),
    "labels beyond classes": (TARGET, TARGET * 2, MM, r"target: got values \[4\], wanted labels from 0 to 2"),
    "negative labels": (-TARGET, TARGET, MM, r"prediction: got values \[.*-1.*\], wanted labels from 0 to 2"),
    "another number of cases": (
        TARGET[1:],
        TARGET,
        MM,
        "got 4 cases, wanted the number of target, 5",
    ),
    "another shape": (
        TARGET[:, 1:],
        TARGET,
        MM,
        r"got spatial shape \(5, 7, 8\), wanted that of",
    ),
    "complex": (TARGET + 0j, TARGET, MM, "prediction: got dtype torch.complex64"),
    "arrays": (TARGET.numpy(), TARGET, MM, "prediction: got ndarray, wanted a torch.Tensor"),
}


@pytest.mark.parametrize(("prediction", "target", "spacing", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_ambiguous_or_wrong_is_refused_and_nothing_counts(
    running: metrics.SurfaceMetrics, prediction: Any, target: Any, spacing: Any, message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        running.update(prediction, target, spacing=spacing)
    spoiled = [*TARGET[:1], 5 * TARGET[1]]
    with pytest.raises(ValueError, match="prediction: got values"):
        running.update(spoiled, TARGET[:2], spacing=MM)
    assert running.summary().summary["dice"].count == 0


WRONG_OPTIONS = {
    "one class": {"classes": 1},
    "one name": {"classes": ["liver"]},
    "a word": {"classes": "liver"},
    "a name twice": {"classes": ["a", "b", "b"]},
    "numbers as names": {"classes": [0, 1]},
    "negative": {"tolerance": -1},
    "infinite": {"tolerance": float("inf")},
    "too few": {"tolerance": [1.0]},
    "another name": {"tolerance": {"liver": 1.0, "lesion": 1.0}},
    "too many in an array": {"tolerance": np.ones(3)},
    "rows of an array": {"tolerance": torch.ones(2, 1)},
    "one spatial axis": {"spatial_dims": 1},
    "axes of a fraction": {"spatial_dims": 2.0},
    "a word to ignore": {"ignore_index": "a"},
    "a fraction to ignore": {"ignore_index": 1.5},
    "a bool to ignore": {"ignore_index": True},
    "what wraps around to ignore": {"ignore_index": 2**32 + 1},
    "slices": {"slice_axis": 3},
    "rule": {"empty": "zero"},
    "rule for both": {"both_empty": "worst"},
}


@pytest.mark.parametrize("options", WRONG_OPTIONS.values(), ids=WRONG_OPTIONS)
def test_wrong_options_are_named(surface_metrics: type[metrics.SurfaceMetrics], options: Any) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(options))}: got"):
        surface_metrics(**{"classes": CLASSES, "tolerance": 1.0} | options)


def test_copies_and_pickles_go_on_by_themselves(running: metrics.SurfaceMetrics) -> None:
    running.update(PREDICTION[:2], TARGET[:2], spacing=SPACING[:2])
    copies = [copy.deepcopy(running), pickle.loads(pickle.dumps(running))]
    for other in copies:
        other.update(PREDICTION[2:], TARGET[2:], spacing=SPACING[2:])
        assert other.summary() == wanted(case_by_case())
    assert running.summary() == wanted(case_by_case()[:2])


def work(rank: int, folder: str, with_torchmetrics: bool, split: int) -> None:
    with torchmetrics.surface_metrics(with_torchmetrics) as surface_metrics:
        meeting = f"file://{folder}/meeting{split}"
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=PROCESSES)
        running = surface_metrics(classes=CLASSES, tolerance=TOLERANCES)
        cases = [2, 0, 1, 3, 4]  # the first has no tumor
        mine = [cases[:split], cases[split:]][rank]
        if mine:
            running.update(PREDICTION[mine], TARGET[mine], spacing=SPACING[mine])
        result = (running.compute(), running.summary(), sum(len(rows) for rows in running.rows))
        torch.save(result, f"{folder}/{rank}.pt")
        dist.destroy_process_group()
    os._exit(0)  # Gloo's threads must not outlive the interpreter


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("split", [1, 2, 5], ids=["one lacks a class", "both have cases", "one has none"])
def test_two_processes_compute_what_one_does(
    surface_metrics: type[metrics.SurfaceMetrics], tmp_path: Path, split: int
) -> None:
    with_torchmetrics = hasattr(surface_metrics, "merge_state")
    mp.spawn(work, args=(str(tmp_path), with_torchmetrics, split), nprocs=PROCESSES)
    means = {}
    for rank in range(PROCESSES):
        means[rank], summary, own = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert summary == wanted(case_by_case())
        assert own == (split, 5 - split)[rank]
    assert means[0].keys() == means[1].keys()
    assert all(torch.equal(means[0][name], means[1][name]) for name in means[0])
    assert means[0]["dice"].item() == pytest.approx(summary.summary["dice"].mean)


def test_torchmetrics_is_loaded_only_when_it_is_asked_for() -> None:
    code = "import sys, surfloss, surfloss.metrics; print([n for n in sys.modules if 'torchmetrics' in n])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'surface_metrics'"):
        metrics.surface_metrics  # noqa: B018
