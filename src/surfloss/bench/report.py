"""A comparison as text: numbers, the table of times, and what a reader must know of it."""

from typing import TypeAlias

from surfloss.bench.result import Outcome, Result, Row
from surfloss.bench.timing import Times

Table: TypeAlias = tuple[list[str], list[list[str]]]  # head and body


def times(result: Result, task: str) -> Table:
    """Every time and ratio of one task."""
    names = result.present(task)
    body = [
        [size_text(row), row.mask]
        + [_outcome_text(row.results.get(name), name == result.baseline) for name in names]
        for row in result.rows
        if row.task == task
    ]
    return ["size", "mask", *names], body


def notes(result: Result) -> list[str]:
    """What a reader must know of the whole comparison, a sentence a line."""
    versions = dict(result.versions)
    own = versions.pop("surfloss")
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [f"{result.date[:10]}, {result.machine}, {threads_text(result)}; surfloss {own}, {packages}."]
    if (result.load_before or 0) > result.machine.cores / 2:
        lines.append(f"The machine was busy before (load {result.load_before}): do not rely on these times.")
    return lines + [f"Absent: {name} ({reason})." for name, reason in result.absent.items()]


def threads_text(result: Result) -> str:
    return f"{result.threads} thread{'s' if result.threads > 1 else ''}"


def size_text(row: Row) -> str:
    """`64x512x512 x 8 @ 5/0.42/0.42`; a batch of 8, and the spacing only where it is not 1 voxel."""
    text = "x".join(map(str, row.size))
    if row.items > 1:
        text += f" x {row.items}"
    if any(mm != 1 for mm in row.spacing):
        text += f" @ {'/'.join(f'{mm:.3g}' for mm in row.spacing)}"
    return text


def time_text(seconds: float) -> str:
    """Three digits in a readable unit."""
    unit, factor = next(((u, f) for u, f in (("s", 1), ("ms", 1e3)) if seconds * f >= 1), ("µs", 1e6))
    value = seconds * factor
    return f"{value:.{max(0, 3 - len(str(int(value))))}f} {unit}"


def spread_text(times: Times) -> str:
    """Half of the way from the 20th to the 80th percentile, in percent of the median."""
    return f"±{50 * (times.p80_s - times.p20_s) / times.median_s:.0f}%"


def ratio_text(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 99.5 else f"{ratio:.{1 if ratio >= 0.995 else 2}f}x"


def _outcome_text(outcome: Outcome | None, is_baseline: bool) -> str:
    """What one contestant made of one row; the ratio to the baseline unless it is the baseline."""
    if outcome is None:
        return "-"
    if (off := outcome.disagrees) is not None:
        return f"disagrees ({off if isinstance(off, str) else f'{off:.1g}'})"
    if outcome.times is None:
        return f"failed ({(outcome.failed or '').partition(':')[0]})"
    text = f"{time_text(outcome.times.median_s)} {spread_text(outcome.times)}"
    return text if is_baseline or outcome.ratio is None else f"{text}, {ratio_text(outcome.ratio)}"
