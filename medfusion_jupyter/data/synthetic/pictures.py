"""The images of a synthetic cohort: a lesion whose brightness is linear in its strength, on a noisy ground. Never clipped."""

from __future__ import annotations

import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medfusion_jupyter.data.errors import CohortError

BRIGHTEST = 0.08
"""Brightness of a lesion of strength 1, of the full range; the noise has a quarter of it, a nuisance about twice."""

ROOM = 0.38
"""So far from mid-grey may lesion and nuisance go: what is left holds six standard deviations of noise."""

SHADING = 0.15


def write_pictures(
    folder: Path, names: list[str], strength: NDArray[np.float64], size: int, seed: int, nuisance: float
) -> None:
    """One 16-bit PNG for each name, unless the folder is there.

    All go into a folder of another name first, so that a folder that is there is whole.
    """
    if folder.exists():
        return
    contrast = min(BRIGHTEST, (ROOM - SHADING * nuisance) / max(1e-9, float(np.abs(strength).max())))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}-"))
    except OSError as error:
        raise _not_written(folder, error) from error

    def write(k: int) -> None:
        rng = np.random.default_rng([seed, k])
        picture(float(strength[k]), size, rng, contrast, nuisance).save(making / names[k])

    try:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(write, range(len(names))))
        os.replace(making, folder)
    except OSError as error:
        shutil.rmtree(making, ignore_errors=True)
        if not folder.exists():  # else another process was faster
            raise _not_written(folder, error) from error


def _not_written(folder: Path, error: OSError) -> CohortError:
    return CohortError(
        f"The images cannot be written to {folder.parent}: {error.strerror or error}. Set MEDFUSION_HOME to a folder with "
        "room that you may write to."
    )


def picture(strength: float, size: int, rng: np.random.Generator, contrast: float, nuisance: float) -> Image.Image:
    """Mid-grey with noise and shading, and a round lesion at a place of its own.

    The lesion's matched filter gives the strength with an error of about 0.04 at 32 pixels, which costs the AUROC less than
    0.001.
    """
    middle = size * (0.5 + rng.uniform(-0.12, 0.12, 2))
    y, x = np.mgrid[0:size, 0:size]
    radius = size / 9
    lesion = np.exp(-((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / (2 * radius**2))
    pixels = 0.5 + contrast * strength * lesion + rng.normal(0, contrast / 4, (size, size))
    if nuisance:
        angle, lean, light = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1), rng.uniform(-1, 1)
        # slope and brightness share the room of the shading
        slope = (np.cos(angle) * (x / size - 0.5) + np.sin(angle) * (y / size - 0.5)) * np.sqrt(2)
        pixels += SHADING * nuisance * (lean * slope + (1 - lean) * light)
    return Image.fromarray(np.rint(pixels * 65535).clip(0, 65535).astype(np.uint16))
