"""INSTANCE2022's folder layout."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from surfloss._check import fail
from surfloss._volumes import NIFTI, volumes
from surfloss.nnunet.convert import faults_of
from surfloss.nnunet.source import Fault, Source, SourceCase, check_left_out, named_twice, pair, refuse

HU_WINDOW = (0.0, 100.0)  # the paper clips to it instead of nnU-Net's z-scoring
VALIDATION = "validation_"  # before the names of a validation part, whose numbers begin anew

OBTAIN = (
    "INSTANCE2022's folder, with train_2/data/001.nii.gz, train_2/label/001.nii.gz and so on. To obtain it, "
    "register at https://instance.grand-challenge.org, send the signed agreement to the organizers, and "
    "unpack what they offer"
)


def read_instance(folder: Path, validation_cases: int, leave_out: Collection[str] = ()) -> Source:
    """Training and validation cases of a folder.

    Training cases lie in `data/` and `label/`, an image and its label under one name (`.nii.gz` or `.nii`),
    in the folder itself or in its only part named `train...`. Its part named `val...` or `eval...`, laid out
    the same way, is the validation set; without one the last `validation_cases` by name are held out.

    Args:
        folder: the data set's.
        validation_cases: how many to hold out.
        leave_out: names of cases that shall not count, whatever is wrong with them.

    Raises:
        ValueError: if there is no such folder or no case to leave out, or it is not laid out so; or naming
            every case that lacks its image or label, has two of them or an empty file, and then every other
            bad case too.
    """
    if not folder.is_dir():
        fail("data", f"{folder}, which is no folder", OBTAIN)
    parts = {path for path in folder.iterdir() if path.is_dir()}
    training_part = folder
    if not parts & {folder / "data", folder / "label"}:
        training_part = _only(folder, parts, ("train",)) or fail(
            "data", f"{folder} without data/ and label/, or a part train.../ with them", OBTAIN
        )
    training, faults = _pair(training_part)
    validation: list[SourceCase] = []
    validation_part = _only(folder, parts, ("val", "eval"))
    if validation_part:
        if not (validation_part / "label").is_dir():
            wanted = f"its labels, or no such part: then the last {validation_cases} cases are held out"
            fail("data", f"{validation_part} without label/", wanted)
        validation, more = _pair(validation_part, prefix=VALIDATION)
        names = {case.name for case in training}
        faults += more + [(case.name, "in both parts") for case in validation if case.name in names]
    known = {case.name for case in training + validation} | {name for name, _ in faults}
    check_left_out(leave_out, known, folder, f"001 or {VALIDATION}001")
    source = Source(
        training,
        validation,
        # nnU-Net picks the normalization by the channel's name.
        channels={"0": "rescale_to_0_1"},
        labels={"background": 0, "hemorrhage": 1},
        window=HU_WINDOW,
    ).without(leave_out)
    if told := [(name, fault) for name, fault in faults if name not in leave_out]:
        refuse(told + faults_of(source))
    if validation_part:
        return source
    cases = source.training
    if len(cases) <= validation_cases:
        got = f"{len(cases)} cases in {training_part}"
        fail("data", got, f"more than the {validation_cases} to hold out. For the paper's, {OBTAIN}")
    return replace(source, training=cases[:-validation_cases], test=cases[-validation_cases:])


def _only(folder: Path, parts: set[Path], beginnings: tuple[str, ...]) -> Path | None:
    """The part whose name begins so, or None."""
    found = sorted(part for part in parts if part.name.lower().startswith(beginnings))
    if len(found) > 1:
        names = " and ".join(part.name for part in found)
        fail("data", f"{folder} with both {names}", f"one part whose name begins with {beginnings[0]}")
    return found[0] if found else None


def _pair(part: Path, prefix: str = "") -> tuple[list[SourceCase], list[Fault]]:
    """The whole cases of a folder with `data/` and `label/`, and the names and faults of the others."""
    kinds = ("data", "label")
    faults: list[Fault] = []
    files: dict[str, dict[str, Path]] = {}
    for kind in kinds:
        if not (part / kind).is_dir():
            wanted = f"data/ and label/ with files of the same names. {OBTAIN}"
            fail("data", f"{part} without {kind}/", wanted)
        found = [(prefix + name, path) for name, path in volumes(part / kind, NIFTI)]
        faults += named_twice(kind, found)
        files[kind] = dict(found)
    images, labels = files.values()
    if not images and not labels:
        fail("data", f"{part} without any {NIFTI[0]} file", f"NIfTI images and labels. {OBTAIN}")
    return pair({name: (path,) for name, path in images.items()}, labels, faults)
