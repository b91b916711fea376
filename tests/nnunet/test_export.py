"""Exported models: plain nnU-Net predicts with them, and what is no model is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from surfloss._files import write_text
from surfloss.nnunet import networks
from surfloss.nnunet.experiments import HAUSDORFF_3D
from surfloss.nnunet.export import export_model, main
from surfloss.nnunet.run_folder import Progress, RunFolder, read_json

# In a process that cannot import surfloss, and lets PyTorch load nothing but tensors and plain values.
PREDICT = """
import sys
sys.modules["surfloss"] = None
import numpy as np, torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
model, image, logits = sys.argv[1:]
predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
predictor.initialize_from_trained_model_folder(model, None)
np.save(logits, predictor.predict_logits_from_preprocessed_data(torch.from_numpy(np.load(image))).numpy())
"""


@pytest.fixture
def model(preprocessed: RunFolder, progress: Progress) -> Path:
    """nnU-Net's folder of a model that was trained for an epoch."""
    networks.train(preprocessed, progress, HAUSDORFF_3D, 0)
    [folder] = (preprocessed.results / preprocessed.dataset_name).iterdir()
    assert folder.name == "nnUNetTrainerDA5Hausdorff__nnUNetPlans__3d_fullres"
    return folder


def test_nnunet_without_surfloss_predicts_the_same(
    preprocessed: RunFolder, model: Path, tmp_path: Path
) -> None:
    image, logits = tmp_path / "image.npy", tmp_path / "logits.npy"
    np.save(image, np.random.default_rng(0).random((1, 8, 20, 16), np.float32))
    expected = networks._predictor(preprocessed, HAUSDORFF_3D, [0])
    main([str(model), str(tmp_path / "deep" / "exported")])
    subprocess.run(
        [sys.executable, "-c", PREDICT, tmp_path / "deep" / "exported", image, logits],
        env=os.environ | {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"},
        check=True,
    )
    ours = expected.predict_logits_from_preprocessed_data(torch.from_numpy(np.load(image)))
    np.testing.assert_allclose(np.load(logits), ours, rtol=1e-3, atol=1e-3)  # half precision, other threads
    assert sorted(path.name for path in tmp_path.joinpath("deep").iterdir()) == ["exported"]


def test_the_copy_holds_what_a_prediction_needs(model: Path, tmp_path: Path) -> None:
    assert export_model(model, tmp_path / "out", "checkpoint_best.pth") == ["fold_0"]
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert files == ["dataset.json", "fold_0/checkpoint_best.pth", "plans.json"]
    checkpoint = torch.load(tmp_path / "out" / files[1], weights_only=True)
    assert checkpoint["trainer_name"] == "nnUNetTrainer"
    assert checkpoint["init_args"] == {"configuration": "3d_fullres", "fold": 0}
    assert checkpoint["inference_allowed_mirroring_axes"] == (0, 1, 2)


def test_what_cannot_be_exported_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model: got .*fold_0 without plans\.json and dataset\.json"):
        export_model(model / "fold_0", tmp_path / "out")
    with pytest.raises(ValueError, match=r"where no fold has checkpoint_latest\.pth"):
        export_model(model, tmp_path / "out", "checkpoint_latest.pth")
    with pytest.raises(ValueError, match=r"checkpoint: got '\.\./fold_0/a\.pth', wanted the name of a file"):
        export_model(model, tmp_path / "out", "../fold_0/a.pth")
    with pytest.raises(ValueError, match=r"out: got .*, which exists, wanted a new folder"):
        export_model(model, tmp_path)
    plans = read_json(model / "plans.json")
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"][0] = 5
    write_text(model / "plans.json", json.dumps(plans))
    with pytest.raises(ValueError, match=r"size mismatch.*, wanted the network that nnU-Net builds"):
        export_model(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "model: got" in capsys.readouterr().err
