"""Metrics of labels, grades, numbers and times agree with independent implementations; their intervals with a bootstrap."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, mean_absolute_error, r2_score, roc_auc_score, root_mean_squared_error
from statsmodels.duration.survfunc import SurvfuncRight

from medfusion_jupyter.metrics import (
    accuracy,
    auroc,
    auroc_of_labels,
    brier_score,
    c_index,
    macro_auroc,
    mae,
    measure,
    predicted_grades,
    quadratic_kappa,
    r2,
    rmse,
    spearman,
    uno_c,
)
from medfusion_jupyter.metrics.survival import still_followed
from medfusion_jupyter.settings.watched import METRICS, METRICS_OF


def numbers(n=200, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.gamma(2, 10, n)
    return y, y + rng.normal(0, 8, n)


def study(n=150):
    """Times, events and a rounded risk of n rows, and survival curves at five times."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=n)
    life, lost = rng.exponential(np.exp(-x)), rng.exponential(1.5, n)
    time, event = np.minimum(life, lost), (life <= lost).astype(float)
    risk = np.round(x + rng.normal(size=n), 1)
    times = np.quantile(time, [0.1, 0.3, 0.5, 0.7, 0.9])
    return time, event, risk, times, np.exp(-np.exp(0.7 * risk)[:, None] * times)


def test_numbers_agree_with_scikit_learn_and_scipy():
    y, p = numbers()
    for ours, theirs in ((mae, mean_absolute_error), (rmse, root_mean_squared_error), (r2, r2_score)):
        assert ours(y, p).value == pytest.approx(theirs(y, p))
    tied = np.round(p, -1)
    assert spearman(y, tied).value == pytest.approx(spearmanr(y, tied).statistic)


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_kappa_agrees_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    y, p = rng.integers(0, 5, (2, 60))
    assert quadratic_kappa(y, p).value == pytest.approx(cohen_kappa_score(y, p, weights="quadratic"))


def test_the_predicted_grade_is_the_middle_of_the_distribution():
    assert list(predicted_grades(np.asarray([[0.4, 0.2, 0.4], [0.6, 0.0, 0.4], [0.1, 0.2, 0.7]]))) == [1, 0, 2]


def test_labels_are_judged_where_they_are_known():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, (90, 3)).astype(float)
    probability = rng.random((90, 3))
    assert macro_auroc(target, probability).value == pytest.approx(roc_auc_score(target, probability, average="macro"))
    target[::3, 1] = np.nan
    known = ~np.isnan(target[:, 1])
    of_one = auroc_of_labels(target, probability)[1]
    assert of_one == auroc(target[known, 1] == 1, probability[known, 1])
    target[:, 2] = 0
    assert math.isnan(auroc_of_labels(target, probability)[2].value)
    assert not math.isnan(macro_auroc(target, probability).value)


def test_survival_agrees_with_scikit_survival():
    # the values of scikit-survival 0.28.0: concordance_index_censored, concordance_index_ipcw, integrated_brier_score
    time, event, risk, times, survival = study()
    assert c_index(time, event, risk).value == pytest.approx(0.6098863006100943)
    assert c_index(np.ceil(time * 5), event, risk).value == pytest.approx(0.614512805416544)
    assert uno_c(time, event, risk).value == pytest.approx(0.6029458547417107)
    assert brier_score(time, event, survival, times).value == pytest.approx(0.21381220702392684)


def test_who_is_still_followed_agrees_with_statsmodels():
    time, event, *_ = study()
    lost = SurvfuncRight(time, 1 - event)
    assert still_followed(time, event, lost.surv_times, after=True) == pytest.approx(lost.surv_prob)
    assert still_followed(time, event, np.asarray([0.0, time.min()])) == pytest.approx([1, 1])


@pytest.mark.parametrize("seed", range(3))
def test_harrell_s_c_is_the_share_of_pairs_in_order(seed):
    rng = np.random.default_rng(seed)
    time, event, risk = rng.integers(0, 6, 30), rng.integers(0, 2, 30), rng.integers(0, 4, 30).astype(float)
    right, pairs = 0.0, 0
    for i in range(30):
        for j in range(30):
            if event[i] and (time[i] < time[j] or (time[i] == time[j] and not event[j])):
                pairs += 1
                right += 1.0 if risk[i] > risk[j] else 0.5 * (risk[i] == risk[j])
    assert c_index(time, event, risk).value == pytest.approx(right / pairs)


