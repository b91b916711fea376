from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from surfloss.metrics.surface_elements import element_sizes, neighborhood_codes
from tests.metrics import official

SPACINGS = [(1.0, 1.0, 1.0), (5.0, 0.42, 0.42), (0.3, 7.0, 1.9), (1.0, 1e-3, 1e3)]


@pytest.mark.parametrize("spacing", SPACINGS)
def test_all_256_areas_are_the_published_ones(spacing: Any) -> None:
    np.testing.assert_allclose(element_sizes(np.array(spacing)), official.element_sizes(spacing), rtol=1e-12)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_all_16_lengths_are_the_published_ones(spacing: Any) -> None:
    spacing = spacing[:2]
    np.testing.assert_allclose(element_sizes(np.array(spacing)), official.element_sizes(spacing), rtol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_published_sizes_do_not_tell_inside_from_outside(dims: int) -> None:
    sizes = official.element_sizes([0.7, 1.3, 2.9][:dims])
    np.testing.assert_array_equal(sizes, sizes[::-1])


def test_areas_turn_and_mirror_with_the_cube() -> None:
    spacing = np.array([0.7, 1.3, 2.9])
    corners = list(product((0, 1), repeat=3))
    codes = np.arange(256)
    inside = (codes[:, None] >> np.arange(7, -1, -1) & 1).reshape(-1, 2, 2, 2)
    for axes, flips in product(permutations(range(3)), corners):
        moved = inside.transpose(0, *(axis + 1 for axis in axes))
        moved = np.flip(moved, [axis + 1 for axis, flip in enumerate(flips) if flip])
        moved_codes = moved.reshape(256, 8) @ (1 << np.arange(7, -1, -1))
        moved_sizes = element_sizes(spacing[list(axes)])[moved_codes]
        np.testing.assert_allclose(moved_sizes, element_sizes(spacing), rtol=1e-12)


def test_a_box_has_the_area_of_its_faces_edges_and_corners() -> None:
    a, b, c = 4, 5, 7
    codes = neighborhood_codes(np.ones((a, b, c), bool))
    faces = 2 * ((a - 1) * (b - 1) + (b - 1) * (c - 1) + (a - 1) * (c - 1))
    edges = 4 * (a + b + c - 3) * np.sqrt(0.5)  # a cut at 45 degrees through the middles
    corners = 8 * np.sqrt(3) / 8  # an eighth of an octahedron
    assert element_sizes(np.ones(3))[codes].sum() == pytest.approx(faces + edges + corners, rel=1e-12)


def test_a_rectangle_has_the_length_of_its_sides_and_cut_corners() -> None:
    codes = neighborhood_codes(np.ones((4, 6), bool))
    sides, corners = 2 * (3 * 5.0 + 5 * 0.5), 4 * np.hypot(2.5, 0.25)
    assert element_sizes(np.array([5.0, 0.5]))[codes].sum() == pytest.approx(sides + corners, rel=1e-12)


def test_codes_number_the_corners_in_c_order_from_the_highest_bit() -> None:
    codes = neighborhood_codes(np.ones((1, 1, 1), bool))
    np.testing.assert_array_equal(codes.ravel(), [1, 2, 4, 8, 16, 32, 64, 128])
