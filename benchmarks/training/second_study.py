"""The second study's plans: equal gradient ratios, and controls; see docs/study-protocol.md."""

from benchmarks.training.configurations import RATIOS, TERMS, Configuration, Plan, on


def _all(task: str, titles: tuple[str, ...] = tuple(TERMS)) -> tuple[Configuration, ...]:
    return (on(task), *(on(task, title, ratio) for ratio in RATIOS for title in titles))


TASKS = ("nuclei", "hippocampus", "hemorrhage")
PLANS = {f"{task}-selection": Plan(_all(task), (200, 201, 202)) for task in TASKS}
