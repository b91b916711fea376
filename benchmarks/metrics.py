"""Time the surface metrics beside `surface-distance` and MONAI's HD95, and `surfloss evaluate` on many cases.

Run `python -m benchmarks.metrics` from the repository's root; `--quick` for a first impression. It prints the
results and writes them to `benchmarks/results/metrics-MACHINE.json`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import torch
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage

from benchmarks import checkout
from benchmarks.published import Machine
from surfloss import metrics
from surfloss._files import write_text
from surfloss.bench import machine
from surfloss.bench.timing import Times, race, timed
from tests.metrics import official

SHAPE = (30, 512, 512)
SPACING = (5.0, 0.42, 0.42)
TOLERANCE = 0.42

# Run the command and print the peak resident KiB of its own process or of a worker. VmHWM is read because
# ru_maxrss of the own process would include the memory of its parent at the start.
EVALUATE = """
import atexit, re, resource
from surfloss.cli import app
workers = lambda: resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
own = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
atexit.register(lambda: print(max(own(), workers())))
app()
"""

Mask = npt.NDArray[np.bool_]
Pair = tuple[Mask, Mask]


def ellipsoids(seed: int, count: int = 4) -> Mask:
    """A few ellipsoids, like hemorrhages in a head."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    mask = np.zeros(SHAPE, bool)
    for _ in range(count):
        center, radius = rng.uniform([6, 120, 120], [24, 390, 390]), rng.uniform([1.5, 10, 10], [5, 40, 40])
        place = zip((z, y, x), center, radius, strict=True)
        mask |= sum(((axis - c) / r) ** 2 for axis, c, r in place) < 1
    return mask


def predicted(target: Mask) -> Mask:
    """Return the shifted target with a small false positive."""
    prediction = np.roll(target, (0, 3, 4), (0, 1, 2))
    prediction[10, 60:66, 70:75] = True
    return prediction


def organ() -> Mask:
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return ((z - 15) / 13) ** 2 + ((y - 256) / 200) ** 2 + ((x - 256) / 210) ** 2 < 1


def noise() -> Pair:
    """Thousands of components in every slice, with far more surface than any organ."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(2, *SHAPE)), (0, 1, 2, 2))
    return smooth[0] > 0.1, smooth[1] > 0.1


def pairs() -> dict[str, Pair]:
    lesions, large = ellipsoids(1), organ()
    return {"lesions": (predicted(lesions), lesions), "organ": (predicted(large), large), "noise": noise()}


def ours(prediction: Mask, target: Mask) -> tuple[float, ...]:
    surfaces = metrics.surface_distances(prediction, target, spacing=SPACING)
    values = surfaces.hausdorff(), surfaces.hausdorff(95), surfaces.dice(TOLERANCE)
    return (*values, surfaces.average())


def surface_distance(prediction: Mask, target: Mask) -> tuple[float, ...]:
    surfaces = official.Surfaces(prediction, target, SPACING)
    values = surfaces.hausdorff(100), surfaces.hausdorff(95), surfaces.dice(TOLERANCE)
    return (*values, surfaces.averages()[0])


def monai_hd95(prediction: Mask, target: Mask) -> float:
    """HD95 between edge voxels of equal weight; a different definition, so its value is not compared."""
    batch = (torch.from_numpy(mask)[None, None] for mask in (prediction, target))
    return float(
        compute_hausdorff_distance(*batch, include_background=True, percentile=95, spacing=list(SPACING))
    )


def measure(name: str, pair: Pair, seconds: float) -> dict[str, Any]:
    """Time all contestants on one pair, after checking our values against `surface-distance`."""
    calls: dict[str, Callable[[], Any]] = {
        "surfloss": lambda: ours(*pair),
        "surface-distance": lambda: surface_distance(*pair),
        "monai": lambda: monai_hd95(*pair),
        "surfloss evaluate": lambda: metrics.evaluate(*pair, spacing=SPACING, tolerance=TOLERANCE),
    }
    first = {contestant: timed(call) for contestant, call in calls.items()}
    np.testing.assert_allclose(first["surfloss"][1], first["surface-distance"][1], rtol=1e-12)
    laps = race(calls, {contestant: lap for contestant, (lap, _) in first.items()}, seconds)
    facts = {contestant: asdict(Times.of(lap)) for contestant, lap in laps.items()}
    base = facts["surfloss"]["median_s"]
    for contestant, values in facts.items():
        values["ratio"] = values["median_s"] / base
        print(f"{name:8} {contestant:18} {values['median_s'] * 1e3:9.1f} ms {values['ratio']:7.1f}x")
    return {"results": facts, "hd95_mm": first["surfloss"][1][1], "monai_hd95_mm": first["monai"][1]}


def folders(cases: int, workers: int) -> dict[str, Any]:
    """Time `surfloss evaluate` on `cases` pairs of files, ten of them distinct; find its largest process."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        affine = np.diag([*SPACING[::-1], 1])
        for folder in ("predictions", "targets"):
            (root / folder).mkdir()
        for case in range(cases):
            target = ellipsoids(case) if case < 10 else None
            for folder in ("predictions", "targets"):
                path = root / folder / f"{case:03}.nii.gz"
                if target is None:
                    path.hardlink_to(root / folder / f"{case % 10:03}.nii.gz")
                else:
                    mask = predicted(target) if folder == "predictions" else target
                    nibabel.save(nibabel.Nifti1Image(mask.T.astype(np.uint8), affine), path)
        command = [sys.executable, "-c", EVALUATE, "evaluate", str(root / "predictions")]
        command += [str(root / "targets"), "--workers", str(workers)]
        start = time.perf_counter()
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds = time.perf_counter() - start
    peak = int(output.rsplit(maxsplit=1)[-1]) / 2**20
    print(f"{cases} cases, {workers} workers: {seconds:.1f} s, largest process {peak:.2f} GiB")
    return {"cases": cases, "workers": workers, "seconds": seconds, "largest_process_gib": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # MONAI warns about its own argument
    seconds = 2.0 if options.quick else 20.0
    here, load = Machine.with_facts(), machine.load()
    result = {
        "machine": asdict(here),
        "load": load,
        "versions": machine.versions(["scipy", "monai", "surface-distance", "nibabel"]),
        "commit": checkout.commit(),
        "threads": torch.get_num_threads(),
        "shape": SHAPE,
        "spacing": SPACING,
        "pairs": {name: measure(name, pair, seconds) for name, pair in pairs().items()},
        "folders": folders(20 if options.quick else options.cases, options.workers),
    }
    path = options.json or checkout.RESULTS / f"metrics-{here.slug}.json"
    write_text(path, json.dumps(result, indent=1) + "\n")
    print(f"Written to {path}")


if __name__ == "__main__":
    main()
