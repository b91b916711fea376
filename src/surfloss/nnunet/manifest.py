"""Which data a run was begun with, so that no other data are mixed in when it is resumed."""

import hashlib
from pathlib import Path

from surfloss.nnunet.convert import SourceCase

Manifest = dict[str, dict[str, list[str]]]
"""Part (training or validation) -> case -> hashes of its image and label."""


def describe(training: list[SourceCase], validation: list[SourceCase]) -> Manifest:
    """Hash every file of a data set."""
    parts = {"training": training, "validation": validation}
    return {
        part: {case.name: [_hash(case.image), _hash(case.label)] for case in cases}
        for part, cases in parts.items()
    }


def differences(before: Manifest, now: Manifest) -> str:
    """What has changed between two states of a data set, with the cases' names; empty if nothing."""
    (part_before, files_before), (part_now, files_now) = _by_case(before), _by_case(now)
    both = files_before.keys() & files_now.keys()
    changes = {
        "added": files_now.keys() - both,
        "removed": files_before.keys() - both,
        "another image": {case for case in both if files_before[case][0] != files_now[case][0]},
        "another label": {case for case in both if files_before[case][1] != files_now[case][1]},
        "moved from training to validation or back": {c for c in both if part_before[c] != part_now[c]},
    }
    return "; ".join(f"{what}: {', '.join(sorted(cases))}" for what, cases in changes.items() if cases)


def _by_case(manifest: Manifest) -> tuple[dict[str, str], dict[str, list[str]]]:
    part_of = {case: part for part, cases in manifest.items() for case in cases}
    return part_of, {case: files for cases in manifest.values() for case, files in cases.items()}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
