"""An evaluation is of patients that were not trained on, with intervals that respect patients."""

import numpy as np
import pytest

import medfusion as mf
from medfusion_jupyter.training import ModelError


@pytest.fixture
def cohort(medfusion_home):
    return mf.synthetic_cohort(n=200, seed=0, image_size=16)


def trained(cohort, **settings):
    fast = {"image_encoder": None, "epochs": 2, "lr": 2e-3, "device": "cpu"}
    return mf.train(cohort, **{**fast, **settings}).wait().model


def test_the_test_part_is_what_the_split_said(cohort):
    model = trained(cohort, name="icu")
    result = mf.evaluate(model, split="test")
    assert result.rows == len(cohort.split(test=0.2, val=0.2, seed=0).test)
    assert result.auroc.low <= result.auroc.value <= result.auroc.high
    assert result.method == "DeLong and Wilson"
    assert "icu v1" in repr(result)
    assert "AUROC" in result._repr_html_()


def test_it_agrees_with_the_predictions(cohort):
    model = trained(cohort)
    test = cohort.split(test=0.2, val=0.2, seed=0).test
    share = (model.predict(test).idxmax(axis=1) == test.frame["lesion"]).mean()
    assert mf.evaluate(model).accuracy.value == pytest.approx(share)
    assert mf.evaluate(model, test).auroc == mf.evaluate(model).auroc


def test_where_patients_repeat_whole_patients_are_resampled(cohort):
    frame = cohort.frame.assign(patient=[f"p{k // 2}" for k in range(len(cohort))])
    repeated = mf.Cohort(frame, target="lesion", patient="patient", numeric=["marker"], categorical=[])
    result = mf.evaluate(trained(repeated))
    assert result.patients < result.rows
    assert "patients" in result.method


def test_a_class_that_the_model_does_not_know_is_named(cohort):
    model = trained(cohort)
    frame = cohort.frame.copy()
    frame.loc[frame.index[:5], "lesion"] = "perhaps"
    other = mf.Cohort(frame, target="lesion", numeric=["marker", "age"], categorical=["sex"])
    with pytest.raises(ModelError, match="perhaps"):
        mf.evaluate(model, other)


def test_names_are_escaped(cohort):
    assert "<script>" not in mf.evaluate(trained(cohort, name="<script>alert(1)</script>"))._repr_html_()


def test_an_unknown_or_empty_part_is_refused(cohort):
    model = trained(cohort, test=0.0)
    with pytest.raises(ModelError, match="train, val or test"):
        mf.evaluate(model, split="holdout")
    with pytest.raises(ModelError, match="no rows"):
        mf.evaluate(model, split="test")
    assert np.isfinite(mf.evaluate(model, split="val").auroc.value)
