"""A benchmark comparison with known numbers."""

from surfloss.bench.machine import Machine
from surfloss.bench.result import Column, Outcome, Result, Row
from surfloss.bench.timing import Times


def timed(seconds: float, ratio: float | None = None, difference: float = 0) -> Outcome:
    times = Times(seconds, seconds * 0.9, seconds * 1.2, 5)
    return Outcome(difference=difference, times=times, ratio=ratio)


def on_a_cpu() -> Result:
    """Three scan masks for the transform and one patch mask for the loss, with every kind of outcome."""
    scan, patch = [64, 512, 512], [16, 320, 320]
    volume, head_ct = 64 * 512 * 512, [5.0, 0.42, 0.42]
    by_mask = {
        "blobs": (timed(0.014, 1.0), timed(0.221, 0.221 / 0.014), timed(5, 357.1)),
        "random": (timed(0.0544, 1.0), timed(0.30, 0.30 / 0.0544), Outcome(disagrees=0.00123)),
        "noise": (timed(0.02, 1.0), timed(0.16, 8.0, 2e-6), Outcome(failed="MemoryError: no room")),
    }
    names = ("surfloss/cpu", "edt", "scipy")
    rows = [
        Row("edt", scan, head_ct, mask, volume, dict(zip(names, outcomes, strict=True)))
        for mask, outcomes in by_mask.items()
    ]
    losses = {"surfloss/cpu": timed(0.0031, 1.0), "monai": timed(1.1, 354.8)}
    rows.append(Row("loss", patch, [1.0, 1.0, 1.0], "blobs", 16 * 320 * 320, losses))
    return Result(
        date="2026-11-24T18:00:00+00:00",
        machine=Machine("A CPU", 2),
        load_before=0.3,
        threads=1,
        versions={"python": "3.11.7", "surfloss": "0.1.0", "edt": "3.1.2"},
        baseline="surfloss/cpu",
        contestants={
            "surfloss/cpu": Column(["edt", "loss"], ""),
            "edt": Column(["edt"], ""),
            "gone": Column(["edt"], ""),
            "scipy": Column(["edt"], ""),
            "monai": Column(["loss"], ""),
        },
        absent={"gone": "not installed"},
        tolerance=1e-4,
        rows=rows,
    )
