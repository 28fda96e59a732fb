"""Laboratory values as they are written: with units, beyond a detection limit, with dates; alike in training and prediction."""

import numpy as np
import pandas as pd
import pytest

import medfusion as mf
from medfusion_jupyter.data import CohortError

TINY = {"image_encoder": None, "epochs": 1, "batch_size": 8, "device": "cpu"}


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(2, 1, 40))
    return pd.DataFrame(
        {
            "ill": np.arange(40) % 2,
            "crp": [f"{x:.1f} mg/L" if x > 3 else "<3 mg/L" for x in values],
            "ldh [U/l]": rng.normal(200, 30, 40),
            "born": pd.to_datetime("1950-01-01") + pd.to_timedelta(rng.integers(0, 9000, 40), unit="D"),
            "seen": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, 40), unit="D"),
        }
    )


def cohort_of(table, **more):
    return mf.Cohort(table, target="ill", **{"numeric": ["crp", "ldh [U/l]", "born_offset"], **more})


def test_values_with_units_limits_and_dates_train_and_predict_as_they_are_written(table, tmp_path):
    days = mf.days_since(table, "seen")
    days.to_csv(tmp_path / "table.csv", index=False)
    cohort = cohort_of(tmp_path / "table.csv")
    assert (cohort.numbers("crp") == -np.inf).any()
    model = mf.train(cohort, **TINY).wait().model
    assert model.spec.units == {"crp": "mg/L", "ldh [U/l]": "U/l"}
    assert next(column for column in model.spec.table.columns if column.name == "crp").below
    predicted = model.predict(days)
    assert np.isfinite(predicted.to_numpy()).all()
    below = days.assign(crp="<3 mg/L")
    # beyond the limit is not the same as the limit
    assert not np.allclose(model.predict(below), model.predict(days.assign(crp="3 mg/L")))
    loaded = mf.load_model(model.name)
    assert loaded.spec.units == model.spec.units
    assert np.array_equal(loaded.predict(days), predicted)


def test_a_column_in_another_unit_is_refused_by_name(table):
    days = mf.days_since(table, "seen")
    model = mf.train(cohort_of(days), **TINY).wait().model
    other = days.assign(crp=[text.replace("mg/L", "mg/dL") for text in days["crp"]])
    with pytest.raises(CohortError, match="column 'crp' is in mg/dL here, and the model learned it in mg/L: convert"):
        model.predict(other)
    # another way to write the same, or none at all, is taken for the same
    same = days.assign(crp=[text.replace("mg/L", "mg/l") for text in days["crp"]])
    plain = days.assign(crp=[text.replace(" mg/L", "") for text in days["crp"]])
    assert np.array_equal(model.predict(same), model.predict(plain))


def test_a_cohort_that_was_kept_still_knows_its_units(table, medfusion_home):
    cohort = cohort_of(mf.days_since(table, "seen")).save("units")
    again = mf.Cohort.read(medfusion_home / "datasets" / cohort.fingerprint)
    assert again.units == cohort.units == {"crp": "mg/L", "ldh [U/l]": "U/l", "born_offset": None}
    assert np.array_equal(again.numbers("crp"), cohort.numbers("crp"), equal_nan=True)
    assert again.filter("crp", at_least=3).units["crp"] == "mg/L"


def test_dates_are_refused_with_the_way_to_use_them(table):
    with pytest.raises(CohortError, match=r"'born' holds dates.*mf\.days_since"):
        cohort_of(table, numeric=["born"])
