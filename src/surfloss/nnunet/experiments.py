"""What a run trains: losses, models and ensembles, and how large it all is."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from surfloss._check import fail

Layout: TypeAlias = Literal["instance2022", "nnunet"]
"""How the folder of a data set is laid out: as the challenge's, or as nnU-Net's or the Decathlon's."""

NETWORKS = {"2d": "2D U-Net", "3d_fullres": "3D U-Net", "3d_lowres": "3D U-Net, low resolution"}
"""nnU-Net's configurations that a run can train, and their names in tables."""


@dataclass(frozen=True)
class Loss:
    """A loss that a model can be trained with."""

    name: str  # as `surfloss compare --losses` takes it: a preset's name
    title: str  # as tables name it
    trainer: str  # a class of surfloss.nnunet.trainers
    repeat: int = 0  # trainings of another number have other seeds


_AUGMENTED = "nnUNetTrainerDA5"
_LOSSES = (
    Loss("dice_ce", "Dice+CE", "nnUNetTrainerDiceCE"),
    # What differs from the baseline by chance alone.
    Loss("dice_ce_again", "Dice+CE again, other seeds", "nnUNetTrainerDiceCEAgain", repeat=1),
    Loss("contour", "Dice+CE+contour", "nnUNetTrainerContour"),
    Loss("hausdorff", "Dice+CE+Hausdorff (warm-up)", "nnUNetTrainerHausdorff"),
    Loss("hausdorff_bounded", "Dice+CE+Hausdorff (bounded, warm-up)", "nnUNetTrainerHausdorffBounded"),
    Loss("hausdorff_paper", "Dice+CE+Hausdorff (paper's setting)", "nnUNetTrainerHausdorffPaper"),
)
LOSSES = {loss.name: loss for loss in _LOSSES}


def find_losses(names: Sequence[str]) -> list[Loss]:
    """The losses of these names, each a preset's or a trainer's of ours.

    Raises:
        ValueError: naming every unknown name with those that are nearest to it; or if one stands twice.
    """
    known = LOSSES | {loss.trainer: loss for loss in _LOSSES}
    for loss in _LOSSES:
        trainer = loss.trainer.replace("nnUNetTrainer", _AUGMENTED)
        if not loss.repeat:
            known[trainer] = Loss(f"{loss.name}_da5", f"{loss.title}, DA5", trainer)
    unknown = {name: difflib.get_close_matches(name, known, n=2) for name in names if name not in known}
    if unknown:
        got = ", ".join(repr(name) for name in unknown)
        nearest = list(dict.fromkeys(near for matches in unknown.values() for near in matches))
        fail("losses", got, " or ".join(nearest) if nearest else f"names of {', '.join(LOSSES)}")
    losses = [known[name] for name in names]
    if not losses or len(set(losses)) < len(losses):
        fail("losses", ", ".join(names) or "none", "different ones, the first to compare the others with")
    return losses


@dataclass(frozen=True)
class Model:
    """One row of the tables: a network configuration trained with one loss."""

    name: str
    loss: str  # as the tables name it
    configuration: str  # nnU-Net's name: a key of NETWORKS
    trainer: str  # a class of surfloss.nnunet.trainers
    repeat: int = 0  # as of its loss

    @property
    def network(self) -> str:
        return NETWORKS[self.configuration]

    @property
    def title(self) -> str:
        return f"{self.network}, {self.loss}"


@dataclass(frozen=True)
class Ensemble:
    """Models whose probabilities are averaged: the same loss in several configurations."""

    name: str
    loss: str
    members: tuple[str, ...]  # names of models
    network: str = "2D + 3D ensemble"
    repeat: int = 0  # as of its loss

    configuration = "ensemble"

    @property
    def title(self) -> str:
        return f"{self.network}, {self.loss}"


Contender: TypeAlias = Model | Ensemble
"""What predicts: its `configuration` tells with which others it is compared."""


def _paper_model(loss: str, configuration: str, augmented: bool) -> Model:
    """A model of the paper's tables: its 3-D networks have the stronger augmentation."""
    trainer = LOSSES[loss].trainer.replace("nnUNetTrainer", _AUGMENTED if augmented else "nnUNetTrainer")
    return Model(f"{loss}_{configuration[:2]}", LOSSES[loss].title, configuration, trainer)


DICE_CE_2D = _paper_model("dice_ce", "2d", augmented=False)
DICE_CE_3D = _paper_model("dice_ce", "3d_fullres", augmented=True)
CONTOUR_3D = _paper_model("contour", "3d_fullres", augmented=True)
HAUSDORFF_3D = _paper_model("hausdorff", "3d_fullres", augmented=True)
HAUSDORFF_BOUNDED_3D = _paper_model("hausdorff_bounded", "3d_fullres", augmented=True)
HAUSDORFF_PAPER_3D = _paper_model("hausdorff_paper", "3d_fullres", augmented=True)
# The paper's losses, and what the training study came to.
ALL_MODELS = (DICE_CE_2D, DICE_CE_3D, CONTOUR_3D, HAUSDORFF_3D, HAUSDORFF_BOUNDED_3D, HAUSDORFF_PAPER_3D)


