"""The folder of a reproduction: where things lie, and which jobs are finished."""

import hashlib
import json
import os
import re
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from surfloss._check import fail, whole
from surfloss._files import UNFINISHED, check_writable, naming, remove_abandoned, write_text
from surfloss.nnunet.experiments import Contender, Ensemble, Experiment, Model, PhantomSettings
from surfloss.nnunet.instance2022 import read_instance
from surfloss.nnunet.manifest import Manifest, describe, differences
from surfloss.nnunet.raw_dataset import read_raw_dataset
from surfloss.nnunet.source import Source

CROSS_VALIDATION = "cross_validation/"
"""What the names of predictions begin with that each fold made of the cases it held out."""
_LOCK = "lock"
_PATIENCE = 10.0  # seconds that the processes of a killed driver have to end


@dataclass
class Record:
    """What is known of a job, in `state/`: written at its start, after each step and at its end."""

    job: str
    state: str = "running"  # then "finished" or "failed"; a killed job stays "running"
    steps: int = 0  # as many as the job has
    resumed_at: int = 0  # how many of them an earlier attempt had done
    done: int = 0
    seconds: float = 0.0  # from the last start to the last step
    error: str | None = None
    refused: bool = False  # the error lies in the input: another attempt would end the same way

    @property
    def seconds_left(self) -> float | None:
        """What the steps that are left will take at the rate of this attempt; None before its first step."""
        done = self.done - self.resumed_at
        return self.seconds / done * (self.steps - self.done) if done and self.state == "running" else None


