"""Which data a run was begun with, so that no other data are mixed in when it is resumed."""

import hashlib
from pathlib import Path

from surfloss.nnunet.source import Source

Manifest = dict[str, dict[str, str]]
"""Case -> its part ("training" or "validation"), and the hashes of its image and label."""

_CHANGES = {
    "image": "another image",
    "label": "another label",
    "part": "moved from training to validation or back",
}


def describe(source: Source) -> Manifest:
    """Hash every file of a data set."""
    return {
        case.name: {"part": part, "image": _hash(*case.images), "label": _hash(case.label)}
        for part, cases in (("training", source.training), ("validation", source.test))
        for case in cases
    }


def differences(before: Manifest, now: Manifest) -> str:
    """What has changed between two states of a data set, with the cases' names; empty if nothing."""
    both = before.keys() & now.keys()
    changes = {"added": now.keys() - both, "removed": before.keys() - both}
    for key, what in _CHANGES.items():
        changes[what] = {case for case in both if before[case][key] != now[case][key]}
    return "; ".join(f"{what}: {', '.join(sorted(cases))}" for what, cases in changes.items() if cases)


def _hash(*paths: Path) -> str:
    """Of one file, or of several one behind the other."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(2**20):
                total.update(block)
    return total.hexdigest()
