"""A split never puts a patient on two sides, whatever the cohort looks like."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import medfusion as mf
from medfusion_jupyter.data import CohortError, Split


@st.composite
def cohorts(draw):
    """Cohorts of 12 to 60 patients with 1 to 9 rows each, of one class or changing, in 2 or 3 classes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    patients, classes = draw(st.integers(12, 60)), draw(st.integers(2, 3))
    rows = rng.integers(1, 10, patients) if draw(st.booleans()) else np.ones(patients, int)
    who = np.repeat(np.arange(patients), rows)
    per_patient = np.r_[np.tile(np.arange(classes), 3), rng.integers(0, classes, patients - 3 * classes)]
    changing = draw(st.booleans())
    target = np.where(
        rng.random(len(who)) < (0.2 if changing else 0), rng.integers(0, classes, len(who)), per_patient[who]
    )
    order = rng.permutation(len(who))
    return mf.Cohort(pd.DataFrame({"who": who[order], "y": target[order]}), target="y", patient="who")


@given(cohorts(), st.sampled_from([0.0, 0.1, 0.2, 0.3]), st.sampled_from([0.1, 0.2, 0.3]), st.integers(0, 5))
def test_no_patient_on_two_sides_every_row_once_every_class_everywhere(cohort, test, val, seed):
    try:
        split = cohort.split(test=test, val=val, seed=seed)
    except CohortError as refused:
        assert "class" in str(refused)  # noqa: PT017 (most cohorts can be split)
        return
    seen = [set(part.frame["who"]) for part in (split.train, split.val, split.test)]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    every = np.concatenate([split.rows[part] for part in ("train", "val", "test")])
    assert sorted(every) == list(range(len(cohort)))
    for part in (split.train, split.val, *([split.test] if test else [])):
        assert set(part.frame["y"]) == set(cohort.frame["y"])
    assert len(split.test) == 0 if test == 0 else len(split.test) > 0
    again = cohort.split(test=test, val=val, seed=seed)
    assert all(np.array_equal(split.rows[part], again.rows[part]) for part in split.rows)


def test_shares_of_rows_and_classes_are_kept():
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(400), rng.integers(1, 6, 400))
    target = (rng.random(400) < 0.2)[who].astype(int)
    split = mf.Cohort(pd.DataFrame({"w": who, "y": target}), target="y", patient="w").split(test=0.25, val=0.15)
    for part, share in (("train", 0.6), ("val", 0.15), ("test", 0.25)):
        rows = split.rows[part]
        assert len(rows) / len(who) == pytest.approx(share, abs=0.01)
        assert target[rows].mean() == pytest.approx(target.mean(), abs=0.01)


def test_other_seeds_give_other_splits():
    cohort = mf.Cohort(pd.DataFrame({"y": [0, 1] * 100}), target="y")
    assert not np.array_equal(cohort.split(seed=0).rows["test"], cohort.split(seed=1).rows["test"])


def test_a_split_with_a_patient_on_two_sides_cannot_be_made_by_hand():
    cohort = mf.Cohort(pd.DataFrame({"w": [1, 1, 2, 3], "y": [0, 1, 0, 1]}), target="y", patient="w")
    rows = {"train": np.array([0, 2]), "val": np.array([1]), "test": np.array([3])}
    with pytest.raises(CohortError, match="1 patients on two sides"):
        Split(cohort, rows)
    with pytest.raises(CohortError, match="a row in two parts"):
        Split(cohort, {**rows, "val": np.array([0])})


def _cohort(target, patient=None):
    frame = pd.DataFrame({"y": target, "w": patient if patient is not None else range(len(target))})
    return mf.Cohort(frame, target="y", patient="w")


@pytest.mark.parametrize(
    ("cohort", "settings", "words"),
    [
        (_cohort([0, 1, 0, 1], [1, 1, 2, 2]), {}, "2 patients cannot be split into 3 parts"),
        (_cohort([0] * 20 + [1, 1]), {}, r"fewer patients than there are parts \(3\): '1' \(2\)"),
        (_cohort([0, 1] * 9), {"test": 1.0}, "test=1.0 is no share"),
        (_cohort([0, 1] * 9), {"val": -0.1}, "val=-0.1 is no share"),
        (_cohort([0, 1] * 9), {"val": 0.5, "test": 0.5}, "leave nothing to train on"),
    ],
)
def test_what_cannot_be_split_is_refused_with_the_reason(cohort, settings, words):
    with pytest.raises(CohortError, match=words):
        cohort.split(**settings)


def test_it_comes_back_from_its_file_and_only_for_its_cohort(tmp_path):
    cohort = _cohort([0, 1] * 20)
    split = cohort.split()
    split.write(tmp_path / "split.json")
    again = Split.read(tmp_path / "split.json", cohort)
    assert all(np.array_equal(split.rows[part], again.rows[part]) for part in split.rows)
    with pytest.raises(CohortError, match="does not"):
        Split.read(tmp_path / "split.json", _cohort([0, 1] * 5))
    with pytest.raises(CohortError, match="no readable split"):
        Split.read(tmp_path / "none.json", cohort)


def test_the_view_counts_each_part():
    shown = _cohort(["<b>", "x"] * 20).split()._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "<td>train</td><td>24</td><td>24</td>" in shown
