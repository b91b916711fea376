"""What the metrics of a case are where a mask is empty: one rule for arrays, batches and folders."""

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

from surfloss._check import fail

EmptyRule: TypeAlias = Literal["null", "diagonal", "worst"]
BothEmptyRule: TypeAlias = Literal["official", "perfect", "null"]

# The best and the worst value of each metric; None stands for the volume's diagonal. A name with a suffix, as
# `hausdorff_distance_95`, is of the metric that it begins with. Volumes and counts are not in the table: they
# are defined for every mask.
_BOUNDS: dict[str, tuple[float, float | None]] = {
    "dice": (1.0, 0.0),
    "surface_dice": (1.0, 0.0),
    "relative_volume_difference": (0.0, 1.0),
    "hausdorff_distance": (0.0, None),
    "average_symmetric_surface_distance": (0.0, None),
}


def check_rules(empty: str, both_empty: str) -> None:
    """Require known names of the rules.

    Raises:
        ValueError: naming the argument.
    """
    for argument, value, rule in (("empty", empty, EmptyRule), ("both_empty", both_empty, BothEmptyRule)):
        if value not in get_args(rule):
            fail(argument, repr(value), f"one of {', '.join(get_args(rule))}")


def with_empty_masks(
    values: Mapping[str, float | None],
    *,
    prediction_empty: bool,
    target_empty: bool,
    diagonal: float,
    empty: EmptyRule = "null",
    both_empty: BothEmptyRule = "official",
) -> dict[str, float | None]:
    """The values of a case under the rules for empty masks; unchanged where neither mask is empty.

    Args:
        values: by metric, None where the formula has no finite value.
        prediction_empty, target_empty: whether the mask has no voxel.
        diagonal: of the whole volume, in the unit of the distances.
        empty: where one of the masks is empty. "null" keeps the values. "diagonal" replaces distances with
            `diagonal`. "worst" gives every metric its worst value: 0 for both Dice coefficients, `diagonal`
            for distances, 1 for the relative volume difference.
        both_empty: where both masks are empty. "official" keeps the values of the INSTANCE2022 evaluation:
            Dice is 1, the others are None. "perfect" gives every metric its best value, "null" gives None.
    """
    if not (prediction_empty or target_empty):
        return dict(values)
    settled = dict(values)
    for name in values:
        bounds = next((both for metric, both in _BOUNDS.items() if name.startswith(metric)), None)
        if bounds is None:
            continue
        best, worst = bounds
        if prediction_empty and target_empty:
            if both_empty != "official":
                settled[name] = best if both_empty == "perfect" else None
        elif empty == "worst" or (empty == "diagonal" and worst is None):
            settled[name] = diagonal if worst is None else worst
    return settled
