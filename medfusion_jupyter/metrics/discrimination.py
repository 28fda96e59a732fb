"""How well predictions tell classes apart: AUROC and accuracy, each with a 95 % interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its 95 % confidence interval; nan where it is not defined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


UNDEFINED = Interval(math.nan, math.nan, math.nan)


def midranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks from 1, ties sharing their mean rank: `(N,) -> (N,)`."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank = last - (counts - 1) / 2
    return np.asarray(mean_rank[inverse], dtype=np.float64)


def auroc(
    positive: NDArray[np.bool_], score: NDArray[np.floating], patient: NDArray[np.integer] | None = None
) -> Interval:
    """Area under the ROC curve with a 95 % interval: DeLong's, or where patients repeat, Obuchowski's.

    positive: `(N,)` bool; score: `(N,)`, higher for the positive class; patient: `(N,)` integer codes, by default each row
    is a patient of its own. The interval is taken on the logit scale, so that it stays within 0 and 1. At 0 and 1 it is the
    exact one of as many independent pairs as there are patients on the smaller side. Undefined (nan) where a class is absent.

    DeLong et al., Biometrics 44 (1988); Sun and Xu, IEEE Signal Processing Letters 21 (2014), for the ranks; Obuchowski,
    Biometrics 53 (1997), for patients with several rows, whose rows are not independent.
    """
    positive = np.asarray(positive, dtype=bool)
    score = np.asarray(score, dtype=np.float64)
    cases, controls = score[positive], score[~positive]
    m, n = len(cases), len(controls)
    if m == 0 or n == 0 or not np.isfinite(score).all():
        return UNDEFINED
    pooled = midranks(np.concatenate([cases, controls]))
    within_cases, within_controls = midranks(cases), midranks(controls)
    area = float((pooled[:m].sum() - m * (m + 1) / 2) / (m * n))
    above = (pooled[:m] - within_cases) / n
    below = 1 - (pooled[m:] - within_controls) / m
    groups = np.arange(m + n) if patient is None else np.unique(patient, return_inverse=True)[1]
    of_cases, of_controls = groups[positive], groups[~positive]
    if len(np.unique(of_cases)) < 2 or len(np.unique(of_controls)) < 2:
        return Interval(area, math.nan, math.nan)
    smaller = min(len(np.unique(of_cases)), len(np.unique(of_controls)))
    if area in (0.0, 1.0):
        # of k pairs of patients that share nobody all are in order; the chance of that is area**k, 2.5 % at the bound
        bound = 0.025 ** (1 / smaller)
        return Interval(area, bound, 1.0) if area else Interval(area, 0.0, 1 - bound)
    variance = _variance(area, above, below, of_cases, of_controls)
    if variance == 0:  # all scores are tied
        variance = area * (1 - area) / smaller
    half = Z95 * math.sqrt(variance) / (area * (1 - area))
    centre = math.log(area / (1 - area))
    return Interval(area, min(_sigmoid(centre - half), area), max(_sigmoid(centre + half), area))


def _variance(
    area: float,
    above: NDArray[np.float64],
    below: NDArray[np.float64],
    of_cases: NDArray[np.integer],
    of_controls: NDArray[np.integer],
) -> float:
    """Variance of the area from the placements of cases and controls, summed within patients; DeLong's where none repeats."""
    m, n = len(above), len(below)
    patients = int(max(of_cases.max(), of_controls.max())) + 1
    cases = np.bincount(of_cases, above - area, minlength=patients)
    controls = np.bincount(of_controls, below - area, minlength=patients)
    with_cases, with_controls = len(np.unique(of_cases)), len(np.unique(of_controls))
    return float(
        with_cases / (with_cases - 1) * (cases**2).sum() / m**2
        + with_controls / (with_controls - 1) * (controls**2).sum() / n**2
        + 2 * patients / (patients - 1) * (cases * controls).sum() / (m * n)
    )


def auroc_of_classes(
    target: NDArray[np.integer], probability: NDArray[np.floating], patient: NDArray[np.integer] | None = None
) -> Interval:
    """AUROC of predicted probabilities `(N, K)` for classes `(N,)`; patient as in `auroc`.

    Two classes: that of the second. More: the mean over classes of one against the rest, among the classes that occur
    on both sides, with an interval from the mean of the standard errors (which is on the safe side of independent ones).
    """
    target = np.asarray(target)
    if probability.shape[1] == 2:
        return auroc(target == 1, probability[:, 1], patient)
    each = [auroc(target == k, probability[:, k], patient) for k in range(probability.shape[1])]
    defined = [one for one in each if not math.isnan(one.value)]
    if not defined:
        return UNDEFINED
    return Interval(
        float(np.mean([one.value for one in defined])),
        float(np.mean([one.low for one in defined])),
        float(np.mean([one.high for one in defined])),
    )


def accuracy(
    target: NDArray[np.integer], probability: NDArray[np.floating], patient: NDArray[np.integer] | None = None
) -> Interval:
    """Share of rows whose most probable class is the true one, with Wilson's 95 % interval.

    target: `(N,)`; probability: `(N, K)`; patient: `(N,)` integer codes, by default each row is a patient of its own. Where
    patients repeat, the interval is that of as many rows as have the same variance. Wilson, JASA 22 (1927); Kish, "Survey
    sampling", 1965, ch. 8, for the effective number of rows.
    """
    n: float = len(target)
    if n == 0:
        return UNDEFINED
    right = probability.argmax(axis=1) == target
    share = float(right.mean())
    if patient is not None:
        n = _effective_rows(right, share, np.unique(patient, return_inverse=True)[1])
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n)) / (1 + Z95**2 / n)
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def _effective_rows(right: NDArray[np.bool_], share: float, patient: NDArray[np.integer]) -> float:
    rows, patients = len(right), int(patient.max()) + 1
    if patients == rows:
        return rows
    if share in (0.0, 1.0) or patients < 2:
        return patients
    of_patient = np.bincount(patient, right - share)
    variance = patients / (patients - 1) * float((of_patient**2).sum()) / rows**2
    return share * (1 - share) / variance if variance else rows


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
