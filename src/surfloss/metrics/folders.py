"""All metrics of two folders of cases: what can be measured is, and what cannot is reported with its case."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from surfloss import _check
from surfloss._check import fail
from surfloss._volumes import ENDINGS, Unavailable, volumes
from surfloss.metrics import _cache, _masks
from surfloss.metrics._images import Image, read_image
from surfloss.metrics._workers import each
from surfloss.metrics.evaluate import Settings, measure, value_names
from surfloss.metrics.lesions import LesionReport
from surfloss.metrics.summary import summarize

_UNAVAILABLE = "unavailable"  # the kind of a problem that is no fact about the files, and that no cache keeps


@dataclass(frozen=True)
class _Case:
    """One target with its prediction, and how to evaluate it."""

    name: str
    target: Path
    prediction: Path | None
    labels: tuple[int, ...] | None
    settings: Settings

    def key(self) -> str | None:
        """A hash of all that its result depends on; None where a file cannot be read now."""
        question = (self.labels, self.settings, self.prediction is None)
        return _cache.key_of(question, filter(None, (self.target, self.prediction)))


def evaluate_folders(
    prediction_dir: str | Path,
    target_dir: str | Path,
    *,
    tolerance: float | Sequence[float] = 0.42,
    percentiles: Sequence[float] = (),
    labels: Sequence[int] | None = None,
    per_lesion: bool = False,
    bootstrap: int = 1000,
    seed: int = 0,
    workers: int = 1,
    cache: str | Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Evaluate every case of a folder of targets against the prediction of the same name.

    Args:
        prediction_dir, target_dir: folders of label images on the same grids, NIfTI (`.nii.gz`, `.nii`), NRRD
            (`.nrrd`, `.nhdr`) or MetaImage (`.mha`, `.mhd`). Hidden files are passed over. The spacing is
            that of the target's header.
        tolerance: of the surface Dice, in mm; further ones add `surface_dice_<tolerance>`.
        percentiles: of the Hausdorff distance, beside 100 and 95; adds `hausdorff_distance_<percentile>`.
        labels: evaluated one by one, any other is background; None for masks of 0 and 1.
        per_lesion: list every lesion with its own metrics.
        bootstrap: samples of the confidence interval of the mean, see `metrics.summary`; 0 for none.
        seed: of the bootstrap.
        workers: processes; more than one are spawned, so a script needs its `if __name__ == "__main__":`.
        cache: a folder that keeps the values of every finished case. A case whose files and settings are the
            same as then is not evaluated again.
        progress: called with the name of each finished case, the number of those finished, and of all.

    Returns:
        A JSON-ready dictionary, of which `docs/evaluation.md` shows each part: `cases`, one entry for each
        target and label, with None for values that are undefined or could not be had, and in that case its
        `problem`; `summary` and `summary_by_label`; `problems`, their number by kind; `unmatched`, the
        predictions without a target; `settings`; with `per_lesion` also `lesions` and `false_positives`.

    Raises:
        FileNotFoundError: if a folder is missing.
        ValueError: if there is no target, one case has two files, or an argument is of another form.
            What lies in a single case's files, or in the memory that it takes, is its problem, and no error.
        RuntimeError: if the processes of several workers cannot start.
    """
    predictions = _images("prediction_dir", Path(prediction_dir))
    targets = _images("target_dir", Path(target_dir))
    if not targets:
        fail("target_dir", f"no label image in {target_dir}", f"one target a case ({', '.join(ENDINGS)})")
    settings = Settings(
        tuple(tolerance) if isinstance(tolerance, Sequence) else (tolerance,), tuple(percentiles), per_lesion
    )
    chosen = None if labels is None else tuple(_check.whole("labels", label, least=1) for label in labels)
    if chosen is not None and not 0 < len(chosen) == len(set(chosen)):
        fail("labels", list(chosen), "at least one, each of them once")
    for argument, value, least in (("workers", workers, 1), ("bootstrap", bootstrap, 0), ("seed", seed, 0)):
        _check.whole(argument, value, least)
    cases = [_Case(name, path, predictions.get(name), chosen, settings) for name, path in targets.items()]
    results: list[dict[str, Any]] = [{}] * len(cases)
    finished = _results(cases, workers, None if cache is None else Path(cache))
    for done, (place, result) in enumerate(finished, start=1):
        results[place] = result
        if progress:
            progress(cases[place].name, done, len(cases))
    return _joined(results, settings, chosen, sorted(set(predictions) - set(targets)), bootstrap, seed)