class RunFolder:
    """One experiment in one folder.

    A job is finished when its record says so; that is written last and at once, so whatever a killed job left
    behind is not trusted but done again or continued.
    """

    dataset_id = 1

    def __init__(
        self,
        folder: Path,
        experiment: Experiment,
        data: Path | None = None,
        device: str = "cpu",
        gpus_per_training: int = 1,
        leave_out: Sequence[str] = (),
    ) -> None:
        """The run in `folder`, begun or not; nothing is written.

        Args:
            experiment: what is trained, and on how much data.
            data: a folder in the experiment's layout; None for the preset's phantom.
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
        _check_name("out", str(self.folder))
        self.experiment = experiment
        self.data = data.resolve() if data else None
        self.device = device
        self.gpus_per_training = gpus_per_training
        self.leave_out = sorted(leave_out)
        self.dataset_name = f"Dataset{self.dataset_id:03}_{self._data_name()}"
        nnunet = self.folder / "nnunet"
        self.source = self.data or self.folder / "phantom"  # the data set
        self.manifest = self.folder / "data.json"  # what the data were when `raw` was begun
        self.raw = nnunet / "raw" / self.dataset_name
        self.preprocessed = nnunet / "preprocessed" / self.dataset_name
        self.plans = self.preprocessed / "nnUNetPlans.json"
        self.results = nnunet / "results"
        self.report = self.folder / "report"
        if self._settings_file.exists():
            self._check_folder()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder for this process, which runs jobs in it, and for the processes of its jobs.

        Raises:
            ValueError: if the folder cannot be written, processes of another driver work in it, or it holds
                other files; or if the data set is missing, incomplete, or not the one that was prepared.
        """
        check_writable(self._settings_file)
        if self.data is not None:
            self.read_source()
        elif self.experiment.phantom is None:
            wanted = f"the data set's folder: preset {self.experiment.name!r} has no phantom"
            fail("data", "no folder", wanted)
        self._check_folder()
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("ab") as lock:
            if not hold(lock, alone=True):
                got = f"{self.folder}, in which another process runs jobs"
                fail("out", got, "a folder of its own, or patience")
            self._wait_for_processes()
            self._check_folder()
            if self._is_prepared() and self.source.is_dir():  # a phantom may have been deleted since
                self.is_made_of(describe(self.read_source()))
            remove_abandoned(self.folder)
            if not self._settings_file.exists():
                write_text(self._settings_file, json.dumps(self._settings(), indent=2))
            yield

    def read_source(self) -> Source:
        """The cases of the data set.

        Raises:
            ValueError: as the reader of its layout; or if a fold would hold out fewer than two cases.
        """
        if self.experiment.layout == "nnunet":
            source = read_raw_dataset(self.source, self.leave_out)
        else:
            source = read_instance(self.source, self.experiment.validation_cases, self.leave_out)
        for case in source.cases:
            _check_name("data", case.name)
        cases, folds = len(source.training), self.experiment.folds
        if self.experiment.layout == "nnunet" and cases < 2 * folds:
            got = f"{folds} for {cases} training cases"
            fail("folds", got, "as many as hold out at least two cases each")
        return source

    @property
    def part(self) -> str:
        """What the names of the predictions begin with on which models are compared."""
        return "" if self.experiment.has_test else CROSS_VALIDATION

    def evaluated(self) -> list[str]:
        """Names of the predictions on which models are compared, in the tables' order."""
        return [self.part + contender.name for contender in self.experiment.contenders]

    def cross_validated(self) -> list[str]:
        """Names of the predictions of held-out cases where models are compared on others."""
        models = self.experiment.models if self.experiment.has_test else ()
        return [CROSS_VALIDATION + model.name for model in models]

    def contender(self, name: str) -> Contender:
        """What made a set of predictions."""
        by_name = {contender.name: contender for contender in self.experiment.contenders}
        return by_name[name.removeprefix(CROSS_VALIDATION)]

    def truth(self, name: str) -> Path:
        """Where the true labels of a set of predictions lie."""
        return self.raw / ("labelsTr" if name.startswith(CROSS_VALIDATION) else "labelsTs")

    def predictions(self, name: str) -> Path:
        """Where a set of predictions lies."""
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
            return _read_record(self._record_file(job))
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
        records = [_read_record(path) for path in ordered]
        return {record.job: record.seconds for record in records if record.state == "finished"}

    def is_made_of(self, data: Manifest) -> bool:
        """Whether `raw` was begun with these data, file by file.

        Raises:
            ValueError: if it was not and `raw` has been used, naming the cases that differ.
        """
        before = read_json(self.manifest) if self.manifest.exists() else {}
        changed = differences(before, data)
        if changed and self._is_prepared():
            got = f"{self.source}, which has changed since the run was prepared ({changed})"
            fail("data", got, "the data as they were, or a new folder as out")
        return not changed

    def _is_prepared(self) -> bool:
        return self.finished("prepare") or self.preprocessed.exists()

    @contextmanager
    def recorded(self, name: str) -> Iterator["Progress"]:
        """Do a job: its prints and errors go to its log; it is finished if no error leaves the block."""
        self.log(name).parent.mkdir(parents=True, exist_ok=True)
        with (
            naming(self.folder),
            self.log(name).open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as log,
            redirect_stdout(log),
            redirect_stderr(log),
        ):
            progress = Progress(self._record_file(name), Record(name))
            try:
                with naming(self.folder):
                    yield progress
            except BaseException as error:
                with suppress(OSError):  # a full disk
                    traceback.print_exc()
                with suppress(OSError):
                    progress.end("failed", error)
                raise
            progress.end("finished")

    def _record_file(self, job: str) -> Path:
        return self.folder / "state" / f"{job}.json"

    @property
    def _settings_file(self) -> Path:
        return self.folder / "run.json"

    def _data_name(self) -> str:
        """The data set's, without the number that nnU-Net and the Decathlon put before it."""
        if self.experiment.follows_paper or self.data is None:
            return "Hemorrhage"
        name = re.sub(r"^(Dataset|Task)\d+_", "", self.data.name)
        return re.sub(r"\W+", "_", name, flags=re.ASCII) or "Data"

    def _settings(self) -> Any:
        settings = {
            **asdict(self.experiment),
            "data": str(self.data) if self.data else None,
            "leave_out": self.leave_out,
        }
        return json.loads(json.dumps(settings))

    def _check_folder(self) -> None:
        if self._settings_file.exists():
            before, now = read_json(self._settings_file), self._settings()
            known = before if isinstance(before, dict) else {}
            if changed := sorted(key for key in now if now[key] != known.get(key)):
                got = f"{self.folder}, a run with other settings ({', '.join(changed)})"
                fail("out", got, "a new folder, or the one of the same settings")
        elif self.folder.exists() and any(
            path.name != _LOCK and not path.name.startswith(UNFINISHED) for path in self.folder.iterdir()
        ):
            fail("out", f"{self.folder}, which holds other files", "a new or empty folder, or one of a run")

    def _wait_for_processes(self) -> None:
        """Wait for the processes that a killed driver's jobs have left to end: see `hold`."""
        deadline = time.monotonic() + _PATIENCE
        for path in (self.folder / "logs").glob("*.log"):
            with path.open("r+b") as log:
                while not hold(log, alone=True):
                    if time.monotonic() >= deadline:
                        got = f"{self.folder}, in which processes of {path.stem} outlive a killed driver"
                        fail("out", got, "a folder of its own, or patience")
                    time.sleep(0.1)


