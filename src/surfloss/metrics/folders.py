"""All metrics of two folders of cases: what can be measured is, and what cannot is reported with its case."""

import hashlib
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surfloss import _check
from surfloss._check import fail
from surfloss._files import write_text
from surfloss.metrics import _masks
from surfloss.metrics._images import ENDINGS, Image, ending, needs_itk, read_image
from surfloss.metrics._masks import BoolArray
from surfloss.metrics.evaluate import Settings, measure, value_names
from surfloss.metrics.lesions import LesionReport
from surfloss.metrics.summary import summarize


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
        text = repr((version("surfloss"), self.labels, self.settings, self.prediction is None))
        digest = hashlib.sha256(text.encode())
        try:
            for path in filter(None, (self.target, self.prediction)):
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError:
            return None
        return digest.hexdigest()


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
            or MetaImage (`.nrrd`, `.mha`, with SimpleITK). The spacing is that of the target's header.
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
        MemoryError: as it occurs. What lies in a single case's files is its problem, and no error.
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
    for path in sorted(folder.iterdir()):
        if known := ending(path):
            case = path.name[: -len(known)]
            if case in found:
                fail(argument, f"{found[case].name} and {path.name}", "one file a case")
            if needs_itk(path) and find_spec("SimpleITK") is None:
                fail(
                    argument,
                    f"{path.name} and no SimpleITK",
                    "it installed: pip install 'surfloss[evaluate]'",
                )
            found[case] = path
    return found


def _results(cases: list[_Case], workers: int, cache: Path | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The place of each case and its result, as they are finished; first those that the cache holds."""
    new = {}
    for place, case in enumerate(cases):
        key = None if cache is None else case.key()
        kept = None if cache is None or key is None else _kept(cache / f"{case.name}.json", key)
        if kept is None:
            new[place] = key
        else:
            yield place, kept
    for place, result in _measured_all({place: cases[place] for place in new}, workers):
        if cache is not None and new[place] is not None:
            text = json.dumps({"key": new[place], **result}, allow_nan=False)
            write_text(cache / f"{cases[place].name}.json", text)
        yield place, result


def _kept(path: Path, key: str) -> dict[str, Any] | None:
    """The result in a cache's file, if it is there, of ours, and of the same files and settings."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content if content["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _measured_all(cases: dict[int, _Case], workers: int) -> Iterator[tuple[int, dict[str, Any]]]:
    if min(workers, len(cases)) <= 1:
        yield from ((place, _measured(case)) for place, case in cases.items())
        return
    with ProcessPoolExecutor(
        min(workers, len(cases)),
        mp_context=multiprocessing.get_context("spawn"),  # PyTorch's threads do not survive a fork
        initializer=torch.set_num_threads,
        initargs=(max(1, torch.get_num_threads() // workers),),
    ) as pool:
        futures = {pool.submit(_measured, case): place for place, case in cases.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _measured(case: _Case) -> dict[str, Any]:
    wrong, pairs, spacing = _read(case)
    result: dict[str, list[dict[str, Any]]] = {"rows": [], "lesions": [], "false_positives": []}
    for label in case.labels or (1,):
        name: dict[str, Any] = {"case": case.name, "label": label}
        values: Mapping[str, float | None] = dict.fromkeys(value_names(case.settings))
        problem = wrong
        if problem is None:
            try:
                masks = _masks.pair(*pairs[label])
                steps = _masks.steps(spacing, masks[0].ndim)
                values, report = measure(*masks, steps, case.settings, pairs[label][0].shape)
            except ValueError as error:  # as of a spacing whose squares leave float32's range
                problem = {"kind": "unmeasurable", "message": f"{case.target}: {error}"}
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


def _read(
    case: _Case,
) -> tuple[dict[str, str] | None, dict[int, tuple[BoolArray, BoolArray]], tuple[float, ...]]:
    """What is wrong with the case's files, or else both masks of each label and the spacing."""
    kind = "missing"
    try:
        if case.prediction is None:
            fail(str(case.target), "no prediction", "a file of the same name among the predictions")
        kind = "unreadable"
        target, prediction = read_image(case.target), read_image(case.prediction)
        kind = "misaligned"
        _same_grid(case.prediction, prediction, target)
        kind = "labels"
        theirs = _label_masks(case.target, target, case.labels)
        ours = _label_masks(case.prediction, prediction, case.labels)
    except (ValueError, OSError) as error:
        return {"kind": kind, "message": str(error)}, {}, ()
    return None, {label: (ours[label], theirs[label]) for label in theirs}, target.spacing


def _label_masks(path: Path, image: Image, labels: tuple[int, ...] | None) -> dict[int, BoolArray]:
    voxels = image.voxels
    if labels is None:
        return {1: _masks.binary(str(path), voxels)}
    if voxels.dtype.kind == "f" and not (np.floor(voxels) == voxels).all():
        others = voxels[np.floor(voxels) != voxels][:1000].tolist()
        fail(str(path), f"values {list(dict.fromkeys(others))[:5]}", "whole numbers as labels")
    return {label: voxels == label for label in labels}


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
