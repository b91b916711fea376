"""All metrics of two folders of cases: what can be measured is, and what cannot is reported with its case."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from surfloss import _check
from surfloss._check import fail
from surfloss._volumes import ENDINGS, Unavailable, volumes
from surfloss.metrics import _cache, _masks
from surfloss.metrics._empty import BothEmptyRule, EmptyRule
from surfloss.metrics._images import Image, read_image
from surfloss.metrics._labels import BINARY, LabelSet, LabelsLike, labels_in, parse_labels
from surfloss.metrics._workers import each
from surfloss.metrics.evaluate import Settings, measure, value_names
from surfloss.metrics.lesions import LesionReport
from surfloss.metrics.summary import summarize

_UNAVAILABLE = "unavailable"  # the kind of a problem that is no fact about the files, and that no cache keeps


@dataclass(frozen=True)
class _CaseFiles:
    """One target with its prediction, and how to evaluate it."""

    name: str
    target: Path
    prediction: Path | None
    labels: LabelSet | None
    settings: Settings

    def key(self) -> str | None:
        """A hash of all that its result depends on; None where a file cannot be read now."""
        question = (self.labels, self.settings, self.prediction is None)
        return _cache.key_of(question, filter(None, (self.target, self.prediction)))


def evaluate_folders(
    prediction_dir: str | Path,
    target_dir: str | Path,
    *,
    tolerance: float | Sequence[float],
    percentiles: Sequence[float] = (),
    labels: LabelsLike | None = None,
    empty: EmptyRule = "null",
    both_empty: BothEmptyRule = "official",
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
        labels: evaluated one by one, any other is background: numbers, "all" above 0 in the targets, a
            mapping from names to a number or to the numbers of a region, the path of nnU-Net's
            `dataset.json`, or text as `"1=liver,2=tumor,1+2=whole"`. None for masks of 0 and 1. Voxels that
            the target gives the label named "ignore" count in neither mask.
        empty: the values where one mask is empty: "null", "diagonal" or "worst", see `docs/evaluation.md`.
            But for "null", a missing prediction counts as an empty one.
        both_empty: the same where both are empty: "official", "perfect" or "null".
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
        predictions without a target; `absent_labels`, those asked for (1 without `labels`) that occur in no
        target; `other_labels`, those found but not asked for; `settings`; with `per_lesion` also `lesions`
        and `false_positives`.

    Raises:
        FileNotFoundError: if a folder is missing, or the file of the labels.
        ValueError: if there is no target, one case has two files, or an argument is of another form.
            What lies in a single case's files, or in the memory that it takes, is its problem, and no error.
        RuntimeError: if the processes of several workers cannot start.
    """
    predictions = _images("prediction_dir", Path(prediction_dir))
    targets = _targets(Path(target_dir))
    settings = Settings(
        tuple(tolerance) if isinstance(tolerance, Sequence) else (tolerance,),
        tuple(percentiles),
        per_lesion,
        empty=empty,
        both_empty=both_empty,
    )
    for argument, value, least in (("workers", workers, 1), ("bootstrap", bootstrap, 0), ("seed", seed, 0)):
        _check.whole(argument, value, least)
    chosen = choose_labels(labels, target_dir, workers)
    cases = [
        _CaseFiles(name, path, predictions.get(name), chosen, settings) for name, path in targets.items()
    ]
    results: list[dict[str, Any]] = [{}] * len(cases)
    finished = _results(cases, workers, None if cache is None else Path(cache))
    for done, (place, result) in enumerate(finished, start=1):
        results[place] = result
        if progress:
            progress(cases[place].name, done, len(cases))
    return _joined(results, settings, chosen, sorted(set(predictions) - set(targets)), bootstrap, seed)


def choose_labels(labels: LabelsLike | None, target_dir: str | Path, workers: int = 1) -> LabelSet | None:
    """The labels as `evaluate_folders` takes them, "all" read from the targets; None for binary masks.

    Raises:
        FileNotFoundError, ValueError: as `evaluate_folders`.
    """
    if labels is None:
        return None
    if not (isinstance(labels, str) and labels == "all"):
        return parse_labels(labels)
    targets = dict(enumerate(_targets(Path(target_dir)).values()))
    found = each(_labels_of, targets, workers, lambda _: [])
    numbers = sorted({number for _, part in found for number in part if number > 0})
    if not numbers:
        fail("labels", "'all' and no label in any target that could be read", "targets with labels")
    return parse_labels(numbers)


