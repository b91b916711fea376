"""One mixin that gives nnU-Net's trainers a compound loss, and the named trainers.

The loss is L = Dice + CE + weight(t) * Surface (Sanner & Mukhopadhyay, "Perimeter-based Loss Evaluation for
ICH Segmentation on NCCT"), under nnU-Net's own deep supervision. The schedule steps once a training iteration
and travels in the checkpoint; each epoch logs the surface term, its weight and the gradient ratio.
"""

import math
import random
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import nnUNetTrainerDA5

from surfloss import presets
from surfloss._check import fail, whole
from surfloss._env import requested_tolerance
from surfloss._files import written_whole
from surfloss.losses import CompoundLoss, DiceCELoss, GradientRatioMonitor
from surfloss.losses.schedule import Schedule
from surfloss.nnunet.checkpoints import read_checkpoint
from surfloss.nnunet.validation import add_surface_metrics

_LOGGED = ("surface_terms", "surface_weights", "gradient_ratios")
_IGNORED = -1  # in targets of regions, whose other values are 0 and 1


class SurfaceLossMixin(nnUNetTrainer):  # type: ignore[misc]
    """Replaces the loss of the trainer that it is mixed into. Without a surface term it is Dice + CE.

    Every epoch seeds the generators of Python, NumPy and PyTorch from `seed`, which is drawn at random and
    kept in the checkpoint. So a training that was interrupted meets the batches that it would have met,
    unless worker processes make them (`nnUNet_n_proc_DA` above 0): nnU-Net leaves those to chance.
    """

    gradient_ratio_every = 10  # iterations of an epoch between two looks at the gradient ratio
    epoch_callback: Callable[[int], None] | None = None  # told the number of finished epochs
    surface_term: Callable[..., tuple[torch.nn.Module, Schedule]] | None = None
    """A function as those of `surfloss.presets`: the surface term and its weight over a training.

    Takes the number of iterations and, as keyword arguments, how the loss reads logits and labels.
    """

    # nnU-Net reads the names of these parameters from the signature and saves them in the checkpoint.
    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        for key in _LOGGED:
            self.logger.local_logger.my_fantastic_logging[key] = []
        self.seed = secrets.randbits(32)
        self.surface_metrics_tolerance = requested_tolerance()  # in mm; None for no surface metrics
        self._iteration = 0  # of the epoch
        self._full_resolution: tuple[Any, ...] | None = None

    def _build_loss(self) -> torch.nn.Module:
        regions = self.label_manager.has_regions
        ignore = self.label_manager.ignore_label
        marked = regions and ignore is not None  # the target's last channel tells what is ignored
        if marked:
            ignore = _IGNORED
        reading: dict[str, Any] = {
            "sigmoid": regions,
            "softmax": not regions,
            "include_background": regions,
            "ignore_index": ignore,
        }
        dice_ce = DiceCELoss(**reading, batch=self.configuration_manager.batch_dice, ddp=self.is_ddp)
        terms: dict[str, Any] = {"dice_ce": (dice_ce, 1.0)}
        if self.surface_term is not None:
            iterations = self.num_epochs * self.num_iterations_per_epoch
            terms["surface"] = self.surface_term(iterations, to_onehot_y=not regions, **reading)
        self.compound = CompoundLoss(terms)
        self.compound.register_forward_hook(self._remember_full_resolution)
        self.monitor = GradientRatioMonitor(self.compound, term="surface") if "surface" in terms else None
        loss: torch.nn.Module = _IgnoreChannel(self.compound) if marked else self.compound
        if not self.enable_deep_supervision:
            return loss
        # nnU-Net's weights: halved with each resolution, the lowest left out unless it is the only one.
        weights = 0.5 ** np.arange(len(self._get_deep_supervision_scales()))
        if len(weights) > 1:
            weights[-1] = 1e-6 if self.is_ddp and not self._do_i_compile() else 0
        return DeepSupervisionWrapper(loss, weights / weights.sum())  # type: ignore[no-any-return]

    def _remember_full_resolution(self, _: Any, inputs: tuple[Any, ...], __: Any) -> None:
        # Deep supervision calls the loss once a resolution, the full one first.
        if self._full_resolution is None:
            self._full_resolution = (*inputs[:2], self.compound.last_terms)

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> Any:
        """nnU-Net's augmentation, in which no measurement of time decides how an image is blurred."""
        transforms = super().get_training_transforms(*args, **kwargs)
        for transform in transforms.transforms:
            blur = getattr(transform, "transform", transform)
            if hasattr(blur, "benchmark"):
                blur.benchmark = False
        return transforms

    def on_train_start(self) -> None:
        self._seed_generators()  # for the worker processes, which copy their state
        super().on_train_start()

    def on_epoch_start(self) -> None:
        self._seed_generators()
        self._iteration = 0
        super().on_epoch_start()

    def _seed_generators(self) -> None:
        """What nnU-Net draws from, for the current epoch."""
        sequence = np.random.SeedSequence((self.seed, self.local_rank, self.current_epoch))
        for set_seed in (random.seed, np.random.seed, torch.manual_seed):
            set_seed(int(sequence.generate_state(1)[0]))

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One step of nnU-Net's, then a step of the schedule; adds what the epoch's log needs."""
        self._full_resolution = None
        outputs: dict[str, Any] = super().train_step(batch)
        assert self._full_resolution is not None
        logits, target, terms = self._full_resolution
        if self.monitor is not None:
            due = self._iteration % self.gradient_ratio_every == 0
            outputs["surface_terms"] = float(terms["surface"])
            outputs["surface_weights"] = self.compound.weights["surface"]
            outputs["gradient_ratios"] = self.monitor(logits, target) if due else math.nan
        self._iteration += 1
        self.compound.step()
        return outputs

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        super().on_train_epoch_end(train_outputs)
        for key in _LOGGED:
            # The last weight, the means of the others; iterations that took no ratio hold NaN.
            values = [outputs.get(key, math.nan) for outputs in train_outputs]
            known = [value for value in values if not math.isnan(value)] or [math.nan]
            value = known[-1] if key == "surface_weights" else float(np.mean(known))
            self.logger.log(key, value, self.current_epoch)
            if not math.isnan(value):
                self.print_to_log_file(key, f"{value:.5g}")

    def on_epoch_end(self) -> None:
        super().on_epoch_end()
        if self.epoch_callback is not None:
            self.epoch_callback(self.current_epoch)

    def save_checkpoint(self, filename: str) -> None:
        """Write nnU-Net's checkpoint with the state of the schedules, whole or not at all."""
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        with written_whole(Path(filename)) as unfinished:
            try:
                super().save_checkpoint(str(unfinished))
                state = {"surface_loss": self.compound.state_dict(), "seed": self.seed}
                torch.save(read_checkpoint(unfinished) | state, unfinished)
            except RuntimeError as error:  # PyTorch's form of a full disk
                raise OSError(f"{filename} could not be written: {error}") from error

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        """Restore nnU-Net's state and ours from a file (nnU-Net's own form for a dict fails).

        A training of more epochs than the checkpoint's goes on too: see `Schedule.load_state_dict`.

        Raises:
            ValueError: if the checkpoint was written by a trainer without a compound loss, or with another
                surface term, or holds code that would be run.
        """
        # nnU-Net loads the file once more, with code and all; of that this leaves nothing.
        checkpoint = read_checkpoint(filename_or_checkpoint)
        if "surface_loss" not in checkpoint:
            fail("checkpoint", f"one of {checkpoint.get('trainer_name')}", f"one of {type(self).__name__}")
        super().load_checkpoint(filename_or_checkpoint)
        self.compound.load_state_dict(checkpoint["surface_loss"])
        self.seed = whole("seed", checkpoint.get("seed"), 0)

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """nnU-Net's validation; with a tolerance, surface metrics too."""
        super().perform_actual_validation(save_probabilities)
        if self.surface_metrics_tolerance is None or self.local_rank != 0:
            return
        means = add_surface_metrics(
            Path(self.output_folder) / "validation" / "summary.json",
            self.plans_manager.image_reader_writer_class(),
            self.label_manager.ignore_label,
            self.surface_metrics_tolerance,
        )
        for name, mean in means.items():
            self.print_to_log_file(f"Mean Validation {name}: ", mean, also_print_to_console=True)


