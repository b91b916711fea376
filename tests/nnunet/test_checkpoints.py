"""Files that a stranger may have made: code in them is refused, and never run."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surfloss.nnunet import networks, stages
from surfloss.nnunet.checkpoints import read_checkpoint
from surfloss.nnunet.experiments import HAUSDORFF_3D
from surfloss.nnunet.export import export_model
from surfloss.nnunet.run_folder import Progress, RunFolder
from tests.nnunet.conftest import MINI, save


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def payload(tmp_path: Path) -> Payload:
    return Payload(tmp_path / "executed")


def test_the_payload_would_run(payload: Payload) -> None:
    pickle.loads(pickle.dumps(payload))
    assert payload.folder.exists()


def resume(run: RunFolder, progress: Progress, results: Path) -> None:
    networks.train(run, progress, HAUSDORFF_3D, 0)


def predict(run: RunFolder, progress: Progress, results: Path) -> None:
    networks._predictor(run, HAUSDORFF_3D, [0])


def export(run: RunFolder, progress: Progress, results: Path) -> None:
    export_model(results, run.folder / "exported")


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0, r", which cannot be read \(.+\), wanted a whole checkpoint"),
        (1, ": objects of other types, wanted tensors, numbers and texts only"),
        (3000, r", which cannot be read \(.+\), wanted a whole checkpoint"),
    ],
)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, size: int, told: str) -> None:
    torch.save({"network_weights": {"w": torch.zeros(5000)}}, tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:size])
    with pytest.raises(ValueError, match=rf"^checkpoint: got .*cut\.pth{told}$"):
        read_checkpoint(tmp_path / "cut.pth")


@pytest.mark.parametrize("use", [resume, predict, export])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_checkpoint_runs_no_code(
    preprocessed: RunFolder,
    progress: Progress,
    payload: Payload,
    use: Callable[[RunFolder, Progress, Path], None],
    legacy: bool,
) -> None:
    name = f"{HAUSDORFF_3D.trainer}__nnUNetPlans__{HAUSDORFF_3D.configuration}"
    results = preprocessed.results / preprocessed.dataset_name / name
    checkpoint = results / "fold_0" / "checkpoint_final.pth"
    checkpoint.parent.mkdir(parents=True)
    hostile = {"network_weights": {}, "surface_loss": payload}
    torch.save(hostile, checkpoint, _use_new_zipfile_serialization=not legacy)
    for file in ("plans.json", "dataset.json"):
        (results / file).write_text("{}")
    message = r"^checkpoint: got .*checkpoint_final.pth: .*mkdir.*, wanted tensors, numbers and texts"
    with pytest.raises(ValueError, match=message) as refused:
        use(preprocessed, progress, results)
    assert len(str(refused.value).splitlines()) == 1
    assert not payload.folder.exists()


def test_what_nnunet_logs_is_read(tmp_path: Path) -> None:
    log = {"losses": [np.float32(0.5), np.float64(0.25)], "dice": [[np.float16(1)]], "epoch": np.int64(3)}
    checkpoint = {"logging": log, "axes": (0, 1), "device": torch.device("cpu"), "weights": torch.ones(2)}
    torch.save(checkpoint, tmp_path / "checkpoint.pth")
    read = read_checkpoint(tmp_path / "checkpoint.pth")
    assert read["logging"] == log
    assert (read["axes"], read["device"]) == ((0, 1), torch.device("cpu"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"checkpoint: got .*list\.pth: list, wanted a dictionary"):
        read_checkpoint(tmp_path / "list.pth")


@pytest.mark.parametrize("hostile", [".pkl", ".npz"])
def test_the_ensemble_runs_no_code(
    preprocessed: RunFolder, progress: Progress, payload: Payload, hostile: str
) -> None:
    probabilities = np.full((2, 4, 6, 5), 0.5, np.float32)
    probabilities[1, 2] = 0.75
    (ensemble,) = MINI.ensembles
    for name in ensemble.members:
        case = preprocessed.predictions(name) / "001"
        save(case.with_suffix(".nii.gz"), np.zeros((5, 6, 4), np.uint8))
        np.savez(case.with_suffix(".npz"), probabilities=probabilities)
    first = preprocessed.predictions(ensemble.members[0]) / "001"
    if hostile == ".pkl":
        first.with_suffix(".pkl").write_bytes(pickle.dumps(payload))
        stages.ensemble(preprocessed, progress, ensemble)
        [written] = preprocessed.predictions("ensemble").glob("*.nii.gz")
        assert written.name == "001.nii.gz"
    else:
        np.savez(first.with_suffix(".npz"), probabilities=np.array([payload], object))
        with pytest.raises(ValueError, match="allow_pickle=False"):
            stages.ensemble(preprocessed, progress, ensemble)
    assert not payload.folder.exists()
