"""What the reproduction runs: the models, and how large."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """One row of the tables: a network configuration trained with one loss."""

    name: str
    loss: str  # as the tables name it
    configuration: str  # nnU-Net's name: "2d" or "3d_fullres"
    trainer: str  # a class of surfloss.nnunet.trainers

    @property
    def network(self) -> str:
        return {"2d": "2D U-Net", "3d_fullres": "3D U-Net"}[self.configuration]

    @property
    def title(self) -> str:
        return f"{self.network}, {self.loss}"


DICE_CE_2D = Model("dice_ce_2d", "Dice+CE", "2d", "nnUNetTrainerDiceCE")
DICE_CE_3D = Model("dice_ce_3d", "Dice+CE", "3d_fullres", "nnUNetTrainerDA5DiceCE")
CONTOUR_3D = Model("contour_3d", "Dice+CE+contour", "3d_fullres", "nnUNetTrainerDA5Contour")
HAUSDORFF_3D = Model("hausdorff_3d", "Dice+CE+Hausdorff (warm-up)", "3d_fullres", "nnUNetTrainerDA5Hausdorff")
HAUSDORFF_BOUNDED_3D = Model(
    "hausdorff_bounded_3d",
    "Dice+CE+Hausdorff (bounded, warm-up)",
    "3d_fullres",
    "nnUNetTrainerDA5HausdorffBounded",
)
HAUSDORFF_PAPER_3D = Model(
    "hausdorff_paper_3d",
    "Dice+CE+Hausdorff (paper's setting)",
    "3d_fullres",
    "nnUNetTrainerDA5HausdorffPaper",
)
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
    ensemble: tuple[str, ...] = (DICE_CE_2D.name, DICE_CE_3D.name)  # whose probabilities are averaged
    folds: int = 5
    epochs: int
    iterations: int  # training iterations an epoch
    validation_iterations: int
    validation_cases: int  # held out of the folder where it has no validation part of its own
    save_every: int  # epochs between two checkpoints
    initial_lr: float = 1e-2
    base_features: int | None = None
    batch_size_2d: int | None = None
    memory_gb: float | None = None  # of the GPU that nnU-Net plans patches and batches for
    phantom: PhantomSettings | None = None
    tolerance: float = 0.42  # of the surface Dice, in mm: INSTANCE2022's
    seed: int = 0


TINY = Experiment(
    name="tiny",
    models=(DICE_CE_2D, DICE_CE_3D, CONTOUR_3D, HAUSDORFF_3D),
    folds=2,
    epochs=20,
    iterations=50,
    validation_iterations=4,
    validation_cases=4,
    save_every=4,
    # A short training: nnU-Net's momentum of 0.99 takes hundreds of iterations to build up at its own 0.01.
    initial_lr=0.06,
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
