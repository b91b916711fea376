"""The second study's plans, with equal gradient ratios and controls; see docs/study-protocol.md."""

from benchmarks.training.configurations import (
    AGAIN,
    CONTROL_OF,
    RATIOS,
    SQUARED,
    STRONG,
    STRONG_RATIO,
    TERMS,
    Plan,
    name_of,
    on,
)

# The winners of the selection by data set (title and ratio), as named in the protocol.
FINAL: dict[str, tuple[str, float]] = {
    "nuclei": ("capped absolute error", 3.0),
    "hippocampus": ("surface Dice", 1.0),
    "hemorrhage": ("convolution", 1.0),
}


# Terms that changed nothing on nuclei, or as much as squared error did.
LEFT_OUT_ON_HIPPOCAMPUS = (
    AGAIN,
    "cross-entropy",
    "convolution",
    "capped squared error",
    "capped cross-entropy, alpha 2",
)


# The selection on phantoms, about which nothing is claimed: families of terms, and the winner on nuclei.
ON_HEMORRHAGE = (
    (SQUARED, 1.0),
    ("Hausdorff", 1.0),
    ("boundary", 1.0),
    ("surface Dice", 1.0),
    ("convolution", 1.0),
    ("capped absolute error", 3.0),
    ("absolute error", 3.0),
)


def _selection(task: str) -> Plan:
    wanted = [(title, ratio) for ratio in RATIOS for title in TERMS]
    wanted += [(title, STRONG_RATIO) for title in STRONG]
    if task == "hippocampus":
        wanted = [(title, r) for title, r in wanted if r >= 1 and title not in LEFT_OUT_ON_HIPPOCAMPUS]
        wanted.append(("surface Dice", STRONG_RATIO))  # the best at ratio 1, and as steady
    if task == "hemorrhage":
        wanted = list(ON_HEMORRHAGE)
    seeds = (200, 201) if task == "nuclei" else (200,)
    return Plan((on(task), *(on(task, title, ratio) for title, ratio in wanted)), seeds)


def _final(task: str, title: str, ratio: float) -> Plan:
    """The winner with its weight in the selection, and controls of the strength that it reached there."""
    winner = name_of(title, ratio)
    terms = dict.fromkeys((title, CONTROL_OF[title], SQUARED, AGAIN))
    seeds = range(300, 304 if task == "hemorrhage" else 308)
    return Plan((on(task), *(on(task, term, ratio, like=winner) for term in terms)), tuple(seeds))


PLANS = {
    **{f"{task}-selection": _selection(task) for task in ("nuclei", "hippocampus", "hemorrhage")},
    **{f"{task}-final": _final(task, *winner) for task, winner in FINAL.items()},
}
