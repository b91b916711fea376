"""`make gpu`: run all tests and measurements on a GPU in less than nine minutes.

Each part is a separate process with a time limit. If a part fails, hangs or crashes the driver, it is
reported and the remaining parts still run. One JSON file is rewritten after each part. This script needs only
Python and the dependencies of the package; the parts may need more (docs/gpu.md).
"""

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
BUILD = ROOT / "build" / "gpu"
UNFINISHED = "unfinished"
_LEAST_S = 5  # do not start a part with less time left
_TAIL = 15  # last lines of output kept in the record of a part that did not succeed

Found = dict[str, Any]


def read_json(path: Path) -> Found:
    found: Found = json.loads(path.read_text(encoding="utf-8"))
    return found


def read_tests(path: Path) -> Found:
    """Summarize the events of tests/gpu/conftest.py: counts, reasons, and tests that did not end."""
    outcomes: dict[str, dict[str, str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        outcomes[event.pop("test")] = event
    skipped: dict[str, int] = {}
    for event in outcomes.values():
        if event["outcome"] == "skipped":
            skipped[event["reason"]] = skipped.get(event["reason"], 0) + 1
    return {
        "passed": sum(event["outcome"] == "passed" for event in outcomes.values()),
        "skipped": skipped,
        "failed": {test: e["reason"] for test, e in outcomes.items() if e["outcome"] == "failed"},
        UNFINISHED: [test for test, event in outcomes.items() if event["outcome"] == "started"],
    }


@dataclass(frozen=True)
class Part:
    """One process.

    Attributes:
        command: the command. It writes its findings to the file in the environment variable `PART_FINDINGS`.
        limit_s: time limit in seconds.
        read: reads that file, which may exist after a failure too, into a dictionary.
        at_top: whether the findings go to the top level of the result instead of the part's record.
        skip: the reason for not running the part, or None.
        environment: variables added to the environment.
    """

    name: str
    command: tuple[str, ...]
    limit_s: float
    read: Callable[[Path], Found] = read_json
    at_top: bool = False
    skip: str | None = None
    environment: tuple[tuple[str, str], ...] = ()


Group: TypeAlias = tuple[Part, ...]
"""Parts that run in parallel. A part that measures time runs alone."""


def conduct(
    groups: Iterable[Group], result: Found, write: Callable[[Found], None], deadline: float, folder: Path
) -> None:
    """Run the groups in order until `deadline` (of `time.monotonic`), and `write` the result after each part.

    The logs go to `folder`. `groups` is consumed lazily, so a group may depend on the result so far.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for group in groups:
        left_s = deadline - time.monotonic()
        skipped = {
            part.name: part.skip or (None if left_s >= _LEAST_S else "no time was left") for part in group
        }
        with ThreadPoolExecutor(max(1, len(group))) as threads:
            running = {
                part.name: threads.submit(_run, part, min(part.limit_s, left_s), folder)
                for part in group
                if not skipped[part.name]
            }
        for part in group:
            record, found = {"state": "skipped", "reason": skipped[part.name]}, {}
            if part.name in running:
                record, found = running[part.name].result()
            if part.at_top:
                result |= found
            else:
                record |= found
            result["parts"][part.name] = record
            write(result)
            print(_line(part.name, record), flush=True)


def _run(part: Part, limit_s: float, folder: Path) -> tuple[Found, Found]:
    """Run one part; return its record and its findings."""
    stem = "".join(letter if letter.isalnum() else "-" for letter in part.name)
    log, findings = folder / f"{stem}.log", folder / f"{stem}.json"
    findings.unlink(missing_ok=True)
    environment = os.environ | dict(part.environment) | {"PART_FINDINGS": str(findings)}
    start = time.monotonic()
    record: Found = {"state": "done"}
    with log.open("wb") as output:
        try:
            # A new session, so that its children can be killed with it.
            process = subprocess.Popen(
                part.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            return {"state": "failed", "reason": str(error), "seconds": 0.0, "output": []}, {}
        try:
            code = process.wait(limit_s)
            if code:
                how = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
                record = {"state": "failed", "reason": how}
        except subprocess.TimeoutExpired:
            record = {"state": "stopped", "reason": f"it took more than {limit_s:.0f} s"}
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):  # a hanging driver can block even a killed process
                process.wait(10)
    record["seconds"] = round(time.monotonic() - start, 1)
    if record["state"] != "done":
        record["output"] = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
    try:
        found = part.read(findings) if findings.exists() else {}
    except (ValueError, KeyError) as error:
        found = {"findings": f"could not be read: {error!r}"}
    return record, found


def _line(name: str, record: Found) -> str:
    line = f"{name}: {record['state']}"
    line += f" after {record['seconds']} s" if "seconds" in record else ""
    line += f" ({record['reason']})" if "reason" in record else ""
    if "passed" in record:
        line += f"; {record['passed']} passed, {len(record['failed'])} failed"
        line += f", {sum(record['skipped'].values())} skipped"
        line += "".join(f"\n  failed: {test}: {why}" for test, why in record["failed"].items())
        line += "".join(f"\n  did not end: {test}" for test in record[UNFINISHED])
    told = record.get("failed") or record.get(UNFINISHED)
    if record["state"] in ("failed", "stopped") and not told:
        line += "".join(f"\n  | {text}" for text in record["output"][-5:])
    return line


# Errors after which the test's process, or its context on the device, is unusable.
_FATAL = (
    "illegal memory access",
    "ILLEGAL_ADDRESS",
    "misaligned address",
    "MISALIGNED",
    "launch failure",
    "LAUNCH_FAILED",
    "crashed while running",
)


def _is_sound(record: Found) -> bool:
    """Whether a backend's tests left process and device intact, so that it can join the comparison."""
    reasons = record.get("failed", {}).values()
    fatal = record.get(UNFINISHED) or any(text in reason for text in _FATAL for reason in reasons)
    return record["state"] != "failed" or not fatal


def plan(result: Found, device: str, tiny: bool, out: Callable[[], Path]) -> Iterator[Group]:
    """Yield the parts of a full run. Later parts read from `result` what earlier parts found."""
    script = (sys.executable, "-m")
    options = ("--device", device, *(("--tiny",) if tiny else ()))
    yield (Part("machine", (*script, "benchmarks.measure", "machine", *options), 60, at_top=True),)
    no_device = result.get("no_device")
    library = result.get("backends", {}).get("cpu", "unknown")
    yield (_build(no_device or ("it is there already" if library is None else None)),)
    backends = [name for name, reason in result.get("gpu_backends", {}).items() if reason is None] or [None]

    def tests(stem: str, limit_s: float, backend: str | None, prefix: tuple[str, ...] = ()) -> Part:
        command = (*script, "pytest", f"tests/gpu/test_{stem}.py", "-o", "addopts=", "--tb=short", "-q")
        # Skip the conftest.py of tests/, which needs more packages than these tests.
        command += ("--import-mode=importlib", "--confcutdir=tests/gpu", "-p", "no:cacheprovider")
        command += ("-k", "few") if tiny else ()
        # Most of the time is spent on compiling kernels for many shapes, which parallelizes over processes.
        if stem in ("exact", "hausdorff", "losses") and importlib.util.find_spec("xdist"):
            command += ("-n", str(min(6, os.cpu_count() or 1)))
        name = " ".join(
            filter(None, (Path(prefix[0]).name if prefix else "tests", *prefix[2:3], stem, backend))
        )
        environment = {"GPU_TEST_DEVICE": device} | ({"GPU_TEST_BACKEND": backend} if backend else {})
        if prefix:  # allocate each tensor separately, so that its bounds are checked
            environment["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"
        return Part(
            name, (*prefix, *command), limit_s, read_tests, False, no_device, tuple(environment.items())
        )

    yield tuple(tests("exact", 120, backend) for backend in backends)
    # Exclude a backend that crashed its process, since it would end the comparison; a slow one is included.
    records = {b: result["parts"].get(f"tests exact {b}", {"state": "done"}) for b in backends if b}
    sound = [backend for backend, record in records.items() if _is_sound(record)]
    named = ("--backends", ",".join(sound)) if sound else ()
    measure = (*script, "benchmarks.measure", "compare", *options, *named)
    yield (Part("compare", measure, 180, at_top=True, skip=no_device),)
    step = (*script, "benchmarks.training_step", *options)
    yield (Part("training step", step, 90, at_top=True, skip=no_device),)
    drawn = "matplotlib is not installed" if importlib.util.find_spec("matplotlib") is None else None
    picture = (*script, "benchmarks.measure", "plot", "--result", str(out().resolve()))
    yield (Part("plot", picture, 30, skip=no_device or drawn),)
    limits = {"hausdorff": 60, "losses": 60, "torch": 90}
    yield tuple(tests(stem, limit_s, backend) for stem, limit_s in limits.items() for backend in backends)
    yield (tests("errors", 40, None),)
    sanitizer = shutil.which("compute-sanitizer", path=f"{os.environ.get('PATH', '')}:/usr/local/cuda/bin")
    for tool in ("memcheck", "racecheck"):
        if sanitizer is None or device == "cpu":
            why = "no GPU is tested" if device == "cpu" else "compute-sanitizer is not installed"
            yield (Part(f"compute-sanitizer {tool}", (), 0, skip=no_device or why),)
            continue
        checked = (
            sanitizer,
            "--tool",
            tool,
            "--error-exitcode",
            "9",
            "--target-processes",
            "application-only",
            "--report-api-errors",
            "no",  # cuda-bindings asks the driver for functions that it may lack
        )
        yield tuple(tests("short", 60, backend, checked) for backend in backends)


def _build(skip: str | None) -> Part:
    """Build the CPU library, the reference for large volumes; without it they are omitted."""
    if skip is None and shutil.which("cmake") is None:
        skip = "cmake is not installed"
    folder = shlex.quote(str(BUILD / "cpu"))
    steps = (
        f"cmake -S . -B {folder} -DCMAKE_BUILD_TYPE=Release",
        f"cmake --build {folder} --parallel",
        f"cmake --install {folder} --prefix src",
    )
    return Part("build of the CPU library", ("sh", "-c", " && ".join(steps)), 90, skip=skip)


def _install(wheels: Path) -> str:
    """Install the wheels of a folder into build/gpu/wheels; return that folder."""
    target = BUILD / "wheels"
    files = sorted(str(path) for path in wheels.glob("*.whl"))
    if not files:
        raise SystemExit(f"wheels: got {wheels}, wanted a folder with wheels")
    # Without dependencies, since the machine's PyTorch is to be measured.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--upgrade"]
    subprocess.run([*pip, "--find-links", str(wheels), "--target", str(target), *files], check=True)
    return str(target)


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if all parts succeeded or were skipped, 1 if one failed, 2 if there is no device."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a trial without a GPU"
    )
    parser.add_argument(
        "--out", type=Path, help="a file or a folder; default: results/gpu-DEVICE.json, or build/gpu"
    )
    parser.add_argument("--minutes", type=float, default=8.75, help="time limit for all parts together")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install into build/gpu/wheels")
    parser.add_argument("--tiny", action="store_true", help="small volumes and few tests")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="run only parts whose names begin so, and machine"
    )
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * options.minutes
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    if options.wheels is not None:
        paths.insert(1, _install(options.wheels))
    os.environ |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}
    sys.path[1:1] = filter(None, paths)
    from surfloss._files import write_text

    result: Found = {"format": 1, "tiny": options.tiny, "parts": {}}

    def out() -> Path:
        if options.out is not None and not options.out.is_dir():
            return Path(options.out)
        published = not options.tiny and options.only == [""]
        folder = options.out or (HERE / "results" if published else BUILD)
        return Path(folder) / f"{result.get('slug', 'gpu-unknown')}.json"

    def write(result: Found) -> None:
        if "no_device" not in result or options.out is not None:
            write_text(out(), json.dumps(result, indent=1) + "\n")

    parts = plan(result, options.device, options.tiny, out)
    wanted = ("machine", *options.only)
    chosen = (tuple(part for part in group if part.name.startswith(wanted)) for group in parts)
    conduct(chosen, result, write, deadline, BUILD / "logs")
    if "no_device" in result:
        return 2
    print(f"Written to {out()}")
    return int(any(part["state"] in ("failed", "stopped") for part in result["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
