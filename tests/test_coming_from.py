"""What docs/coming-from.md says of other packages, by their own calls."""

import edt as peer
import numpy as np
import pytest
import torch
from scipy import ndimage

import surfloss
from surfloss import distance_transform_edt, label_edt, signed_distance, two_sided_edt
from tests.support.compare import assert_equal, assert_within_ulp

SPACING = (5.0, 0.42, 0.7)
LABELS = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).repeat(3, 1).repeat(4, 2)
MASK = LABELS != 0
T, M = torch.from_numpy(LABELS), torch.from_numpy(MASK)


def test_edt() -> None:
    assert_equal(label_edt(T), peer.edt(LABELS))
    assert_equal(label_edt(T, squared=True), peer.edtsq(LABELS))
    assert_equal(-label_edt(T, form="signed"), peer.sdf(LABELS))
    assert_equal(-label_edt(T, form="signed", squared=True), peer.sdfsq(LABELS))
    assert_equal(label_edt(T, border="closed"), peer.edt(LABELS, black_border=True))
    assert_equal(-label_edt(T, form="signed", border="closed"), peer.sdf(LABELS, black_border=True))
    np.testing.assert_allclose(label_edt(T, spacing=SPACING), peer.edt(LABELS, anisotropy=SPACING), rtol=1e-6)
    assert_equal(distance_transform_edt(M), peer.edt(MASK))
    assert peer.edt(np.array([1.5, 1.5, 2.5])).tolist() == [2, 1, 1]
    with pytest.raises(TypeError, match="3 dimensions"):
        peer.edt(np.ones((2, 2, 2, 2)))


def test_scipy() -> None:
    inside, outside = (ndimage.distance_transform_edt(side, SPACING) for side in (MASK, ~MASK))
    np.testing.assert_allclose(
        surfloss.ndimage.distance_transform_edt(MASK, SPACING), inside, rtol=1e-14, atol=0
    )
    assert_within_ulp(distance_transform_edt(M, spacing=SPACING), inside, 2)
    assert_within_ulp(two_sided_edt(M, spacing=SPACING), inside + outside, 2)
    assert_within_ulp(signed_distance(M, spacing=SPACING), outside - inside, 2)
    loop = sum(ndimage.distance_transform_edt(label == LABELS, SPACING) for label in (1, 2))
    assert_within_ulp(label_edt(T, spacing=SPACING), loop, 2)
    full = np.ones((3, 4))
    assert_equal(surfloss.ndimage.distance_transform_edt(full), ndimage.distance_transform_edt(full))
    assert distance_transform_edt(torch.from_numpy(full)).isinf().all()


def test_monai() -> None:
    monai = pytest.importorskip("monai.transforms")
    image = torch.stack([M, ~M])
    theirs = monai.utils.distance_transform_edt(image, sampling=list(SPACING))
    assert theirs.dtype == torch.float64
    assert_within_ulp(distance_transform_edt(image, spatial_dims=3, spacing=SPACING), theirs, 2)
    assert_equal(monai.DistanceTransformEDT(sampling=list(SPACING))(image), theirs)
    plane = image[:, 2]
    theirs = monai.utils.distance_transform_edt(plane)
    assert_within_ulp(distance_transform_edt(plane, spatial_dims=2), theirs, 2)
    assert monai.utils.distance_transform_edt(torch.ones(1, 2, 3)).isfinite().all()
