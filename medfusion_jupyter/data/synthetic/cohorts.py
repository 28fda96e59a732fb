"""Synthetic cohorts: images on the disk and a table, with the best possible result."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfusion_jupyter.data.cohort import Cohort
from medfusion_jupyter.data.errors import CohortError
from medfusion_jupyter.data.synthetic import arms
from medfusion_jupyter.data.synthetic.pictures import write_pictures
from medfusion_jupyter.data.targets import Survival
from medfusion_jupyter.store import home

FORMAT = 2


def synthetic_cohort(
    n: int = 2000,
    seed: int = 0,
    *,
    d_image: float = 1.2,
    d_table: float = 0.9,
    image_size: int = 32,
    missing_table: float = 0.0,
    images_per_patient: int = 1,
    nuisance: float = 0.0,
) -> Cohort:
    """A cohort of n patients with images and a laboratory value, the class being carried by both independently.

    An image holds a lesion of latent strength u, the column `marker` a latent t, with u | y ~ N(±d_image/2, 1) and
    t | y ~ N(±d_table/2, 1). The best possible AUROC is then known, and is in the cohort's `best_auroc`: by the image
    Φ(d_image/√2), by the table Φ(d_table/√2), by both Φ(√(d_image² + d_table²)/√2). `age` and `sex` carry nothing; some
    ages are missing. n: 20 or more; image_size: pixels a side, 16 to 512. Images are 16-bit PNG files under
    MEDFUSION_HOME, made once, and never clipped.

    missing_table: the probability, below 1, that the whole table of a patient is missing, at random; the best AUROC is then that
    of the mixture. images_per_patient: 1 to 100 rows a patient, each with an image of its own; `best_auroc` is that of a row,
    and has also `patient`, that by all images of a patient. nuisance: 0 to 1, brightness and shading that are independent of
    the class.
    """
    _refuse_size(n, image_size)
    _refuse_outside("missing_table", missing_table, 0, 0.99)
    _refuse_outside("images_per_patient", images_per_patient, 1, 100)
    _refuse_outside("nuisance", nuisance, 0, 1)
    rng = np.random.default_rng(seed)
    drawn = arms.draw_independent(
        n, rng, d_image=d_image, d_table=d_table, missing_table=missing_table, images_per_patient=images_per_patient
    )
    carries_nothing = _carries_nothing(n, rng)
    frame = pd.DataFrame(
        {
            "patient": [f"p{k:06d}" for k in drawn.patient],
            "marker": (40 + 9 * drawn.table).round(3),
            **{name: values[drawn.patient] for name, values in carries_nothing.items()},
        }
    )
    frame.loc[drawn.absent, ["marker", "age", "sex"]] = np.nan
    key = [n, seed, d_image, d_table, image_size, images_per_patient, nuisance]
    cohort = _cohort(frame, drawn.target, drawn.image, image_size, seed, nuisance, key)
    cohort.best_auroc = arms.best_independent(
        d_image, d_table, missing_table=missing_table, images_per_patient=images_per_patient
    )
    return cohort


def synthetic_interaction(
    n: int = 2000, seed: int = 0, *, k: float = 1.5, image_size: int = 32, nuisance: float = 0.0
) -> Cohort:
    """A cohort in which neither the image nor the table tells anything alone.

    The lesion is bright or dark (a = ±1), `marker` is high or low (b = ±1), and P(lesion = yes) = σ(k·a·b). The best AUROC by
    either is 0.5 and by both σ(k), 0.818 at k = 1.5: only a fusion that can multiply reaches it. Otherwise as `synthetic_cohort`.
    """
    _refuse_size(n, image_size)
    _refuse_outside("nuisance", nuisance, 0, 1)
    rng = np.random.default_rng(seed)
    drawn = arms.draw_interaction(n, rng, k=k)
    # how bright and how high varies, but the sign is never in doubt
    image, table = (sign * rng.uniform(1, 2, n) for sign in (drawn.image, drawn.table))
    frame = pd.DataFrame(
        {"patient": [f"p{k:06d}" for k in range(n)], "marker": (40 + 9 * table).round(3), **_carries_nothing(n, rng)}
    )
    cohort = _cohort(
        frame, drawn.target, image, image_size, seed, nuisance, ["interaction", n, seed, k, image_size, nuisance]
    )
    cohort.best_auroc = arms.best_interaction(k)
    return cohort


def synthetic_survival(
    n: int = 2000,
    seed: int = 0,
    *,
    s: float = 1.0,
    censoring: float = 0.0,
    image_size: int = 32,
    nuisance: float = 0.0,
) -> Cohort:
    """A cohort whose target is the time to an event (`months`, `event`), T ~ Exp(e^g).

    The log hazard g ~ N(0, s²) is carried half by the image and half by `marker`. The best C index (Harrell's) is in the cohort's
    `best_c_index`; by both it is E σ(|Δg|), 0.725 at s = 1. censoring: 0 or more, the rate at which patients are lost from
    sight, independently, against a mean hazard of about 1; the best C index is then that over pairs of which it is known who
    came first. Otherwise as `synthetic_cohort`.
    """
    _refuse_size(n, image_size)
    _refuse_outside("s", s, 0.01, 5)
    _refuse_outside("censoring", censoring, 0, 100)
    _refuse_outside("nuisance", nuisance, 0, 1)
    rng = np.random.default_rng(seed)
    drawn = arms.draw_survival(n, rng, s=s, censoring=censoring)
    scale = s / np.sqrt(2)
    folder, names = _pictures(
        drawn.image / scale, image_size, seed, nuisance, ["survival", n, seed, s, censoring, image_size, nuisance]
    )
    frame = pd.DataFrame(
        {
            "patient": [f"p{k:06d}" for k in range(n)],
            "image": names,
            "marker": (40 + 9 * drawn.table / scale).round(3),
            **_carries_nothing(n, rng),
            "months": 12 * drawn.time,
            "event": drawn.event,
        }
    )
    cohort = _with_roles(frame, Survival(time="months", event="event"), folder)
    cohort.best_c_index = arms.best_survival(s, censoring=censoring)
    return cohort


def _cohort(
    frame: pd.DataFrame,
    target: NDArray[np.int64],
    strength: NDArray[np.float64],
    image_size: int,
    seed: int,
    nuisance: float,
    key: list[Any],
) -> Cohort:
    folder, names = _pictures(strength, image_size, seed, nuisance, key)
    frame.insert(1, "image", names)
    frame["lesion"] = np.where(target == 1, "yes", "no")
    return _with_roles(frame, "lesion", folder)


def _with_roles(frame: pd.DataFrame, target: str | Survival, folder: Path) -> Cohort:
    cohort = Cohort(
        frame,
        target=target,
        image="image",
        image_root=folder,
        patient="patient",
        numeric=["marker", "age"],
        categorical=["sex"],
    )
    cohort.name = "synthetic"
    return cohort


def _pictures(
    strength: NDArray[np.float64], image_size: int, seed: int, nuisance: float, key: list[Any]
) -> tuple[Path, list[str]]:
    """The folder of the images, which is made where it is not there, and the name of each row's."""
    names = [f"i{k:07d}.png" for k in range(len(strength))]
    digest = hashlib.sha256(json.dumps([FORMAT, *key]).encode()).hexdigest()[:16]
    folder = home() / "cache" / "synthetic" / digest
    write_pictures(folder, names, strength, image_size, seed, nuisance)
    return folder, names


def _carries_nothing(n: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Columns that are independent of the outcome."""
    ages = rng.normal(62, 14, n).clip(18, 95).round()
    return {
        "age": np.where(rng.random(n) < 0.05, np.nan, ages),
        "sex": np.where(rng.random(n) < 0.5, "f", "m").astype(object),
    }


def _refuse_size(n: int, image_size: int) -> None:
    if n < 20:
        raise CohortError(f"n={n} is too few for a cohort that can be split: give 20 or more.")
    _refuse_outside("image_size", image_size, 16, 512)


def _refuse_outside(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise CohortError(f"{name}={value} is out of range: give {low} to {high}.")
