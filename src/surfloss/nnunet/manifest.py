"""Which data a run was begun with, so that no other data are mixed in when it is resumed."""

import hashlib
from pathlib import Path

from surfloss.nnunet.convert import SourceCase

Manifest = dict[str, dict[str, str]]
"""Case -> its part ("training" or "validation"), and the hashes of its image and label."""

_CHANGES = {
    "image": "another image",
    "label": "another label",
    "part": "moved from training to validation or back",
}


def describe(training: list[SourceCase], validation: list[SourceCase]) -> Manifest:
    """Hash every file of a data set."""
    return {
        case.name: {"part": part, "image": _hash(case.image), "label": _hash(case.label)}
        for part, cases in (("training", training), ("validation", validation))
        for case in cases
    }


def differences(before: Manifest, now: Manifest) -> str:
    """What has changed between two states of a data set, with the cases' names; empty if nothing."""
    both = before.keys() & now.keys()
    changes = {"added": now.keys() - both, "removed": before.keys() - both}
    for key, what in _CHANGES.items():
        changes[what] = {case for case in both if before[case][key] != now[case][key]}
    return "; ".join(f"{what}: {', '.join(sorted(cases))}" for what, cases in changes.items() if cases)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