def rows_of_patients(patients=80, seed=0):
    """Rows that hang together within patients: their codes, and something shared by the rows of each."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 6, patients))
    return patient, rng.normal(size=patients)[patient], rng


def clustered(name):
    """A statistic of row numbers, on rows that hang together within patients."""
    patient, shared, rng = rows_of_patients()
    n = len(patient)
    y = shared + 0.3 * rng.normal(size=n)
    p = y + 0.8 * rng.normal(size=80)[patient] + 0.2 * rng.normal(size=n)
    grades = np.digitize(y, [-0.7, 0.7]), np.digitize(p, [-0.7, 0.7])
    time, event = np.exp(-y), (rng.random(n) < 0.7).astype(float)
    right = (p > 0)[:, None] == np.asarray([False, True])
    curve = np.exp(-np.exp(p)[:, None] * np.asarray([0.3, 1.0, 2.0]))
    return patient, {
        "mae": lambda r, who=None: mae(y[r], p[r], who),
        "rmse": lambda r, who=None: rmse(y[r], p[r], who),
        "r2": lambda r, who=None: r2(y[r], p[r], who),
        "spearman": lambda r, who=None: spearman(y[r], p[r], who),
        "kappa": lambda r, who=None: quadratic_kappa(grades[0][r], grades[1][r], who),
        "c_index": lambda r, who=None: c_index(time[r], event[r], p[r], who),
        "uno_c": lambda r, who=None: uno_c(time[r], event[r], p[r], who),
        "brier": lambda r, who=None: brier_score(time[r], event[r], curve[r], np.asarray([0.3, 1.0, 2.0]), who),
        "accuracy": lambda r, who=None: accuracy((y[r] > 0).astype(int), right[r].astype(float), who),
    }[name]


@pytest.mark.parametrize("name", ["mae", "rmse", "r2", "spearman", "kappa", "c_index", "uno_c", "brier", "accuracy"])
def test_the_interval_is_that_of_resampled_patients(name):
    patient, statistic = clustered(name)
    rows_of = [np.flatnonzero(patient == k) for k in range(80)]
    rng = np.random.default_rng(1)
    drawn = [statistic(np.concatenate([rows_of[k] for k in rng.integers(0, 80, 80)])).value for _ in range(400)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    every = np.arange(len(patient))
    one, as_if = statistic(every, patient), statistic(every)
    assert one.low < one.value < one.high
    assert one.high - one.low == pytest.approx(high - low, rel=0.25)
    assert (as_if.high - as_if.low) < 0.9 * (one.high - one.low)  # rows are no patients


def test_intervals_stay_where_values_can_be():
    y, p = numbers(12)
    assert mae(y, p).low > 0
    assert r2(y, p).high < 1
    assert -1 < spearman(y, -p).low < spearman(y, -p).high < 0
    time, event, *_ = study(12)
    assert c_index(time, event, -time + np.arange(12) % 3).low > 0


@pytest.mark.parametrize("side", [0, 1])
def test_where_all_is_right_or_wrong_the_bound_is_exact(side):
    # 0.025 = bound ** 20: twenty independent pairs are all in order once in forty times, were the truth at the bound
    bound = 0.025 ** (1 / 20)
    area = auroc(np.arange(60) >= 20, np.arange(60) * (1.0 if side else -1.0))
    assert (area.low, area.high) == pytest.approx((bound, 1) if side else (0, 1 - bound))
    time = np.arange(40.0)
    c = c_index(time, np.ones(40), -time if side else time)
    assert (c.low, c.high) == pytest.approx((bound, 1) if side else (0, 1 - bound))


def test_nothing_to_judge_is_nan_and_not_a_crash():
    nothing, one = np.zeros(0), np.ones(1)
    for metric in (mae, rmse, r2, spearman, quadratic_kappa):
        assert math.isnan(metric(nothing, nothing).value)
        assert math.isnan(metric(one, one).low)
    assert math.isnan(c_index(np.arange(5.0), np.zeros(5), np.arange(5.0)).value)
    assert math.isnan(c_index(np.arange(5.0), np.ones(5), np.full(5, np.nan)).value)
    assert math.isnan(brier_score(np.arange(5.0), np.ones(5), np.ones((5, 1)), np.ones(1)).value)


@pytest.mark.parametrize("task", METRICS_OF)
def test_every_metric_that_can_be_watched_is_computed(task):
    rng = np.random.default_rng(0)
    target = {
        "classification": rng.integers(0, 3, 40),
        "multilabel": rng.integers(0, 2, (40, 3)).astype(float),
        "ordinal": rng.integers(0, 3, 40),
        "regression": rng.normal(size=40),
        "survival": np.stack([rng.exponential(1, 40), rng.integers(0, 2, 40)], axis=1),
    }[task]
    found = measure(task, target, rng.random((40, 3)), times=np.asarray([0.2, 0.6]))
    assert set(METRICS_OF[task]) <= set(found) <= set(METRICS)
