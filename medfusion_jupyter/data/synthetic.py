"""Cohorts whose best possible AUROC is known: a ceiling to measure models against."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from medfusion_jupyter.data.cohort import Cohort
from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.store import home

FORMAT = 1


def synthetic_cohort(
    n: int = 2000, seed: int = 0, *, d_image: float = 1.2, d_table: float = 0.9, image_size: int = 32
) -> Cohort:
    """A cohort of n patients with an image and a laboratory value each, the class being carried by both independently.

    The image holds a lesion of latent strength u, the column `marker` a latent t, with u | y ~ N(±d_image/2, 1) and
    t | y ~ N(±d_table/2, 1). The best possible AUROC is then known, and is in the cohort's `best_auroc`: by the image
    Φ(d_image/√2), by the table Φ(d_table/√2), by both Φ(√(d_image² + d_table²)/√2). `age` and `sex` carry nothing; some
    ages are missing. n: 20 or more; image_size: pixels a side, 16 to 512. Images are 16-bit PNG files under
    MEDFUSION_HOME, made once.
    """
    if n < 20:
        raise CohortError(f"n={n} is too few for a cohort that can be split: give 20 or more.")
    if not 16 <= image_size <= 512:
        raise CohortError(f"image_size={image_size} is out of range: give 16 to 512.")
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    y[:10] = np.arange(10) % 2  # both classes are there for every part, however small n
    u = rng.normal(np.where(y == 1, d_image / 2, -d_image / 2), 1)
    t = rng.normal(np.where(y == 1, d_table / 2, -d_table / 2), 1)
    ages = rng.normal(62, 14, n).clip(18, 95).round()
    names = [f"p{k:06d}" for k in range(n)]
    frame = pd.DataFrame(
        {
            "patient": names,
            "image": [f"{name}.png" for name in names],
            "marker": (40 + 9 * t).round(3),
            "age": np.where(rng.random(n) < 0.05, np.nan, ages),
            "sex": np.where(rng.random(n) < 0.5, "f", "m"),
            "lesion": np.where(y == 1, "yes", "no"),
        }
    )
    key = hashlib.sha256(json.dumps([FORMAT, n, seed, d_image, d_table, image_size]).encode()).hexdigest()[:16]
    folder = _folder(key)
    if not folder.exists():
        _write_images(folder, [f"{name}.png" for name in names], u, image_size, seed)
    cohort = Cohort(
        frame,
        target="lesion",
        image="image",
        image_root=folder,
        patient="patient",
        numeric=["marker", "age"],
        categorical=["sex"],
    )
    cohort.name = "synthetic"
    cohort.best_auroc = {
        "image": _phi(d_image / math.sqrt(2)),
        "table": _phi(d_table / math.sqrt(2)),
        "both": _phi(math.hypot(d_image, d_table) / math.sqrt(2)),
    }
    return cohort


def _folder(key: str) -> Path:
    return home() / "cache" / "synthetic" / key


def _phi(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def _write_images(folder: Path, names: list[str], u: NDArray[np.float64], size: int, seed: int) -> None:
    """All into a folder of another name first, so that a folder that is there is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}-"))
    try:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(lambda k: _image(float(u[k]), size, seed, k).save(making / names[k]), range(len(names))))
        os.replace(making, folder)
    except OSError:
        shutil.rmtree(making, ignore_errors=True)
        if not folder.exists():  # else another process was faster
            raise


def _image(u: float, size: int, seed: int, k: int) -> Image.Image:
    """Mid-grey with noise, and a round lesion at a place of its own whose brightness is linear in u.

    The lesion's matched filter gives u with an error of about 0.04 at 32 pixels, which costs the AUROC less than 0.001.
    """
    rng = np.random.default_rng([seed, k])
    middle = size * (0.5 + rng.uniform(-0.12, 0.12, 2))
    y, x = np.mgrid[0:size, 0:size]
    radius = size / 9
    lesion = np.exp(-((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / (2 * radius**2))
    pixels = 0.5 + 0.08 * u * lesion + rng.normal(0, 0.02, (size, size))
    return Image.fromarray((pixels.clip(0, 1) * 65535).astype(np.uint16))
