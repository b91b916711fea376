"""The folder of a reproduction: where things lie, and which jobs are finished."""

import hashlib
import json
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from surfloss._check import fail, whole
from surfloss._files import UNFINISHED, write_text
from surfloss.nnunet.convert import Case, split_cases
from surfloss.nnunet.presets import Model, Preset

_LOCK = "lock"


@dataclass
class Record:
    """What is known of a job, in `state/`: written at its start, after each step and at its end."""

    job: str
    state: str = "running"  # then "finished" or "failed"; a killed job stays "running"
    steps: int = 0  # as many as the job has
    resumed_at: int = 0  # how many of them an earlier attempt had done
    done: int = 0
    seconds: float = 0.0  # since the last start
    device: str = "cpu"
    error: str | None = None
    refused: bool = False  # the error lies in the input: another attempt would end the same way


class Run:
    """One experiment in one folder.

    A job is finished when its record says so; that is written last and at once, so whatever a killed job left
    behind is not trusted but done again or continued.
    """

    dataset_name = "Dataset001_Hemorrhage"
    dataset_id = 1

    def __init__(
        self,
        folder: Path,
        preset: Preset,
        data: Path | None = None,
        device: str = "cpu",
        gpus_per_training: int = 1,
        leave_out: Sequence[str] = (),
    ) -> None:
        """The run in `folder`, begun or not; nothing is written.

        Args:
            preset: the size of the experiment.
            data: a folder as `convert.split_cases` reads it; None for the preset's phantom.
            device: where networks run, "cpu" or "cuda".
            gpus_per_training: how many GPUs share the batch of a training.
            leave_out: names of cases of `data` that shall not count.

        Raises:
            ValueError: if the folder holds a run with other settings, or an argument is wrong.
        """
        if device not in ("cpu", "cuda"):
            fail("device", repr(device), "cpu or cuda")
        if whole("gpus_per_training", gpus_per_training, 1) > 1 and device == "cpu":
            fail("gpus_per_training", gpus_per_training, "1 on a CPU")
        self.folder = folder.resolve()
        self.preset = preset
        self.data = data.resolve() if data else None
        self.device = device
        self.gpus_per_training = gpus_per_training
        self.leave_out = sorted(leave_out)
        if self._settings_file.exists():
            self._check_folder()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder for this process, which runs jobs in it; a killed process holds nothing.

        Raises:
            ValueError: if another process holds the folder, or it holds other files, or the data set is
                missing or incomplete.
        """
        from filelock import FileLock, Timeout

        if self.data is not None:
            self.split_cases(self.data)
        elif self.preset.phantom is None:
            fail("data", "no folder", f"the data set's folder: preset {self.preset.name!r} has no phantom")
        self._check_folder()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(self.folder / _LOCK).acquire(timeout=0)
        except Timeout:
            got = f"{self.folder}, in which another process runs jobs"
            fail("out", got, "a folder of its own, or patience")
        with lock:
            self._check_folder()
            if not self._settings_file.exists():
                write_text(self._settings_file, json.dumps(self._settings(), indent=2))
            yield

    def split_cases(self, data: Path) -> tuple[list[Case], list[Case]]:
        """Training and validation cases of a data set, as `convert.split_cases` finds them."""
        return split_cases(data, self.preset.validation_cases, self.leave_out)

    @property
    def raw(self) -> Path:
        return self.folder / "nnunet" / "raw" / self.dataset_name

    @property
    def preprocessed(self) -> Path:
        return self.folder / "nnunet" / "preprocessed" / self.dataset_name

    @property
    def results(self) -> Path:
        return self.folder / "nnunet" / "results"

    @property
    def plans(self) -> Path:
        return self.preprocessed / "nnUNetPlans.json"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    def evaluated(self) -> list[str]:
        """Names of the predictions of the validation cases, in the tables' order."""
        return [model.name for model in self.preset.models] + ["ensemble"] * bool(self.preset.ensemble)

    def predictions(self, name: str) -> Path:
        """Where a model's (or the ensemble's) predictions of the validation cases lie."""
        return self.folder / "predictions" / name

    def metrics(self, name: str) -> Path:
        return self.folder / "metrics" / f"{name}.json"

    def training_log(self, model: Model, fold: int) -> Path:
        return self.folder / "training" / f"{model.name}_fold{fold}.json"

    def environment(self) -> dict[str, str]:
        """What nnU-Net reads from the environment."""
        base = self.folder / "nnunet"
        variables = {f"nnUNet_{part}": str(base / part) for part in ("raw", "preprocessed", "results")}
        return variables | {"nnUNet_def_n_proc": str(processors())}

    def log(self, job: str) -> Path:
        """Where the prints and errors of a job are."""
        return self.folder / "logs" / f"{job.replace('/', '_')}.log"

    def record(self, job: str) -> Record | None:
        """What is known of a job; None before its first start."""
        try:
            return Record(**json.loads(self._record_file(job).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def finished(self, job: str) -> bool:
        record = self.record(job)
        return record is not None and record.state == "finished"

    def forget(self, job: str) -> None:
        """Make a job one that was never started."""
        self._record_file(job).unlink(missing_ok=True)

    def seconds(self) -> dict[str, float]:
        """How long each finished job took, from its last start, in the order in which they ended."""
        paths = (self.folder / "state").rglob("*.json")
        written = (path for path in paths if not path.parent.name.startswith(UNFINISHED))
        ordered = sorted(written, key=lambda path: path.stat().st_mtime)
        records = [Record(**read_json(path)) for path in ordered]
        return {record.job: record.seconds for record in records if record.state == "finished"}

    @contextmanager
    def job(self, name: str) -> Iterator["Progress"]:
        """Do a job: its prints and errors go to its log; it is finished if no error leaves the block."""
        self.log(name).parent.mkdir(parents=True, exist_ok=True)
        with (
            self.log(name).open("a", encoding="utf-8", buffering=1) as log,
            redirect_stdout(log),
            redirect_stderr(log),
        ):
            progress = Progress(self._record_file(name), Record(name, device=self.device))
            try:
                yield progress
            except BaseException as error:
                traceback.print_exc()
                # With a full disk the driver knows the job as one that ended unfinished.
                with suppress(OSError):
                    progress.end("failed", error)
                raise
            progress.end("finished")

    def _record_file(self, job: str) -> Path:
        return self.folder / "state" / f"{job}.json"

    @property
    def _settings_file(self) -> Path:
        return self.folder / "run.json"

    def _settings(self) -> Any:
        settings = {
            **asdict(self.preset),
            "data": str(self.data) if self.data else None,
            "leave_out": self.leave_out,
        }
        return json.loads(json.dumps(settings))

    def _check_folder(self) -> None:
        if self._settings_file.exists():
            before, now = read_json(self._settings_file), self._settings()
            if changed := sorted(key for key in now if now[key] != before.get(key)):
                got = f"{self.folder}, a run with other settings ({', '.join(changed)})"
                fail("out", got, "a new folder, or the one of the same settings")
        elif self.folder.exists() and any(path.name != _LOCK for path in self.folder.iterdir()):
            fail("out", f"{self.folder}, which holds other files", "a new or empty folder, or one of a run")


class Progress:
    """How a job tells of its steps."""

    def __init__(self, file: Path, record: Record) -> None:
        self._file, self._record, self._start = file, record, time.monotonic()
        self._write()

    @property
    def job(self) -> str:
        return self._record.job

    def begin(self, steps: int, done: int = 0) -> None:
        """Tell how many steps there are, and how many of them an earlier attempt has done."""
        self._record.steps, self._record.resumed_at, self._record.done = steps, done, done
        self._write()

    def advance(self) -> None:
        self._record.done += 1
        self._write()

    def end(self, state: str, error: BaseException | None = None) -> None:
        self._record.state = state
        if error is not None:
            self._record.error = " ".join(traceback.format_exception_only(error)[-1].split())
            self._record.refused = isinstance(error, ValueError)
        self._write()

    def _write(self) -> None:
        self._record.seconds = round(time.monotonic() - self._start, 2)
        write_text(self._file, json.dumps(asdict(self._record)))


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fold_seed(preset: Preset, model: Model, fold: int) -> int:
    """A seed for a training: the same for every loss, so that losses meet the same start and batches."""
    digest = hashlib.sha256(f"{preset.seed}/{model.configuration}/{fold}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
