"""Metrics agree with independent implementations, and their intervals cover."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from medfusion_jupyter.metrics import accuracy, auroc, auroc_of_classes
from medfusion_jupyter.metrics.discrimination import midranks


@given(
    scores=hnp.arrays(float, st.integers(4, 60), elements=st.integers(-5, 5).map(float)),
    data=st.data(),
)
def test_auroc_equals_an_independent_implementation_ties_included(scores, data):
    positive = np.asarray(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    if positive.all() or not positive.any():
        assert math.isnan(auroc(positive, scores).value)
        return
    one = auroc(positive, scores)
    assert one.value == pytest.approx(roc_auc_score(positive, scores))
    if 1 < positive.sum() < len(positive) - 1:
        assert 0 <= one.low <= one.value <= one.high <= 1
        assert one.high > one.low


@given(hnp.arrays(float, st.integers(1, 40), elements=st.integers(0, 6).map(float)))
def test_midranks_are_mean_ranks(values):
    expected = [(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values]
    assert np.allclose(midranks(values), expected)


def test_the_interval_of_auroc_covers_the_truth_about_19_times_in_20():
    generator = np.random.default_rng(0)
    truth = 0.8413447  # of two unit normals √2 apart
    covered = 0
    for _ in range(600):
        positive = generator.random(120) < 0.4
        score = generator.normal(size=120) + positive * math.sqrt(2)
        one = auroc(positive, score)
        covered += one.low <= truth <= one.high
    assert 0.925 <= covered / 600 <= 0.975


def test_it_covers_as_often_where_patients_have_many_rows():
    generator = np.random.default_rng(2)
    truth = 0.8413447
    covered, naive = 0, 0
    for _ in range(400):
        rows = generator.integers(1, 9, 80)
        patient = np.repeat(np.arange(80), rows)
        # the class may change within a patient, and so may the score, but they hang together
        leaning = generator.normal(size=80)[patient]
        positive = generator.random(len(patient)) < np.where(generator.random(80) < 0.5, 0.2, 0.8)[patient]
        score = (
            math.sqrt(0.7) * leaning + math.sqrt(0.3) * generator.normal(size=len(patient)) + positive * math.sqrt(2)
        )
        one, as_if = auroc(positive, score, patient), auroc(positive, score)
        covered += one.low <= truth <= one.high
        naive += as_if.low <= truth <= as_if.high
    assert 0.91 <= covered / 400 <= 0.98
    assert naive / 400 < covered / 400 - 0.05


def test_without_repeated_patients_it_is_delong_s():
    generator = np.random.default_rng(3)
    positive, score = generator.random(50) < 0.5, generator.normal(size=50)
    assert auroc(positive, score, generator.permutation(50)) == auroc(positive, score)


def test_several_classes_are_averaged_one_against_the_rest():
    generator = np.random.default_rng(1)
    target = generator.integers(0, 3, 90)
    probability = generator.dirichlet(np.ones(3), 90)
    assert auroc_of_classes(target, probability).value == pytest.approx(
        roc_auc_score(target, probability, multi_class="ovr")
    )


def test_two_classes_take_the_second_as_the_positive_one():
    probability = np.asarray([[0.9, 0.1], [0.2, 0.8]])
    assert auroc_of_classes(np.asarray([0, 1]), probability).value == 1.0


def test_scores_that_are_not_numbers_have_no_auroc():
    assert math.isnan(auroc(np.asarray([True, False]), np.asarray([math.nan, 0.1])).value)


@settings(max_examples=50)
@given(st.integers(1, 200), st.data())
def test_the_interval_of_accuracy_holds_it_and_stays_within_0_and_1(n, data):
    right = data.draw(st.integers(0, n))
    target = np.zeros(n, dtype=int)
    probability = np.tile([1.0, 0.0], (n, 1))
    probability[right:] = [0.0, 1.0]
    one = accuracy(target, probability)
    assert one.value == pytest.approx(right / n)
    assert 0 <= one.low <= one.value <= one.high <= 1


def test_repeating_every_row_of_a_patient_does_not_narrow_the_interval():
    generator = np.random.default_rng(2)
    target = (generator.random(60) < 0.5).astype(int)
    score = generator.normal(size=60) + target
    probability = np.stack([-score, score], axis=1)
    patient = np.arange(60)
    for metric in (auroc_of_classes, accuracy):
        once = metric(target, probability, patient)
        tenfold = metric(target.repeat(10), probability.repeat(10, axis=0), patient.repeat(10))
        assert tenfold.value == pytest.approx(once.value)
        assert tenfold.high - tenfold.low == pytest.approx(once.high - once.low, rel=0.15)