def _joined(
    results: list[dict[str, Any]],
    settings: Settings,
    labels: tuple[int, ...] | None,
    unmatched: list[str],
    bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    names, cases = value_names(settings), [result["rows"] for result in results]
    kinds = ({row["problem"]["kind"] for row in case if row["problem"]} for case in cases)
    problems = Counter(kind for case in kinds for kind in case)
    if unmatched:
        problems["extra"] = len(unmatched)
    evaluation = {
        "cases": [row for case in cases for row in case],
        "summary": summarize(cases, names, bootstrap=bootstrap, seed=seed),
        "summary_by_label": {
            str(label): summarize([[case[i]] for case in cases], names, bootstrap=bootstrap, seed=seed)
            for i, label in enumerate(labels or ())
        },
        "problems": dict(sorted(problems.items())),
        "unmatched": unmatched,
        "settings": {
            "tolerances": settings.tolerances,
            "percentiles": settings.percentiles,
            "labels": labels,
            "bootstrap": bootstrap,
            "seed": seed,
        },
    }
    if settings.per_lesion:
        for part in ("lesions", "false_positives"):
            evaluation[part] = [row for result in results for row in result[part]]
    # As a file would give it back: lists for tuples.
    plain: dict[str, Any] = json.loads(json.dumps(evaluation, allow_nan=False))
    return plain


def _images(argument: str, folder: Path) -> dict[str, Path]:
    """Label images by case name, in the order of the names."""
    if not folder.is_dir():
        fail(argument, folder, "an existing folder", FileNotFoundError)
    found: dict[str, Path] = {}
    for case, path in volumes(folder):
        if case in found:
            fail(argument, f"{found[case].name} and {path.name}", "one file a case")
        found[case] = path
    return found


def _results(cases: list[_Case], workers: int, cache: Path | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The place of each case and its result, as they are finished; first those that the cache holds."""
    new = {}
    for place, case in enumerate(cases):
        key = None if cache is None else case.key()
        kept = None if cache is None or key is None else _cache.kept(cache, case.name, key)
        if kept is None:
            new[place] = key
        else:
            yield place, kept
    for place, result in each(_measured, {place: cases[place] for place in new}, workers, _lost):
        key = new[place]
        lasting = all(not row["problem"] or row["problem"]["kind"] != _UNAVAILABLE for row in result["rows"])
        if cache is not None and key is not None and lasting:
            _cache.keep(cache, cases[place].name, key, result)
        yield place, result


def _lost(case: _Case) -> dict[str, Any]:
    message = f"{case.target}: got a process that was ended while it measured, wanted enough memory for it"
    return _measured(case, {"kind": _UNAVAILABLE, "message": message})


def _measured(case: _Case, wrong: dict[str, str] | None = None) -> dict[str, Any]:
    wrong, images = (wrong, ()) if wrong else _read(case)
    result: dict[str, list[dict[str, Any]]] = {"rows": [], "lesions": [], "false_positives": []}
    for label in case.labels or (1,):
        name: dict[str, Any] = {"case": case.name, "label": label}
        values: Mapping[str, float | None] = dict.fromkeys(value_names(case.settings))
        problem = wrong
        if problem is None:
            try:
                masks = _masks.pair(*(image.voxels == label for image in images))
                steps = _masks.steps(images[1].spacing, masks[0].ndim)
                values, report = measure(*masks, steps, case.settings)
            except ValueError as error:  # as of a spacing whose squares leave float32's range
                problem = {"kind": "unmeasurable", "message": f"{case.target}: {error}"}
            except MemoryError as error:
                problem = {"kind": _UNAVAILABLE, "message": f"{case.target}: got too little memory ({error})"}
            else:
                if case.settings.per_lesion:
                    _add_lesions(result, name, report)
        result["rows"].append({**name, **values, "problem": problem})
    return result


def _add_lesions(result: dict[str, list[dict[str, Any]]], name: dict[str, Any], report: LesionReport) -> None:
    for part, found in (("lesions", report.lesions), ("false_positives", report.false_positives)):
        for component in found:
            values = asdict(component)
            result[part].append({**name, "component": values.pop("label"), **values})


def _read(case: _Case) -> tuple[dict[str, str] | None, tuple[Image, ...]]:
    """What is wrong with the case's files, or else prediction and target."""
    kind = "missing"
    try:
        if case.prediction is None:
            fail(str(case.target), "no prediction", "a file of the same name among the predictions")
        kind = "unreadable"
        target, prediction = read_image(case.target), read_image(case.prediction)
        kind = "misaligned"
        _same_grid(case.prediction, prediction, target)
        kind = "labels"
        _check_labels(case.target, target, case.labels)
        _check_labels(case.prediction, prediction, case.labels)
    except (Unavailable, MemoryError) as error:
        return {"kind": _UNAVAILABLE, "message": str(error)}, ()
    except ValueError as error:
        return {"kind": kind, "message": str(error)}, ()
    return None, (prediction, target)


def _check_labels(path: Path, image: Image, labels: tuple[int, ...] | None) -> None:
    voxels = image.voxels
    if labels is None:
        _masks.binary(str(path), voxels)
    elif voxels.dtype.kind == "f" and not (np.floor(voxels) == voxels).all():
        others = voxels[np.floor(voxels) != voxels][:1000].tolist()
        fail(str(path), f"values {list(dict.fromkeys(others))[:5]}", "whole numbers as labels")


def _same_grid(path: Path, image: Image, target: Image) -> None:
    """Require the target's shape, and no corner of the grid further off than a hundredth of a voxel."""
    shape, wanted = (one.voxels.shape[::-1] for one in (image, target))
    if shape != wanted:
        fail(str(path), f"shape {shape}", f"the target's shape {wanted}")
    corners = np.array(list(product(*((0, size - 1) for size in (*shape, 1)[:3]))))
    change = image.affine - target.affine
    distance = np.linalg.norm(corners @ change[:3, :3].T + change[:3, 3], axis=1).max()
    if not distance <= 0.01 * np.linalg.norm(target.affine[:3, :3], axis=0).min():
        fail(str(path), f"an affine that moves voxels by {distance:.4g} mm", "the target's affine")
