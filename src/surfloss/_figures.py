"""Pictures in reports: PNG files with captions, and the outlines of a true and a predicted mask."""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

# Paul Tol's bright scheme, told apart by color-blind readers too.
BLUE, RED, GREEN, YELLOW, CYAN, PURPLE = "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377"
GRAY = "#9aa0a8"

# Apart from each other and from gray, also for color-blind readers.
TRUTH, PREDICTION = "#33bbee", "#ff8c1a"
OUTLINES = {"true outline": TRUTH, "predicted outline": PREDICTION}


@dataclass(frozen=True)
class Picture:
    """A PNG file's content and what it shows."""

    caption: str
    png: bytes

    @property
    def base64(self) -> str:
        return base64.b64encode(self.png).decode()


def png(figure: Figure, facecolor: str = "white") -> bytes:
    """The figure as a PNG file of 256 colors, which takes less than half the bytes of one in true color."""
    drawn, file = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110, facecolor=facecolor)
    picture = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    picture.save(file, format="png", optimize=True)
    return file.getvalue()


def outline(axes: Any, truth: Any, prediction: Any, spacing: tuple[float, float] = (1, 1)) -> None:
    """Draw both outlines.

    Args:
        truth, prediction: masks in 2-D of one shape.
        spacing: of rows and columns, in the unit of the axes.
    """
    for mask, color in ((truth, TRUTH), (prediction, PREDICTION)):
        if mask.any():
            padded = np.pad(mask, 1)  # closes outlines at the border
            rows, columns = (
                (np.arange(size) - 1) * step for size, step in zip(padded.shape, spacing, strict=True)
            )
            axes.contour(columns, rows, padded, levels=[0.5], colors=[color], linewidths=1.4)


def outline_legend(figure: Figure) -> None:
    """Say below all panels which outline is which."""
    handles = [Line2D([], [], color=color, label=label) for label, color in OUTLINES.items()]
    legend = figure.legend(
        handles=handles, loc="outside lower center", ncols=2, fontsize=9, facecolor="#555555"
    )
    for text in legend.get_texts():
        text.set_color("white")
