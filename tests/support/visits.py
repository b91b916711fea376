"""Counts the blocks that the search of the Triton backend reads, by a copy of its rules in NumPy.

They are the rules of `search` in backends/triton/edt.py. docs/gpu-transform.md explains why they are correct.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]


@dataclass
class Visits:
    """Sums over tiles: tiles, summaries read, groups of summaries read, groups skipped, blocks read."""

    tiles: int = 0
    summaries: int = 0
    groups: int = 0
    skipped: int = 0
    blocks: int = 0

    def per_voxel(self, block: int = 8) -> float:
        """Candidates per voxel."""
        return block * self.blocks / max(1, self.tiles)


def count(columns: Field, step: float, total: Visits, block: int = 8, ahead: int = 8) -> Field:
    """Search along axis 0 of a signed squared field `(size, lanes)`, and add the counts to `total`.

    Args:
        ahead: blocks on either side whose summaries are read together, or 0.

    Returns:
        The squared distance to the other label, as the kernel computes it, `(size, lanes)`.
    """
    size, lanes = columns.shape
    blocks = -(-size // block)
    padded = columns[np.minimum(np.arange(blocks * block), size - 1)].reshape(blocks, block, lanes)
    lowest, highest = padded.min(1), padded.max(1)
    summaries = np.where(lowest > 0, lowest, np.where(highest < 0, highest, 0))
    found = np.empty_like(columns)
    within = np.arange(block)
    for tile in range(blocks):
        total.tiles += 1
        rows = tile * block + within
        sign = np.where(padded[tile] > 0, 1, -1)
        best = np.where((rows < size)[:, None], np.abs(padded[tile]), -np.inf)
        turn, gap, last_turn = 0, 0.0, 2 * max(tile, blocks - 1 - tile)
        while turn <= last_turn and gap < best.max():
            turns = 1
            if (
                ahead
                and turn % (2 * ahead) == 1
                and turn + 2 * ahead <= last_turn + 1
                and np.isinf(best.max())
            ):
                total.groups += 1
                beside = (turn + 1) // 2 + np.arange(ahead)
                several = np.clip([tile + beside, tile - beside], 0, blocks - 1)
                if np.isinf(best.max(0)).all() and (summaries[several] == padded[tile, 0]).all():
                    turns = 2 * ahead
                    total.skipped += 1
            worst = [np.where(sign == side, best, -np.inf).max(0) for side in (1, -1)]
            other = tile + (turn + 1) // 2 * (1 if turn % 2 == 0 else -1)
            total.summaries += 1
            if (
                turns == 1
                and 0 <= other < blocks
                and any(
                    (np.maximum(side * summaries[other], 0) + gap < bound).any()
                    for side, bound in zip((1, -1), worst, strict=True)
                )
            ):
                total.blocks += 1
                along = step**2 * np.subtract.outer(rows, other * block + within)[..., None] ** 2
                offers = np.maximum(sign[:, None] * padded[other][None], 0) + along
                best = np.minimum(best, offers.min(1))
            turn += turns
            gap = step**2 * max(0, (turn + 1) // 2 * block - (block - 1)) ** 2
        found[rows[rows < size]] = best[rows < size]
    return found
