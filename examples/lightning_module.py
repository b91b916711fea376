"""A surface loss in Lightning, whose schedule goes on where a checkpoint was saved.

    python examples/lightning_module.py

It trains on the phantom, and the second half again from a checkpoint. It needs Lightning
(`pip install 'surfloss[examples]'`).
"""

import tempfile
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import surfloss
from surfloss.phantom import make_case
from surfloss.schedules import LinearWarmup

SIZE = (8, 32, 32)
CASES, BATCH, EPOCHS = range(1, 7), 2, 8
STEPS = EPOCHS * len(CASES) // BATCH


class Segmentation(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 8, 3, padding=1), nn.ReLU()]
        self.network = nn.Sequential(*layers, nn.Conv3d(8, 2, 1))
        surface = surfloss.HausdorffDTLoss(softmax=True, to_onehot_y=True)
        # The loss is a submodule, so its schedule and the monitor's factor are in every checkpoint.
        self.loss = surfloss.CompoundLoss(
            {"dice_ce": (surfloss.DiceCELoss(), 1.0), "surface": (surface, LinearWarmup(1e-3, STEPS))}
        )
        self.monitor = surfloss.GradientRatioMonitor(self.loss, limit=0.5, cap=True)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        image, label, spacing = batch
        logits = self.network(image)
        options = {"surface": {"spacing": spacing}}
        if self.global_step % 5 == 0:  # counted by the trainer, a resumed training looks at the same steps
            ratio = self.monitor(logits, label, **options)
            assert ratio is not None
            self.log("gradient ratio", ratio)
        value: Tensor = self.loss(logits, label, **options)
        self.log_dict(self.loss.last_terms)
        self.log("surface weight", self.loss.weights["surface"])
        return value

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        # Not in `on_train_batch_end`: a checkpoint of this step would have been written already.
        super().optimizer_step(*args, **kwargs)
        self.loss.step()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 5e-3)


class Losses(Callback):
    """The loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        self.values.append(outputs["loss"].item())


def load() -> DataLoader[tuple[Tensor, ...]]:
    """Phantoms in [0, 1], their labels, and their spacings in mm."""
    cases = [make_case(SIZE, seed=1, case=number) for number in CASES]
    images = torch.stack([torch.from_numpy(case.image)[None].float().clamp(0, 100) / 100 for case in cases])
    labels = torch.stack([torch.from_numpy(case.label)[None].long() for case in cases])
    spacings = torch.tensor([case.spacing for case in cases])
    return DataLoader(TensorDataset(images, labels, spacings), BATCH)


def train(folder: Path, checkpoint: Path | None = None) -> tuple[list[float], Segmentation]:
    """The loss of every step and the trained module; from the start, or from a checkpoint on."""
    torch.manual_seed(0)
    module, losses = Segmentation(), Losses()
    halfway = ModelCheckpoint(folder, "{step}", every_n_train_steps=STEPS // 2, save_top_k=-1)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=EPOCHS,
        callbacks=[losses, halfway],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(module, load(), ckpt_path=checkpoint)
    return losses.values, module


def main() -> tuple[list[float], list[float], list[dict[str, float]]]:
    """The losses of a training and of its second half resumed, and the weights at the end of both."""
    with tempfile.TemporaryDirectory() as folder:
        whole, module = train(Path(folder))
        resumed, second = train(Path(folder), Path(folder) / f"step={STEPS // 2}.ckpt")
    print("whole:  ", *(f"{value:.3f}" for value in whole[-len(resumed) :]))
    print("resumed:", *(f"{value:.3f}" for value in resumed))
    print("weights:", module.loss.weights, second.loss.weights)
    return whole, resumed, [module.loss.weights, second.loss.weights]


if __name__ == "__main__":
    torch.set_num_threads(1)  # so small a network gains nothing from more
    main()
