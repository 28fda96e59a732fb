"""Rows are chosen and columns computed by what is written, and a formula runs nothing."""

import math

import numpy as np
import pandas as pd
import pytest

import medfusion as mf
from medfusion_jupyter.data import CohortError
from medfusion_jupyter.data.formula import computed
from medfusion_jupyter.store import UnknownId

TABLE = pd.DataFrame(
    {
        "icu": ["no", "yes"] * 4,
        "crp": ["<5", 10, 20, None, 40, 50, ">300", 80],
        "ldh": [2.0, 5, 0, 4, 8, 10, 3, 20],
        "body mass": range(8),
        "site": ["a", "b", "a", "b", None, "a", "c", "c"],
    }
)


@pytest.fixture
def cohort():
    return mf.Cohort(TABLE, target="icu", numeric=["crp"])


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        ({"column": "crp", "at_least": 20}, [2, 4, 5, 6, 7]),
        ({"column": "crp", "at_most": 20}, [0, 1, 2]),
        ({"column": "crp", "at_least": 20, "at_most": 50, "keep_missing": True}, [2, 3, 4, 5]),
        ({"column": "site", "one_of": ["a", "c"]}, [0, 2, 5, 6, 7]),
        ({"column": "ldh", "one_of": ["5", "8"]}, [1, 4]),
    ],
)
def test_rows_are_kept_by_a_column(cohort, wanted, rows):
    assert cohort.filter(**wanted).frame["body mass"].tolist() == rows


def test_a_filter_names_what_is_wrong(cohort):
    with pytest.raises(CohortError, match="Did you mean 'crp'"):
        cohort.filter("crpp", at_least=1)
    with pytest.raises(CohortError, match="No row of 8 is left.*such as a, b, c"):
        cohort.filter("site", one_of=["d"])
    with pytest.raises(CohortError, match="one class only"):
        cohort.filter("body mass", at_most=0)


def test_a_column_is_computed_of_others_and_learned_from(cohort):
    made = cohort.derive("ratio", "crp / ldh")
    assert made.numeric == ["crp", "ratio"]
    np.testing.assert_array_equal(made.numbers("ratio"), [np.nan, 2, np.nan, np.nan, 5, 5, np.nan, 4])
    assert cohort.numeric == ["crp"]
    assert made.fingerprint != cohort.fingerprint
    with pytest.raises(CohortError, match="already"):
        made.derive("ratio", "ldh")


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("-ldh ** 2 + 1", -24.0),
        ("log(`body mass` + exp(0))", math.log(2)),
        ("minimum(ldh, 3) * maximum(ldh, 7) - abs(-1)", 20.0),
        ("sqrt(ldh) / log10(100)", math.sqrt(5) / 2),
    ],
)
def test_a_formula_is_arithmetic(formula, value):
    assert computed(formula, TABLE)[1] == pytest.approx(value)


@pytest.mark.parametrize(
    ("formula", "word"),
    [
        ("__import__('os').system('true')", "is not computed"),
        ("ldh.values", "is not computed"),
        ("ldh if crp else 1", "is not computed"),
        ("log(ldh, 2)", "takes 1 values"),
        ("ldh +", "cannot be read"),
        ("lhd + 1", "Did you mean 'ldh'"),
        ("'a' * 3", "is not computed"),
        ("(" * 500 + "1" + ")" * 500, "cannot be read"),
    ],
)
def test_a_formula_that_is_none_is_refused(formula, word):
    with pytest.raises(CohortError, match=word):
        computed(formula, TABLE)


def test_a_kept_cohort_is_loaded_by_its_name(store, cohort):
    cohort.save("kept")
    assert mf.Cohort.load("kept").fingerprint == cohort.fingerprint
    with pytest.raises(UnknownId, match="kept"):
        mf.Cohort.load("lost")


def test_bags_of_images_stay_together(tmp_path):
    from PIL import Image

    table = pd.DataFrame({"study": list("aabbccdd"), "file": [f"{k}.png" for k in range(8)]})
    table["icu"], table["age"] = ["no"] * 4 + ["yes"] * 4, [30, 30, 40, 40, 50, 50, 60, 60]
    for name in table["file"]:
        Image.new("L", (8, 8), 90).save(tmp_path / name)
    cohort = mf.Cohort(table, target="icu", image="file", image_root=tmp_path, bag="study", numeric=["age"])
    kept = cohort.filter("age", at_least=40).derive("decades", "age / 10")
    assert (len(kept), kept.numbers("decades").tolist()) == (3, [4, 5, 6])
    assert [[path.name for path in one] for one in kept.images[0]] == [
        ["2.png", "3.png"],
        ["4.png", "5.png"],
        ["6.png", "7.png"],
    ]
