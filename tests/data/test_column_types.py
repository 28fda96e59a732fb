"""What a column seems to be is shown and can be corrected; units, dates and sentences are told from plain values."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import medfusion as mf
from medfusion_jupyter.data import CohortError, tables


def table(n=60):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": [f"p{k:03d}" for k in range(n)],
            "number": np.arange(1000, 1000 + n),
            "crp [mg/L]": ["<0.5", *rng.normal(50, 9, n - 1).round(1).astype(str)],
            "dose": [f"{k}.5 mg" for k in range(n)],
            "stage": np.arange(n) % 4,
            "ventilated": np.arange(n) % 2,
            "sex": ["m", "f"] * (n // 2),
            "admitted": pd.date_range("2026-01-01", periods=n).strftime("%Y-%m-%d"),
            "report": [f"The heart is of normal size, finding {k}." for k in range(n)],
            "empty": None,
        }
    )


def test_each_column_is_shown_as_what_it_seems_to_be_and_why():
    columns = mf.infer_columns(table())
    assert {name: column.kind for name, column in columns.items()} == {
        "id": "name",
        "number": "name",
        "crp [mg/L]": "number",
        "dose": "number",
        "stage": "number",
        "ventilated": "category",
        "sex": "category",
        "admitted": "date",
        "report": "text",
        "empty": "empty",
    }
    assert (columns["crp [mg/L]"].unit, columns["dose"].unit) == ("mg/L", "mg")
    assert "1 beyond a detection limit" in columns["crp [mg/L]"].why
    assert "correct it to category" in columns["stage"].why
    for name, column in columns.items():
        assert name in columns._repr_html_()
        assert column.why in repr(columns)


def test_whoever_knows_better_corrects_it():
    columns = mf.infer_columns(table()).corrected(stage="category").without("dose", "ventilated")
    assert columns["stage"].why == "you said so"
    assert (columns.numeric, columns.categorical) == (["crp [mg/L]"], ["stage", "sex"])
    cohort = mf.Cohort(table(), target="ventilated", numeric=columns.numeric, categorical=columns.categorical)
    assert cohort.units == {"crp [mg/L]": "mg/L"}
    assert "number, mg/L" in cohort._repr_html_()
    with pytest.raises(CohortError, match=r"no column 'stge'. Did you mean 'stage'"):
        columns.corrected(stge="category")
    with pytest.raises(CohortError, match="no kind 'code'. Choose number, category"):
        columns.corrected(stage="code")


def test_a_csv_is_read_and_names_are_escaped(tmp_path):
    (tmp_path / "d.csv").write_text("<b>x</b>,y\n1.5,0\n2.5,1\n")
    columns = mf.infer_columns(tmp_path / "d.csv")
    assert columns.numeric == ["<b>x</b>"]
    assert "<b>" not in columns._repr_html_()


def numbers(*values):
    return tables.numbers(pd.Series(values, dtype=object), "crp")


def test_a_unit_may_be_written_with_the_values():
    assert numbers("12 mg/L", "<0.5 mg/L", "1,000 mg/L", None, 3.5).tolist()[:3] == [12, -np.inf, 1000]
    assert tables.unit_of(pd.Series(["98 %", "97%"]), "saturation") == "%"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["12 mg/L", "1.2 mg/dL"], "several units: 1 in 'mg/L', 1 in 'mg/dL'. Convert them to one"),
        (["3,5", "4,25"], "a decimal comma, such as '3,5', '4,25'.*decimal=','"),
        (["2026-11-24", "2026-11-25"], "holds dates, such as '2026-11-24'.*mf.days_since"),
        (["high", "3"], "1 values that are no numbers, such as 'high'"),
        (["1.2.3", "5"], "no numbers, such as '1.2.3'"),
    ],
)
def test_what_is_no_number_is_refused_with_what_to_do(values, words):
    with pytest.raises(CohortError, match=words):
        numbers(*values)
    with pytest.raises(CohortError, match="holds dates"):
        tables.numbers(pd.Series(pd.to_datetime(["2026-11-24"])), "admitted")


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1), st.sampled_from(["", " mg/L", "%", " U/l"]))
def test_what_a_program_writes_is_read_back(values, unit):
    read = numbers(*[f"{value}{unit}" if np.isfinite(value) else str(value) for value in values])
    assert np.array_equal(read, values)


def test_dates_become_days_since_another_and_the_reference_goes():
    frame = pd.DataFrame(
        {
            "born": ["1960-01-01", "1970-06-01", None],
            "admitted": ["2026-01-10", "2026-01-10 12:00", "2026-01-10T00:00:00+02:00"],
            "operated": pd.to_datetime(["2026-01-12", "2026-01-09", None]),
            "crp": [1, 2, 3],
        }
    )
    before = frame.copy(deep=True)
    days = mf.days_since(frame, "admitted")
    assert list(days) == ["born_offset", "operated_offset", "crp"]
    assert days["operated_offset"].tolist()[:2] == [2, -1.5]
    assert np.isnan(days["operated_offset"][2])
    pd.testing.assert_frame_equal(frame, before)
    assert list(mf.days_since(frame, "admitted", ["operated"])) == ["born", "operated_offset", "crp"]
    with pytest.raises(CohortError, match="'crp' has 3 values that are no dates"):
        mf.days_since(frame.astype({"crp": str}).replace({"crp": "x"}).assign(crp="x"), "admitted", ["crp"])
    with pytest.raises(CohortError, match="no column 'admited'. Did you mean 'admitted'"):
        mf.days_since(frame, "admited")


def test_sentences_are_refused_as_categories():
    with pytest.raises(CohortError, match=r"'report' holds text .* leave the text out"):
        mf.Cohort(table(), target="ventilated", categorical=["report"])
