"""The synthetic cohort has the ceiling that it says."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import medfusion as mf
from medfusion_jupyter.data import CohortError, PixelCache


def test_the_best_possible_auroc_is_that_of_the_formula():
    best = mf.synthetic_cohort(n=20, d_image=1.2, d_table=0.9).best_auroc
    assert {name: round(value, 3) for name, value in best.items()} == {"image": 0.802, "table": 0.738, "both": 0.856}


def test_marker_and_lesion_carry_the_class_as_strongly_as_they_say_and_independently(tmp_path):
    n = 3000
    cohort = mf.synthetic_cohort(n=n, seed=3)
    y = cohort.target_codes
    marker = cohort.numbers("marker")
    error = 3 * math.sqrt(0.25 / (n / 2))
    assert roc_auc_score(y, marker) == pytest.approx(cohort.best_auroc["table"], abs=error)
    pixels = PixelCache.open(cohort.image_paths, size=32, cache_dir=tmp_path).pixels.astype(float)
    middle = pixels[:, 0, 8:24, 8:24].mean(axis=(1, 2))
    lesion = roc_auc_score(y, middle)
    assert lesion == pytest.approx(cohort.best_auroc["image"], abs=error + 0.01)
    for k in (0, 1):
        assert abs(np.corrcoef(marker[y == k], middle[y == k])[0, 1]) < 3 / math.sqrt(n / 2)


def test_the_same_seed_is_the_same_cohort_and_images_are_made_once(medfusion_home):
    one = mf.synthetic_cohort(n=30, seed=1)
    times = [path.stat().st_mtime_ns for path in one.image_paths]
    two = mf.synthetic_cohort(n=30, seed=1)
    assert one.fingerprint == two.fingerprint != mf.synthetic_cohort(n=30, seed=2).fingerprint
    assert [path.stat().st_mtime_ns for path in two.image_paths] == times
    assert all(path.is_relative_to(medfusion_home) for path in one.image_paths)


@pytest.mark.parametrize("bad", [{"n": 5}, {"image_size": 8}, {"image_size": 5000}])
def test_what_makes_no_cohort_is_refused(bad):
    with pytest.raises(CohortError, match="out of range|too few"):
        mf.synthetic_cohort(**{"n": 30, **bad})