def read_run(folder: Path) -> RunFolder:
    """The run in a folder, as its settings say.

    Raises:
        ValueError: if there is none.
    """
    file = folder / "run.json"
    if not file.is_file():
        fail("beside", f"{folder} without run.json", "the folder of a run")
    settings = read_json(file)
    try:
        data, leave_out = settings.pop("data"), settings.pop("leave_out")
        settings["models"] = tuple(Model(**model) for model in settings["models"])
        members = [ensemble | {"members": tuple(ensemble["members"])} for ensemble in settings["ensembles"]]
        settings["ensembles"] = tuple(Ensemble(**ensemble) for ensemble in members)
        if phantom := settings["phantom"]:
            settings["phantom"] = PhantomSettings(phantom["cases"], tuple(phantom["size"]), phantom["seed"])
        experiment = Experiment(**settings)
    except (AttributeError, KeyError, TypeError) as error:
        fail("beside", f"{file} of another form ({in_one_line(error)})", "a run of this version")
    return RunFolder(folder, experiment, data and Path(data), leave_out=leave_out)


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
            self._record.error = in_one_line(error)
            self._record.refused = isinstance(error, ValueError)
        self._write()

    def _write(self) -> None:
        self._record.seconds = round(time.monotonic() - self._start, 2)
        write_text(self._file, json.dumps(asdict(self._record)))


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fold_seed(experiment: Experiment, model: Model, fold: int) -> int:
    """A seed for a training: the same for every loss, so that losses meet the same start and batches."""
    text = f"{experiment.seed}/{model.configuration}/{fold}" + f"/{model.repeat}" * bool(model.repeat)
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "little")


def _check_name(argument: str, name: str) -> None:
    """Refuse the name of a folder or case that nnU-Net's reader of images, SimpleITK, crashes on."""
    try:
        name.encode()
    except UnicodeEncodeError:
        fail(argument, ascii(name), "a name in UTF-8")


def in_one_line(error: BaseException) -> str:
    return " ".join(traceback.format_exception_only(error)[-1].split())


def hold(file: IO[bytes], alone: bool = False) -> bool:
    """Lock an open file, beside other processes or alone; False where others hold it.

    The lock ends when this process and all that inherit the file have closed it, or have ended.
    """
    import fcntl

    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_json(path: Path) -> Any:
    """Read a file of the run.

    Raises:
        ValueError: if it is damaged, naming the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        fail(str(path), f"no JSON ({error})", "the file as the run wrote it")


def _read_record(path: Path) -> Record:
    values = read_json(path)
    try:
        return Record(**values)
    except TypeError as error:
        fail(str(path), f"no record ({error})", "the record of a job; without it the job is done again")