def _labels_of(path: Path) -> list[int]:
    """None for an image that cannot be read: it is a problem of its case, later."""
    try:
        return labels_in(path, read_image(path).voxels)
    except (ValueError, Unavailable, MemoryError):
        return []


def read_case(
    prediction_dir: Path, target_dir: Path, case: str, labels: LabelSet | None
) -> tuple[Image, Image] | None:
    """Prediction and target of a case of `evaluate_folders`, the prediction empty where it is missing.

    None for a case that cannot be measured.
    """
    target = _images("target_dir", target_dir)[case]
    prediction = _images("prediction_dir", prediction_dir).get(case)
    return _read(_CaseFiles(case, target, prediction, labels, Settings((0.0,), empty="worst")), {})[1]


def _joined(
    results: list[dict[str, Any]],
    settings: Settings,
    labels: LabelSet | None,
    unmatched: list[str],
    bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    names, cases, known = value_names(settings), [result["rows"] for result in results], labels or BINARY
    kinds = ({row["problem"]["kind"] for row in case if row["problem"]} for case in cases)
    problems = Counter(kind for case in kinds for kind in case)
    if unmatched:
        problems["extra"] = len(unmatched)
    found = {side: Counter(number for result in results for number in result["found"][side] or ())
             for side in ("targets", "predictions")}  # fmt: skip
    absent, others = [], sorted(set(found["targets"] + found["predictions"]) - known.known)
    if any(result["found"]["targets"] is not None for result in results):
        absent = sorted(known.known - {known.ignore} - set(found["targets"]))
    if absent:
        problems["absent"] = len(absent)
        cases = [_without(absent, case, names, known) for case in cases]
    evaluation = {
        "cases": [row for case in cases for row in case],
        "summary": summarize(cases, names, bootstrap=bootstrap, seed=seed),
        "summary_by_label": {
            name: summarize([[case[i]] for case in cases], names, bootstrap=bootstrap, seed=seed)
            for i, (name, _) in enumerate(labels.regions if labels else ())
        },
        "problems": dict(sorted(problems.items())),
        "unmatched": unmatched,
        "absent_labels": absent,
        "other_labels": [{"label": n, **{side: found[side][n] for side in found}} for n in others],
        "settings": {
            "tolerances": settings.tolerances,
            "percentiles": settings.percentiles,
            "labels": dict(labels.regions) if labels else None,
            "ignore_label": labels.ignore if labels else None,
            "empty": settings.empty,
            "both_empty": settings.both_empty,
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


def _without(
    absent: list[int], case: list[dict[str, Any]], names: list[str], labels: LabelSet
) -> list[dict[str, Any]]:
    """The rows of a case, null where nothing that was asked for occurs in any target."""
    rows = []
    for row, (name, numbers) in zip(case, labels.regions, strict=True):
        wrong = {"kind": "absent", "message": f"labels: got {name}, wanted a label that a target has"}
        gone = set(numbers) <= set(absent) and row["problem"] is None
        rows.append({**row, **dict.fromkeys(names), "problem": wrong} if gone else row)
    return rows


def _targets(folder: Path) -> dict[str, Path]:
    targets = _images("target_dir", folder)
    if not targets:
        fail("target_dir", f"no label image in {folder}", f"one target a case ({', '.join(ENDINGS)})")
    return targets


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


def _results(
    cases: list[_CaseFiles], workers: int, cache: Path | None
) -> Iterator[tuple[int, dict[str, Any]]]:
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


def _lost(case: _CaseFiles) -> dict[str, Any]:
    message = f"{case.target}: got a process that was ended while it measured, wanted enough memory for it"
    return _measured(case, {"kind": _UNAVAILABLE, "message": message})


def _measured(case: _CaseFiles, wrong: dict[str, str] | None = None) -> dict[str, Any]:
    result: dict[str, Any] = {"rows": [], "lesions": [], "false_positives": [],
                              "found": {"targets": None, "predictions": None}}  # fmt: skip
    labels, settings = case.labels or BINARY, case.settings
    wrong, images = (wrong, None) if wrong else _read(case, result["found"])
    if case.prediction is None:  # an empty mask is right by chance where the target is empty
        settings = replace(settings, both_empty="null")
    for label, numbers in labels.regions:
        name = {"case": case.name, "label": label}
        values: Mapping[str, float | None] = dict.fromkeys(value_names(settings))
        problem = wrong
        if images is not None:
            prediction, target = images
            try:
                masks = _masks.pair(*labels.masks(numbers, prediction.voxels, target.voxels))
                steps = _masks.steps(target.spacing, target.voxels.ndim)
                values, report = measure(*masks, steps, settings, target.voxels.shape)
            except ValueError as error:  # as of a spacing whose squares leave float32's range
                problem = {"kind": "unmeasurable", "message": f"{case.target}: {error}"}
            except MemoryError as error:
                problem = {"kind": _UNAVAILABLE, "message": f"{case.target}: got too little memory ({error})"}
            else:
                if settings.per_lesion:
                    _add_lesions(result, name, report)
        result["rows"].append({**name, **values, "problem": problem})
    return result


def _add_lesions(result: dict[str, list[dict[str, Any]]], name: dict[str, Any], report: LesionReport) -> None:
    for part, found in (("lesions", report.lesions), ("false_positives", report.false_positives)):
        for component in found:
            values = asdict(component)
            result[part].append({**name, "component": values.pop("label"), **values})


def _read(
    case: _CaseFiles, found: dict[str, list[int] | None]
) -> tuple[dict[str, str] | None, tuple[Image, Image] | None]:
    """What is wrong with the case's files, and prediction and target if they can be measured.

    Puts the labels of both into `found`, as far as they could be read.
    """
    binary, kind = case.labels is None, "unreadable"
    try:
        target = read_image(case.target)
        kind = "labels"
        found["targets"] = labels_in(case.target, target.voxels, binary=binary)
        if case.prediction is None:
            message = (
                f"{case.target}: got no prediction, wanted a file of the same name among the predictions"
            )
            empty = target._replace(voxels=np.zeros(target.voxels.shape, np.uint8))
            measurable = case.settings.empty != "null"
            return {"kind": "missing", "message": message}, (empty, target) if measurable else None
        kind = "unreadable"
        prediction = read_image(case.prediction)
        kind = "misaligned"
        same_grid(case.prediction, prediction, target)
        kind = "labels"
        found["predictions"] = labels_in(case.prediction, prediction.voxels, binary=binary)
    except (Unavailable, MemoryError) as error:
        return {"kind": _UNAVAILABLE, "message": str(error)}, None
    except ValueError as error:
        return {"kind": kind, "message": str(error)}, None
    return None, (prediction, target)


def same_grid(path: Path, image: Image, target: Image) -> None:
    """Require the target's shape, and no corner of the grid further off than a hundredth of a voxel.

    Of an image whose file does not say where it lies, only the voxel size can be compared.
    """
    shape, wanted = (one.voxels.shape[::-1] for one in (image, target))
    if shape != wanted:
        fail(str(path), f"shape {shape}", f"the target's shape {wanted}")
    if not (image.is_placed and target.is_placed):
        if not np.allclose(image.spacing, target.spacing, rtol=0.01, atol=0):
            fail(
                str(path), f"a voxel size of {image.spacing[::-1]} mm", f"the target's {target.spacing[::-1]}"
            )
        return
    corners = np.array(list(product(*((0, size - 1) for size in (*shape, 1)[:3]))))
    change = image.affine - target.affine
    distance = np.linalg.norm(corners @ change[:3, :3].T + change[:3, 3], axis=1).max()
    if not distance <= 0.01 * np.linalg.norm(target.affine[:3, :3], axis=0).min():
        fail(str(path), f"an affine that moves voxels by {distance:.4g} mm", "the target's affine")
