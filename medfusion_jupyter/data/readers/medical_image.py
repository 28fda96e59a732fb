"""An image as it was measured: values with their unit, and where each of them lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medfusion_jupyter.data.errors import CohortError, closest

WINDOWS: dict[str, tuple[float, float]] = {
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
    "soft tissue": (50, 400),
    "liver": (30, 150),
    "bone": (400, 1800),
    "brain": (40, 80),
    "stroke": (40, 40),
}
"""Centre and width in Hounsfield units, as usual in radiology (Murphy et al., "Windowing (CT)", Radiopaedia)."""


class ImageError(CohortError):
    """An image file that cannot be read as it is; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True, eq=False)
class MedicalImage:
    """An image or a volume.

    pixels: `(C, H, W)`, or `(C, D, H, W)` for a volume, float32, in `unit`; C is 1 (grey), 3 (red, green, blue) or another.
    A volume's D goes from feet to head, H from front to back and W from the patient's right to the left, wherever the file
    says so (`affine`). spacing: mm between neighbours along each spatial axis, None where the file does not say. affine:
    `(4, 4)` from indices of (D, H, W) to mm to the right, the front and the head (RAS+), None where unknown. unit: `HU`, or
    `stored` for values without one. window: the values that are shown as black and as white. kind: as `DICOM CT`.
    """

    pixels: NDArray[np.float32]
    spacing: tuple[float, ...] | None
    affine: NDArray[np.float64] | None
    unit: str
    window: tuple[float, float]
    kind: str

    @property
    def is_volume(self) -> bool:
        """Whether it has three spatial axes."""
        return self.pixels.ndim == 4

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.pixels.shape))
        spacing = "unknown" if self.spacing is None else " x ".join(f"{mm:.3g}" for mm in self.spacing) + " mm"
        low, high = self.window
        return f"<MedicalImage {self.kind}: {shape}, spacing {spacing}, window {low:g} to {high:g} {self.unit}>"

    def shown(self) -> NDArray[np.float32]:
        """The pixels through the window: 0 is black and 1 is white, of the same shape."""
        low, high = self.window
        return ((self.pixels - low) / max(high - low, 1e-6)).clip(0, 1).astype(np.float32)

    def windowed(self, window: str | tuple[float, float]) -> MedicalImage:
        """The same image seen through another window: a preset of WINDOWS (in HU), or (low, high) in the image's unit."""
        if isinstance(window, str) and window in WINDOWS and self.unit != "HU":
            raise ImageError(
                f"The window {window!r} is in Hounsfield units, but this {self.kind} image is not: give (low, high) in "
                "its own values."
            )
        return replace(self, window=ends_of(window))


def ends_of(window: str | Sequence[float]) -> tuple[float, float]:
    """What is black and what is white in a window: a preset of WINDOWS, or (low, high). Raises ImageError."""
    if isinstance(window, str):
        if window not in WINDOWS:
            raise ImageError(
                f"There is no window {window!r}.{closest(window, WINDOWS)} Choose {', '.join(WINDOWS)}, or give (low, high)."
            )
        centre, width = WINDOWS[window]
        return centre - width / 2, centre + width / 2
    ends = tuple(window)
    if (
        len(ends) != 2
        or not all(isinstance(end, (int, float)) and math.isfinite(end) for end in ends)
        or ends[0] >= ends[1]
    ):
        raise ImageError(
            f"window={window!r} must be (low, high): the value that is black and the larger one that is white, or one of "
            f"{', '.join(WINDOWS)}."
        )
    return float(ends[0]), float(ends[1])


def range_of(values: NDArray[np.float32]) -> tuple[float, float]:
    """Black and white for values without a scale of their own: the half percent at either end is let go."""
    low, high = np.percentile(values, [0.5, 99.5])
    return (float(low), float(high)) if high > low else (float(values.min()), float(values.max()) + 1e-6)
