"""The study's controls and the forms that it tries."""

import math

import pytest
import torch
import torch.nn.functional as F

import surfloss
from benchmarks.training import terms
from benchmarks.training.strength import gradient
from benchmarks.training.terms import ScaledDiceCE, Unweighted, Weighted
from surfloss import DiceCELoss

SIZE = (2, 3, 9, 12)


@pytest.fixture
def scene() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(2, 1, *SIZE[2:], dtype=torch.long)
    labels[0, 0, 2:6, 3:8], labels[0, 0, 4:6, 5:8], labels[1, 0, 1:4, 1:4] = 1, 2, 1
    return 2 * torch.randn(SIZE, generator=generator), labels


def onehot(labels: torch.Tensor) -> torch.Tensor:
    return F.one_hot(labels[:, 0], 3).movedim(-1, 1)[:, 1:].float()


def test_errors_are_the_plain_ones(scene: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = scene
    p, g = logits.softmax(1)[:, 1:], onehot(labels)
    torch.testing.assert_close(Unweighted("squared")(logits, labels), F.mse_loss(p, g))
    torch.testing.assert_close(Unweighted("cross-entropy")(logits, labels), F.binary_cross_entropy(p, g))


@pytest.mark.parametrize("error", ["squared", "cross-entropy"])
def test_weights_over_the_errors_move_the_gradient_and_not_the_value(
    scene: tuple[torch.Tensor, torch.Tensor], error: str
) -> None:
    """Every item and channel of the scene has a boundary: noise predicts some of each class."""
    weighted, plain = Weighted(error, alpha=1.5, cap=4.0), Unweighted(error)
    torch.testing.assert_close(weighted(*scene), plain(*scene))
    assert not torch.allclose(gradient(weighted, *scene), gradient(plain, *scene), rtol=0.1)


def test_squared_weights_without_bounds_are_the_hausdorff_loss(
    scene: tuple[torch.Tensor, torch.Tensor],
) -> None:
    plain = Weighted("squared", alpha=2.0, mean=None)
    library = surfloss.HausdorffDTLoss(softmax=True, to_onehot_y=True)
    torch.testing.assert_close(plain(*scene), library(*scene))
    torch.testing.assert_close(gradient(plain, *scene), gradient(library, *scene))


def test_distances_are_capped_and_raised_by_the_floor(scene: tuple[torch.Tensor, torch.Tensor]) -> None:
    flat = Weighted("squared", alpha=0.0, floor=1.0, mean="volume")
    torch.testing.assert_close(flat(*scene), Unweighted("squared")(*scene))
    near = Weighted("squared", alpha=1.0, cap=1.0, mean="volume")  # every distance is 1 or more
    torch.testing.assert_close(near(*scene), flat(*scene))
    far = Weighted("squared", alpha=1.0, cap=math.inf, mean="volume")
    assert not torch.allclose(far(*scene), near(*scene), rtol=1e-2)


def test_masks_without_a_boundary_have_no_weight() -> None:
    logits, labels = torch.zeros(1, 2, 5, 5), torch.zeros(1, 1, 5, 5, dtype=torch.long)
    for mean in ("volume", "errors", None):
        assert Weighted(mean=mean)(logits, labels) == 0


def test_dice_ce_again_adds_nothing_but_strength(scene: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.testing.assert_close(gradient(ScaledDiceCE(), *scene), gradient(DiceCELoss(batch=True), *scene))


def test_spacing_in_mm_is_that_of_the_data() -> None:
    term = terms.make("weighted", (5.0, 2.0), spacing="mm")
    assert term.spacing == (5.0, 2.0)
