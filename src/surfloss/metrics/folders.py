"""All metrics of two folders of cases: what can be measured is, and what cannot is reported with its case."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from surfloss import _check
from surfloss._check import fail
from surfloss._volumes import ENDINGS, Unavailable, volumes
from surfloss.metrics import _cache
from surfloss.metrics._case import (
    CaseFiles,
    Image,
    MeasuredCase,
    lost_case,
    measure_case,
    read_case,
    read_image,
)
from surfloss.metrics._empty import BothEmptyRule, EmptyRule
from surfloss.metrics._labels import BINARY, LabelSet, LabelsLike, labels_in, parse_labels
from surfloss.metrics._workers import each
from surfloss.metrics.evaluate import Settings
from surfloss.metrics.results import CaseResult, FolderEvaluation, FolderSettings, OtherLabel, Problem
from surfloss.metrics.summary import summarize


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
) -> FolderEvaluation:
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
        One entry of `cases` for each target and label. Values that are undefined or could not be had are
        None, and where they could not be had the entry has a `problem`.

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
    cases = [CaseFiles(name, path, predictions.get(name), chosen, settings) for name, path in targets.items()]
    results: dict[int, MeasuredCase] = {}
    for place, result in _results(cases, workers, None if cache is None else Path(cache)):
        results[place] = result
        if progress:
            progress(cases[place].name, len(results), len(cases))
    return _joined(
        [results[place] for place in range(len(cases))],
        tuple(sorted(set(predictions) - set(targets))),
        settings,
        chosen,
        bootstrap,
        seed,
    )


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
    found = each(_labels_of, targets, workers, lambda _: ())
    numbers = sorted({number for _, part in found for number in part if number > 0})
    if not numbers:
        fail("labels", "'all' and no label in any target that could be read", "targets with labels")
    return parse_labels(numbers)


def _labels_of(path: Path) -> tuple[int, ...]:
    """None of an image that cannot be read: that is a problem of its case, later."""
    try:
        return labels_in(path, read_image(path).voxels)
    except (ValueError, Unavailable, MemoryError):
        return ()


def images_of(
    prediction_dir: Path, target_dir: Path, case: str, labels: LabelSet | None
) -> tuple[Image, Image] | None:
    """Prediction and target of a case of `evaluate_folders`, the prediction empty where it is missing.

    None for a case that cannot be measured.
    """
    target = _images("target_dir", target_dir)[case]
    prediction = _images("prediction_dir", prediction_dir).get(case)
    return read_case(CaseFiles(case, target, prediction, labels, Settings((0.0,), empty="worst"))).images


def _joined(
    results: list[MeasuredCase],
    unmatched: tuple[str, ...],
    settings: Settings,
    labels: LabelSet | None,
    bootstrap: int,
    seed: int,
) -> FolderEvaluation:
    asked = labels or BINARY
    regions = dict(asked.regions)
    targets = Counter(number for result in results for number in result.target_labels or ())
    predictions = Counter(number for result in results for number in result.prediction_labels or ())
    absent: list[int] = []
    if any(result.target_labels is not None for result in results):
        absent = sorted(asked.known - {asked.ignore} - set(targets))
    cases = [[_without(absent, row, regions[row.label]) for row in result.rows] for result in results]
    summaries = summarize(
        [[row.values for row in case] for case in cases],
        settings.names,
        labels=list(regions) if labels else (),
        bootstrap=bootstrap,
        seed=seed,
    )
    lesions = tuple(found for result in results for found in result.lesions)
    false_positives = tuple(found for result in results for found in result.false_positives)
    return FolderEvaluation(
        cases=tuple(row for case in cases for row in case),
        summary=summaries.summary,
        summary_by_label=summaries.summary_by_label,
        unmatched=unmatched,
        absent_labels=tuple(absent),
        other_labels=tuple(
            OtherLabel(number, targets[number], predictions[number])
            for number in sorted({*targets, *predictions} - asked.known)
        ),
        settings=FolderSettings(
            settings.tolerances,
            settings.percentiles,
            regions if labels else None,
            asked.ignore,
            settings.empty,
            settings.both_empty,
            bootstrap,
            seed,
        ),
        lesions=lesions if settings.per_lesion else None,
        false_positives=false_positives if settings.per_lesion else None,
    )


def _without(absent: list[int], row: CaseResult, numbers: tuple[int, ...]) -> CaseResult:
    """The row, null where nothing that was asked for occurs in any target."""
    if row.problem or not set(numbers) <= set(absent):
        return row
    problem = Problem("absent", f"labels: got {row.label}, wanted a label that a target has")
    return replace(row, values=dict.fromkeys(row.values), problem=problem)


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


def _results(cases: list[CaseFiles], workers: int, cache: Path | None) -> Iterator[tuple[int, MeasuredCase]]:
    """The place of each case and its result, as they are finished; first those that the cache holds."""
    keys: dict[int, str | None] = {}
    for place, case in enumerate(cases):
        key = None if cache is None else _key(case)
        kept = None if cache is None or key is None else _cache.kept(cache, case.name, key)
        if kept is None:
            keys[place] = key
        else:
            yield place, kept
    for place, result in each(measure_case, {place: cases[place] for place in keys}, workers, lost_case):
        key = keys[place]
        if cache is not None and key is not None and result.is_lasting:
            _cache.keep(cache, cases[place].name, key, result)
        yield place, result


def _key(case: CaseFiles) -> str | None:
    """A hash of all that its result depends on; None where a file cannot be read now."""
    question = (case.labels, case.settings, case.prediction is None)
    return _cache.key_of(question, filter(None, (case.target, case.prediction)))
