"""Folds of a cross-validation: no patient on two sides, every row tested exactly once a repeat."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_split import cohorts

import medfusion as mf
from medfusion_jupyter.data import CohortError, folds_by_patient


@given(cohorts(), st.integers(2, 6), st.integers(1, 3), st.sampled_from([0.1, 0.2, 0.4]), st.integers(0, 5))
def test_every_row_is_tested_once_a_repeat_and_no_patient_is_on_two_sides(cohort, folds, repeats, val, seed):
    try:
        made = folds_by_patient(cohort, folds=folds, repeats=repeats, val=val, seed=seed)
    except CohortError as refused:
        assert "class" in str(refused)  # noqa: PT017 (most cohorts can be split)
        return
    assert [(one.repeat, one.fold) for one in made] == [
        (repeat, fold) for repeat in range(1, repeats + 1) for fold in range(1, folds + 1)
    ]
    for repeat in range(1, repeats + 1):
        of_repeat = [one.split for one in made if one.repeat == repeat]
        assert sorted(np.concatenate([split.rows["test"] for split in of_repeat])) == list(range(len(cohort)))
        tested = np.concatenate([split.patients["test"] for split in of_repeat])
        assert len(tested) == len(np.unique(tested)) == cohort.num_patients
    for one in made:
        split = one.split
        assert sorted(np.concatenate(list(split.rows.values()))) == list(range(len(cohort)))
        who = [set(part.frame["who"]) for part in (split.train, split.val, split.test)]
        assert not who[0] & who[1]
        assert not who[0] & who[2]
        assert not who[1] & who[2]
        for part in (split.train, split.val, split.test):
            assert set(part.frame["y"]) == set(cohort.frame["y"])
    again = folds_by_patient(cohort, folds=folds, repeats=repeats, val=val, seed=seed)
    assert all(
        np.array_equal(a.split.rows[part], b.split.rows[part])
        for a, b in zip(made, again, strict=True)
        for part in a.split.rows
    )


@given(st.integers(0, 1000), st.integers(2, 10), st.booleans())
def test_each_part_has_its_share_of_the_rows_and_of_each_class(seed, folds, repeated):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(300), rng.integers(1, 6, 300) if repeated else 1)
    target = rng.integers(0, 3, 300)[who]
    cohort = mf.Cohort(pd.DataFrame({"w": who, "y": target}), target="y", patient="w")
    largest = int(np.bincount(who).max())
    for one in folds_by_patient(cohort, folds=folds, repeats=1, val=0.2, seed=seed):
        for part, share in (("test", 1 / folds), ("val", 0.2), ("train", 0.8 - 1 / folds)):
            counts = np.bincount(target[one.split.rows[part]], minlength=3)
            # as near as whole patients allow
            assert counts == pytest.approx(share * np.bincount(target), abs=2 * largest + 1)


def test_another_repeat_and_another_seed_draw_other_folds():
    cohort = mf.Cohort(pd.DataFrame({"y": [0, 1] * 50}), target="y")
    first, second = folds_by_patient(cohort, folds=5, repeats=2, val=0.2, seed=0)[::5]
    other = folds_by_patient(cohort, folds=5, repeats=1, val=0.2, seed=1)[0]
    assert not np.array_equal(first.split.rows["test"], second.split.rows["test"])
    assert not np.array_equal(first.split.rows["test"], other.split.rows["test"])


@pytest.mark.parametrize(
    ("target", "settings", "words"),
    [
        ([0] * 20 + [1] * 4, {}, r"fewer patients than folds=5 needs \(5\): '1' \(4\). Take folds=4 at most"),
        ([0] * 20 + [1] * 3, {"folds": 2}, r"folds=2 needs \(4\): '1' \(3\)"),
        ([0, 1] * 9, {"folds": 1}, "folds=1 is out of range: give 2 to 500"),
        ([0, 1] * 9, {"repeats": 0}, "repeats=0 is out of range"),
        ([0, 1] * 9, {"folds": 2, "val": 0.5}, "val=0.5 leaves nothing to train on: with folds=2 .* less than 0.5"),
    ],
)
def test_what_cannot_be_folded_is_refused_with_the_reason(target, settings, words):
    cohort = mf.Cohort(pd.DataFrame({"y": target}), target="y")
    with pytest.raises(CohortError, match=words):
        folds_by_patient(cohort, **{"folds": 5, "repeats": 1, "val": 0.2, "seed": 0, **settings})