class _IgnoreChannel(torch.nn.Module):
    """A loss of regions for nnU-Net's targets with an ignore label, which is their last channel."""

    def __init__(self, loss: torch.nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, input: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
        regions, ignored = target[:, :-1].to(torch.int8), target[:, -1:] != 0
        loss: torch.Tensor = self.loss(input, regions.masked_fill(ignored, _IGNORED), **options)
        return loss


class nnUNetTrainerDiceCE(SurfaceLossMixin):
    """Dice + CE, standard augmentation: nnU-Net's default, as the others' baseline."""


class nnUNetTrainerDiceCEAgain(nnUNetTrainerDiceCE):
    """Dice + CE under a second name: a comparison trains it with other seeds, to show what chance does."""


class nnUNetTrainerHausdorff(SurfaceLossMixin):
    """Dice + CE + Hausdorff with the paper's weight, warmed up; standard augmentation."""

    surface_term = staticmethod(presets.hausdorff)


class nnUNetTrainerHausdorffBounded(SurfaceLossMixin):
    """Dice + CE + Hausdorff with bounded distances, warmed up; standard augmentation."""

    surface_term = staticmethod(presets.hausdorff_bounded)


class nnUNetTrainerHausdorffPaper(SurfaceLossMixin):
    """Dice + CE + Hausdorff as in the paper, where it collapsed; standard augmentation."""

    surface_term = staticmethod(presets.hausdorff_paper)


class nnUNetTrainerContour(SurfaceLossMixin):
    """Dice + CE + the paper's contour loss, standard augmentation."""

    surface_term = staticmethod(presets.contour)


class nnUNetTrainerDA5DiceCE(nnUNetTrainerDiceCE, nnUNetTrainerDA5):  # type: ignore[misc]
    """`nnUNetTrainerDiceCE` with DA5 augmentation."""


class nnUNetTrainerDA5Hausdorff(nnUNetTrainerHausdorff, nnUNetTrainerDA5):  # type: ignore[misc]
    """`nnUNetTrainerHausdorff` with DA5 augmentation."""


class nnUNetTrainerDA5HausdorffBounded(nnUNetTrainerHausdorffBounded, nnUNetTrainerDA5):  # type: ignore[misc]
    """`nnUNetTrainerHausdorffBounded` with DA5 augmentation."""


class nnUNetTrainerDA5HausdorffPaper(nnUNetTrainerHausdorffPaper, nnUNetTrainerDA5):  # type: ignore[misc]
    """`nnUNetTrainerHausdorffPaper` with DA5 augmentation."""


class nnUNetTrainerDA5Contour(nnUNetTrainerContour, nnUNetTrainerDA5):  # type: ignore[misc]
    """`nnUNetTrainerContour` with DA5 augmentation."""
