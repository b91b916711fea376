"""A synthetic head CT with intracerebral hemorrhage, in the layout of the INSTANCE2022 challenge.

The head is drawn in mm from signed distances (negative inside), slice by slice, so any size and spacing shows
the same head; a thick slice is the mean of several thin ones, which gives it partial volume.

The same arrays come out on every machine: per-voxel work uses only what IEEE 754 fixes (+, -, *, /, sqrt,
comparisons), in a fixed order, and the few scalars that pass through sin, cos, exp or log are rounded.

One file a room: `_field` (shapes and smooth noise), `_head` (anatomy), `_bleed` (hemorrhages), `_scan` (one
volume), `_dataset` (files, and a picture of them).
"""

from surfloss.phantom._dataset import contact_sheet, write_dataset
from surfloss.phantom._scan import Phantom, default_spacing, make_case

__all__ = ["Phantom", "contact_sheet", "default_spacing", "make_case", "write_dataset"]
