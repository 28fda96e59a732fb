"""A synthetic cohort has the ceiling that it says: who knows what is hidden reaches it, and what it shows is what is hidden."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

import medfusion as mf
from medfusion_jupyter.data import CohortError, PixelCache
from medfusion_jupyter.data.synthetic import arms
from medfusion_jupyter.data.synthetic.pictures import BRIGHTEST, ROOM, SHADING, picture

N = 20_000
ERROR = 4 * math.sqrt(0.25 / (N / 2))
"""Four standard errors of an AUROC of N rows at most."""

seeds = st.integers(0, 10**6)


def test_the_best_possible_results_are_those_of_the_formulas():
    best = mf.synthetic_cohort(n=20, d_image=1.2, d_table=0.9).best_auroc
    assert {name: round(value, 3) for name, value in best.items()} == {"image": 0.802, "table": 0.738, "both": 0.856}
    assert arms.best_independent(1.2, 0.9, missing_table=0.3)["both"] == pytest.approx(0.8407, abs=5e-5)
    assert arms.best_interaction(1.5) == {"image": 0.5, "table": 0.5, "both": pytest.approx(0.8176, abs=5e-5)}
    assert arms.best_survival(1)["both"] == pytest.approx(0.725, abs=5e-4)


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(0, 3), st.floats(0, 3), st.floats(0, 0.9))
def test_an_oracle_reaches_the_ceiling_of_the_independent_arm(seed, d_image, d_table, missing):
    drawn = arms.draw_independent(
        N, np.random.default_rng(seed), d_image=d_image, d_table=d_table, missing_table=missing
    )
    best = arms.best_independent(d_image, d_table, missing_table=missing)
    for name, score in {
        "image": drawn.oracle(d_image, 0),
        "table": drawn.oracle(0, d_table),
        "both": drawn.oracle(d_image, d_table),
    }.items():
        assert roc_auc_score(drawn.target, score) == pytest.approx(best[name], abs=ERROR), name


@settings(max_examples=5, deadline=None)
@given(seeds, st.integers(2, 5))
def test_all_images_of_a_patient_tell_more_than_one(seed, k):
    drawn = arms.draw_independent(N, np.random.default_rng(seed), d_image=0.8, d_table=0.5, images_per_patient=k)
    best = arms.best_independent(0.8, 0.5, images_per_patient=k)
    assert roc_auc_score(drawn.target, drawn.oracle(0.8, 0.5)) == pytest.approx(best["both"], abs=ERROR)
    of_patient = np.bincount(drawn.patient, 0.8 * drawn.image) + 0.5 * drawn.table[::k]
    assert roc_auc_score(drawn.target[::k], of_patient) == pytest.approx(best["patient"], abs=ERROR)
    assert best["patient"] > best["both"]


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(-3, 3))
def test_an_oracle_reaches_the_ceiling_of_the_interaction_and_neither_sign_tells_anything(seed, k):
    drawn = arms.draw_interaction(N, np.random.default_rng(seed), k=k)
    best = arms.best_interaction(k)
    both = math.copysign(1, k) * drawn.image * drawn.table
    assert roc_auc_score(drawn.target, both) == pytest.approx(best["both"], abs=ERROR)
    for alone in (drawn.image, drawn.table):
        assert roc_auc_score(drawn.target, alone) == pytest.approx(0.5, abs=ERROR)


def c_index(drawn, score, pairs=400_000):
    """Harrell's, over pairs drawn at random."""
    i, j = np.random.default_rng(0).integers(0, len(score), (2, pairs))
    first = np.where(drawn.time[i] < drawn.time[j], i, j)
    last = np.where(first == i, j, i)
    known = drawn.event[first] & (i != j)
    return np.mean(score[first[known]] > score[last[known]])


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(0.2, 3), st.sampled_from([0, 0.3, 2]))
def test_an_oracle_reaches_the_ceiling_of_survival(seed, s, censoring):
    drawn = arms.draw_survival(N, np.random.default_rng(seed), s=s, censoring=censoring)
    best = arms.best_survival(s, censoring=censoring)
    assert c_index(drawn, drawn.image + drawn.table) == pytest.approx(best["both"], abs=ERROR)
    assert c_index(drawn, drawn.image) == pytest.approx(best["image"], abs=ERROR)
    assert drawn.event.all() == (censoring == 0)


def _strengths(cohort, tmp_path):
    """What an eye that knows nothing but lesions sees: the middle of each image, against its border's slope and brightness."""
    pixels = PixelCache.open(cohort.image_paths, size=32, cache_dir=tmp_path).pixels[:, 0].astype(float)
    y, x = np.mgrid[0:32, 0:32]
    border = (np.abs(x - 15.5) > 12.5) | (np.abs(y - 15.5) > 12.5)
    plane = np.stack([np.ones(border.sum()), x[border], y[border]], axis=1)
    fitted = np.linalg.lstsq(plane, pixels[:, border].T, rcond=None)[0].T @ np.stack(
        [np.ones(1024), x.ravel(), y.ravel()]
    )
    return (pixels - fitted.reshape(-1, 32, 32))[:, 8:24, 8:24].mean(axis=(1, 2))


