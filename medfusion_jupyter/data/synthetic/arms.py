"""What is hidden in a synthetic cohort: the strengths that an image and a table carry, the outcome, and the ceiling that follows.

An oracle that knows these strengths reaches the ceiling; nothing can do better but by luck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Independent:
    """N rows. target: `(N,)` 0 or 1; image, table: `(N,)` latent strengths; absent: `(N,)` whether the table is missing;
    patient: `(N,)` its number."""

    target: NDArray[np.int64]
    image: Floats
    table: Floats
    absent: NDArray[np.bool_]
    patient: NDArray[np.int64]

    def oracle(self, d_image: float, d_table: float) -> Floats:
        """The log odds of class 1 given all that a row shows: no score ranks better (Neyman and Pearson, 1933)."""
        return d_image * self.image + np.where(self.absent, 0, d_table * self.table)


def draw_independent(
    patients: int,
    rng: np.random.Generator,
    *,
    d_image: float,
    d_table: float,
    missing_table: float = 0.0,
    images_per_patient: int = 1,
) -> Independent:
    """image | y ~ N(±d_image/2, 1) for each image, table | y ~ N(±d_table/2, 1) for each patient, all independent given y."""
    y = rng.integers(0, 2, patients)
    y[:10] = np.arange(len(y[:10])) % 2  # both classes are there for every part, however few patients
    patient = np.repeat(np.arange(patients), images_per_patient)
    image = rng.normal(np.where(y == 1, d_image / 2, -d_image / 2)[patient], 1)
    table = rng.normal(np.where(y == 1, d_table / 2, -d_table / 2), 1)
    return Independent(y[patient], image, table[patient], (rng.random(patients) < missing_table)[patient], patient)


def best_independent(
    d_image: float, d_table: float, *, missing_table: float = 0.0, images_per_patient: int = 1
) -> dict[str, float]:
    """Best AUROC by image, by table and by both; `patient`: by all images of a patient and the table.

    A row with a table is told by d = √(d_image² + d_table²), one without by d_image; a case of the one kind is ranked above a
    control of the other with probability Φ(½√(d₁² + d₂²)), and the AUROC is the mean over kinds.
    """
    all_images = math.sqrt(images_per_patient) * d_image
    best = {
        "image": _mixture([(1.0, d_image)]),
        "table": _mixture([(1 - missing_table, d_table), (missing_table, 0.0)]),
        "both": _mixture([(1 - missing_table, math.hypot(d_image, d_table)), (missing_table, d_image)]),
    }
    if images_per_patient > 1:
        best["patient"] = _mixture([(1 - missing_table, math.hypot(all_images, d_table)), (missing_table, all_images)])
    return best


def _mixture(kinds: list[tuple[float, float]]) -> float:
    return sum(p * q * phi(math.hypot(d, e) / 2) for p, d in kinds for q, e in kinds)


@dataclass(frozen=True)
class Interaction:
    """N rows. target: `(N,)` 0 or 1; image, table: `(N,)` signs, -1 or 1, of which only the product tells the class."""

    target: NDArray[np.int64]
    image: NDArray[np.int64]
    table: NDArray[np.int64]


def draw_interaction(n: int, rng: np.random.Generator, *, k: float) -> Interaction:
    """P(y = 1) = σ(k · image · table), the signs being independent and fair."""
    image, table = (2 * rng.integers(0, 2, n) - 1 for _ in range(2))
    y = (rng.random(n) < sigmoid(k * image * table)).astype(np.int64)
    y[:10] = np.arange(len(y[:10])) % 2
    return Interaction(y, image, table)


def best_interaction(k: float) -> dict[str, float]:
    """Best AUROC by image and by table ½, by both σ(|k|): a sign that is right so often in either class."""
    return {"image": 0.5, "table": 0.5, "both": float(sigmoid(abs(k)))}


@dataclass(frozen=True)
class Survival:
    """N rows. time: `(N,)` until the event or until it was lost from sight; event: `(N,)` whether it was seen; image, table:
    `(N,)` the parts of the log hazard that each carries."""

    time: Floats
    event: NDArray[np.bool_]
    image: Floats
    table: Floats


def draw_survival(n: int, rng: np.random.Generator, *, s: float, censoring: float) -> Survival:
    """T ~ Exp(e^g) with g = image + table ~ N(0, s²), half of the variance each; lost from sight at a time ~ Exp(censoring)."""
    image, table = (rng.normal(0, s / math.sqrt(2), n) for _ in range(2))
    time = rng.exponential(1, n) / np.exp(image + table)
    lost = rng.exponential(1, n) / censoring if censoring > 0 else np.full(n, np.inf)
    return Survival(np.minimum(time, lost), time <= lost, image, table)


def best_survival(s: float, *, censoring: float = 0.0) -> dict[str, float]:
    """Best C index (Harrell's, over pairs of which it is known who came first) by image, by table and by both.

    Of two with hazards a and b, the first event is seen, and is that of a, with probability a / (a + b + 2·censoring). Without
    censoring the best by both is E σ(|Δg|) with Δg ~ N(0, 2s²). By quadrature over g and over the part that is seen.
    """
    part = s / math.sqrt(2)
    alone = _concordance(part, part, censoring)
    return {"image": alone, "table": alone, "both": _concordance(s, 0.0, censoring)}


def _concordance(seen: float, hidden: float, censoring: float) -> float:
    """C index of the seen part of the log hazard, N(0, seen²), beside a hidden part N(0, hidden²).

    Sum and difference of two independent normals are independent, and only |difference| of the seen parts has a corner: it is
    integrated over its positive half, where all is smooth.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(32)
    weights = weights / weights.sum()
    x, w = np.polynomial.legendre.leggauss(64)
    gap = (x + 1) * 5  # standard deviations from 0 to 10
    half_normal = w * 5 * np.sqrt(2 / np.pi) * np.exp(-(gap**2) / 2)
    ahead = gap[:, None, None] * seen * math.sqrt(2) + nodes[None, :, None] * hidden * math.sqrt(2)
    centre = nodes[None, None, :] * math.sqrt((seen**2 + hidden**2) / 2)
    first, second = np.exp(centre + ahead / 2), np.exp(centre - ahead / 2)
    weight = half_normal[:, None, None] * weights[None, :, None] * weights[None, None, :]
    in_order = (weight * first / (first + second + 2 * censoring)).sum()
    comparable = (weight * (first + second) / (first + second + 2 * censoring)).sum()
    return float(in_order / comparable)


def phi(x: float) -> float:
    """The standard normal's distribution function."""
    return (1 + math.erf(x / math.sqrt(2))) / 2


def sigmoid(x: NDArray[Any] | float) -> Floats:
    """1 / (1 + e^-x)."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(x, dtype=np.float64))))
