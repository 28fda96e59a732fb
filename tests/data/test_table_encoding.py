"""The table's encoding is fit on the training part alone, and says what was missing."""

import json
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import medfusion as mf
from medfusion_jupyter.data import TableEncoder


def _cohort(**columns):
    n = len(next(iter(columns.values())))
    frame = pd.DataFrame({**columns, "y": [0, 1] * (n // 2) + [0] * (n % 2)})
    numeric = [name for name in columns if name.startswith("n")]
    return mf.Cohort(frame, target="y", numeric=numeric, categorical=[c for c in columns if c.startswith("c")])


def test_only_the_training_part_is_learned_from():
    train = _cohort(n=[1.0, 3.0], c=["a", "b"])
    encoder = TableEncoder.fit(train)
    other = _cohort(n=[1000.0, 2.0], c=["z", "b"])
    arrays = encoder.transform(other)
    assert arrays.numeric[1, 0] == 0
    assert arrays.numeric[0, 0] == 10
    assert list(arrays.codes[:, 0]) == [0, 2]
    assert TableEncoder.fit(train) == encoder


def test_missing_values_and_detection_limits_each_give_an_indicator():
    cohort = _cohort(n=[1.0, 2.0, 3.0, np.nan, -np.inf, np.inf])
    encoder = TableEncoder.fit(cohort)
    numeric = encoder.transform(cohort).numeric
    assert encoder.num_features == numeric.shape[1] == 4
    scaled, missing, below, above = numeric.T
    assert list(missing) == [0, 0, 0, 1, 0, 0]
    assert list(below) == [0, 0, 0, 0, 1, 0]
    assert list(above) == [0, 0, 0, 0, 0, 1]
    assert scaled[3] == scaled[1]  # the median
    assert scaled[4] == scaled[0]  # not below the lowest number
    assert scaled[5] == scaled[2]


def test_an_indicator_that_training_never_saw_is_not_made():
    encoder = TableEncoder.fit(_cohort(n=[1.0, 2.0]))
    assert encoder.num_features == 1
    assert encoder.transform(_cohort(n=[np.nan, 1.0])).numeric[0, 0] == 0


def test_a_row_without_any_value_is_absent():
    encoder = TableEncoder.fit(_cohort(n=[1.0, 2.0, 3.0], c=["a", "b", None]))
    arrays = encoder.transform(_cohort(n=[np.nan, np.inf, np.nan], c=[None, None, "a"]))
    assert list(arrays.present) == [False, True, True]


def test_a_column_that_is_empty_in_training_is_left_out():
    with pytest.warns(UserWarning, match="n2"):
        encoder = TableEncoder.fit(_cohort(n1=[1.0, 2.0], n2=[np.nan, np.nan]))
    assert encoder.num_features == 1


@given(st.lists(st.one_of(st.floats(-1e12, 1e12), st.sampled_from([np.nan, np.inf, -np.inf])), min_size=2, max_size=40))
def test_whatever_is_in_a_column_the_encoding_is_finite_and_survives_json(values):
    with pytest.warns(UserWarning, match="without any value") if not np.isfinite(values).any() else nullcontext():
        cohort = _cohort(n=values)
    encoder = TableEncoder.fit(cohort)
    arrays = encoder.transform(cohort)
    assert np.isfinite(arrays.numeric).all()
    again = TableEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    assert np.array_equal(again.transform(cohort).numeric, arrays.numeric)