@pytest.mark.parametrize("nuisance", [0, 1])
def test_marker_and_lesion_carry_the_class_as_strongly_as_they_say_and_independently(tmp_path, nuisance):
    n = 3000
    cohort = mf.synthetic_cohort(n=n, seed=3, nuisance=nuisance)
    y = cohort.target_codes
    marker = cohort.numbers("marker")
    error = 3 * math.sqrt(0.25 / (n / 2))
    assert roc_auc_score(y, marker) == pytest.approx(cohort.best_auroc["table"], abs=error)
    seen = _strengths(cohort, tmp_path)
    assert roc_auc_score(y, seen) == pytest.approx(cohort.best_auroc["image"], abs=error + 0.02)
    for k in (0, 1):
        assert abs(np.corrcoef(marker[y == k], seen[y == k])[0, 1]) < 3 / math.sqrt(n / 2)


def test_a_missing_table_is_missing_whole_and_at_random():
    cohort = mf.synthetic_cohort(n=600, missing_table=0.3, image_size=16)
    absent = np.isnan(cohort.numbers("marker"))
    assert absent.mean() == pytest.approx(0.3, abs=0.06)
    assert np.isnan(cohort.numbers("age"))[absent].all()
    assert all(name is None for name in cohort.names("sex")[absent])
    assert roc_auc_score(cohort.target_codes, absent) == pytest.approx(0.5, abs=0.06)
    assert cohort.best_auroc == arms.best_independent(1.2, 0.9, missing_table=0.3)


def test_the_images_of_a_patient_share_its_table_and_class_and_are_not_the_same():
    cohort = mf.synthetic_cohort(n=40, images_per_patient=3, image_size=16)
    assert (len(cohort), cohort.num_patients) == (120, 40)
    by_patient = cohort.frame.groupby("patient")
    assert (by_patient["lesion"].nunique() == 1).all()
    assert (by_patient["marker"].nunique() == 1).all()
    assert cohort.frame["image"].is_unique
    assert not cohort.check().of("duplicates")


def test_the_interaction_is_in_what_is_shown(tmp_path):
    cohort = mf.synthetic_interaction(n=1500, k=1.5)
    seen = np.sign(_strengths(cohort, tmp_path)) * np.sign(cohort.numbers("marker") - 40)
    assert roc_auc_score(cohort.target_codes, seen) == pytest.approx(cohort.best_auroc["both"], abs=0.04)


def test_a_survival_cohort_shows_what_is_hidden():
    made = mf.synthetic_survival(n=50, s=1, censoring=0.5, image_size=16)
    assert {"patient", "image", "marker", "age", "sex", "months", "event"} == set(made.frame)
    assert made.target == mf.Survival(time="months", event="event")
    assert 0 < made.targets[:, 1].mean() < 1
    assert all(path is not None for path in made.image_paths)
    assert made.best_c_index == arms.best_survival(1, censoring=0.5)


@given(seeds, st.floats(0, 12), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_no_image_is_clipped(seed, strength, nuisance):
    contrast = min(BRIGHTEST, (ROOM - SHADING * nuisance) / max(1e-9, strength))
    for sign in (-1, 1):
        pixels = np.asarray(picture(sign * strength, 24, np.random.default_rng(seed), contrast, nuisance))
        assert pixels.dtype == np.uint16
        assert pixels.min() > 0
        assert pixels.max() < 65535


def test_the_same_seed_is_the_same_cohort_and_images_are_made_once(medfusion_home):
    one = mf.synthetic_cohort(n=30, seed=1)
    times = [path.stat().st_mtime_ns for path in one.image_paths]
    two = mf.synthetic_cohort(n=30, seed=1)
    assert one.fingerprint == two.fingerprint != mf.synthetic_cohort(n=30, seed=2).fingerprint
    assert [path.stat().st_mtime_ns for path in two.image_paths] == times
    assert all(path.is_relative_to(medfusion_home) for path in one.image_paths)


@pytest.mark.parametrize(
    "bad",
    [
        {"n": 5},
        {"image_size": 8},
        {"image_size": 5000},
        {"missing_table": 1},
        {"images_per_patient": 0},
        {"nuisance": -1},
    ],
)
def test_what_makes_no_cohort_is_refused(bad):
    with pytest.raises(CohortError, match="out of range|too few"):
        mf.synthetic_cohort(**{"n": 30, **bad})