@dataclass(frozen=True)
class PhantomSettings:
    """The synthetic data set that stands in where no real one is given."""

    cases: int
    size: tuple[int, int, int]  # z, y, x
    seed: int


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A size of the experiment. None means nnU-Net's own choice."""

    name: str
    models: tuple[Model, ...] = ALL_MODELS
    ensembles: tuple[Ensemble, ...] = (
        Ensemble("ensemble", DICE_CE_2D.loss, (DICE_CE_2D.name, DICE_CE_3D.name)),
    )
    layout: Layout = "instance2022"
    has_test: bool = True  # whether cases are held out of the cross-validation, on which models are compared
    folds: int = 5
    epochs: int
    iterations: int  # training iterations an epoch
    validation_iterations: int
    validation_cases: int = 0  # held out of the folder where it has no validation part of its own
    save_every: int  # epochs between two checkpoints
    initial_lr: float = 1e-2
    momentum: float = 0.99  # nnU-Net's; its 100 iterations of memory are long beside a short training
    base_features: int | None = None
    batch_size_2d: int | None = None
    batch_size_3d: int | None = None
    memory_gb: float | None = None  # of the GPU that nnU-Net plans patches and batches for
    phantom: PhantomSettings | None = None
    tolerance: float = 0.42  # of the surface Dice, in mm: INSTANCE2022's
    mirroring: bool = True  # whether predictions are averaged over mirrored images, as nnU-Net does
    seed: int = 0

    @property
    def follows_paper(self) -> bool:
        """Whether this is the paper's experiment, on the challenge's data or the phantom."""
        return self.layout == "instance2022"

    @property
    def configurations(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(model.configuration for model in self.models))

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """Models by configuration, then ensembles."""
        order = {name: place for place, name in enumerate(self.configurations)}
        models = sorted(self.models, key=lambda model: order[model.configuration])
        return (*models, *self.ensembles)


TINY = Experiment(
    name="tiny",
    # Without the paper's stronger augmentation, which takes as long as such a small network.
    models=(
        DICE_CE_2D,
        *(_paper_model(loss, "3d_fullres", augmented=False) for loss in ("dice_ce", "contour", "hausdorff")),
    ),
    folds=2,
    epochs=7,
    iterations=40,
    validation_iterations=4,
    validation_cases=4,
    save_every=3,
    mirroring=False,
    initial_lr=0.05,
    momentum=0.9,
    base_features=8,
    batch_size_2d=6,
    phantom=PhantomSettings(cases=16, size=(16, 64, 64), seed=1),
    seed=1,
)

SMALL = Experiment(
    name="small",
    epochs=30,
    iterations=50,
    validation_iterations=5,
    validation_cases=10,
    save_every=5,
    initial_lr=0.04,
    base_features=8,
    memory_gb=2,
    phantom=PhantomSettings(cases=40, size=(24, 256, 256), seed=2),
    seed=2,
)

PAPER = Experiment(
    name="paper",
    epochs=1000,
    iterations=250,
    validation_iterations=50,
    validation_cases=30,
    save_every=50,
)

EXPERIMENTS = {experiment.name: experiment for experiment in (TINY, SMALL, PAPER)}


def comparison(
    losses: Sequence[Loss], configurations: Sequence[str], ensemble: bool, **settings: Any
) -> Experiment:
    """Every loss in every configuration, on a data set in nnU-Net's layout or the Decathlon's.

    Args:
        losses: the first is the one that the others are compared with.
        configurations: nnU-Net's names.
        ensemble: whether the configurations of each loss are averaged too.
        settings: of `Experiment`.

    Raises:
        ValueError: if a configuration is unknown or stands twice, or an ensemble has one member.
    """
    unknown = [name for name in configurations if name not in NETWORKS]
    if unknown or not configurations or len(set(configurations)) < len(configurations):
        fail(
            "configurations", ", ".join(configurations) or "none", f"different ones of {', '.join(NETWORKS)}"
        )
    if ensemble and len(configurations) < 2:
        fail("ensemble", f"the configuration {configurations[0]} alone", "at least two configurations")
    models = {
        loss: [
            Model(f"{loss.name}_{configuration}", loss.title, configuration, loss.trainer, loss.repeat)
            for configuration in configurations
        ]
        for loss in losses
    }
    network = " + ".join(NETWORKS[name].replace(" U-Net", "") for name in configurations) + " ensemble"
    averaged = [
        Ensemble(
            f"{loss.name}_ensemble",
            loss.title,
            tuple(model.name for model in members),
            network,
            loss.repeat,
        )
        for loss, members in models.items()
    ]
    return Experiment(
        name="comparison",
        layout="nnunet",
        models=tuple(model for members in models.values() for model in members),
        ensembles=tuple(averaged) if ensemble else (),
        **settings,
    )
