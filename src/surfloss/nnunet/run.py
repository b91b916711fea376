"""The folder of a reproduction: where things lie, and which jobs are finished."""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from surfloss._check import fail
from surfloss._files import write_text
from surfloss.losses import HausdorffDTLoss
from surfloss.nnunet.convert import find_cases
from surfloss.nnunet.presets import Model, Preset


class Run:
    """One experiment in one folder.

    A job is finished when its marker in `state/` is; the marker is written last and at once, so whatever a
    killed job left behind is not trusted but done again or continued.
    """

    dataset_name = "Dataset001_Hemorrhage"
    dataset_id = 1

    def __init__(self, folder: Path, preset: Preset, data: Path | None = None, device: str = "cpu") -> None:
        """Open or start the run in `folder`.

        Args:
            preset: the size of the experiment.
            data: a folder with the challenge's `data/` and `label/`; None for the preset's phantom.
            device: where networks run, "cpu" or "cuda".

        Raises:
            ValueError: if the folder holds other files or a run with other settings, the data are not laid
                out as they should be, or there is no such device.
            RuntimeError: if the losses cannot run on the device.
        """
        _check_device(device)
        if data is None and preset.phantom is None:
            fail("data", "no folder", f"the data set's folder: preset {preset.name!r} has no phantom")
        if data is not None:
            find_cases(data)
        self.folder = folder.resolve()
        self.preset = preset
        self.data = data.resolve() if data else None
        self.device = device
        settings = json.loads(json.dumps({**asdict(preset), "data": str(self.data) if data else None}))
        recorded = self.folder / "run.json"
        if recorded.exists():
            before = json.loads(recorded.read_text())
            if changed := sorted(key for key in settings if settings[key] != before.get(key)):
                got = f"{folder}, a run with other settings ({', '.join(changed)})"
                fail("out", got, "a new folder, or the one of the same settings")
        elif self.folder.exists() and any(self.folder.iterdir()):
            fail("out", f"{folder}, which holds other files", "a new or empty folder, or one of a run")
        else:
            write_text(recorded, json.dumps(settings, indent=2))

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
        return variables | {"nnUNet_def_n_proc": str(os.cpu_count() or 1)}

    def finished(self, job: str) -> bool:
        return self._marker(job).exists()

    def seconds(self) -> dict[str, float]:
        """How long each finished job took, from its last start."""
        markers = sorted((self.folder / "state").rglob("*.json"), key=lambda path: path.stat().st_mtime)
        records = [json.loads(path.read_text()) for path in markers]
        return {record["job"]: record["seconds"] for record in records}

    @contextmanager
    def job(self, name: str) -> Iterator[None]:
        """Do a job: its prints go to `logs/`, and it is marked finished if no error leaves the block."""
        log = self.folder / "logs" / f"{name.replace('/', '_')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        with log.open("a", encoding="utf-8", buffering=1) as file, redirect_stdout(file):
            yield
        sys.stdout.flush()
        record = {"job": name, "seconds": round(time.monotonic() - start, 2)}
        write_text(self._marker(name), json.dumps(record))

    def _marker(self, job: str) -> Path:
        return self.folder / "state" / f"{job}.json"


def _check_device(device: str) -> None:
    """Find out before hours of work whether networks and distance transforms run there."""
    if device not in ("cpu", "cuda"):
        fail("device", repr(device), "cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        fail("device", "cuda", "a GPU that PyTorch can use, or cpu")
    nothing = torch.zeros(1, 1, 1, 1, device=device)
    HausdorffDTLoss(include_background=True)(nothing, nothing)


def fold_seed(preset: Preset, model: Model, fold: int) -> int:
    """A seed for a training: the same for every loss, so that losses meet the same start and batches."""
    digest = hashlib.sha256(f"{preset.seed}/{model.configuration}/{fold}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
