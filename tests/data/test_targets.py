"""What a cohort is learned for: how each kind of target is read, refused, split, described, checked and kept."""

import json

import numpy as np
import pandas as pd
import pytest

import medfusion as mf
from medfusion_jupyter.data import CohortError, folds_by_patient, target_of
from medfusion_jupyter.data.target_of import TARGETS
from medfusion_jupyter.store import open_store

N = 120


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    x = rng.normal(size=N)
    return pd.DataFrame(
        {
            "patient": [f"secret-{k // 2}" for k in range(N)],
            "x": x,
            "edema": np.where(np.arange(N) % 10 == 9, None, np.where(x > 0, "yes", "no")),
            "effusion": (rng.random(N) < 0.3).astype(float),
            "grade": rng.choice(["mild", "moderate", "severe"], N),
            "bmi": 25 + 4 * x,
            "days": rng.exponential(300, N).round(),
            "death": rng.random(N) < 0.6,
            "part_known": np.where(np.arange(N) % 4 == 1, np.nan, 2 * x),
        }
    )


GIVEN = {
    "classification": "grade",
    "multilabel": ["edema", "effusion"],
    "ordinal": mf.Ordinal("grade", classes=["mild", "moderate", "severe"]),
    "regression": mf.Regression("bmi"),
    "survival": mf.Survival(time="days", event="death"),
    "multi_task": {
        "findings": ["edema", "effusion"],
        "course": mf.Survival(time="days", event="death"),
        "severity": "grade",
        "weight": mf.Regression("part_known"),
    },
}
SHAPES = {
    "classification": (),
    "multilabel": (2,),
    "ordinal": (),
    "regression": (),
    "survival": (2,),
    "multi_task": (6,),
}


def cohort(frame, target):
    return mf.Cohort(frame, target=target, patient="patient", numeric=["x"])


def test_every_kind_is_tried_here():
    assert set(GIVEN) == set(TARGETS)


@pytest.mark.parametrize("task", GIVEN)
def test_each_is_kept_with_its_cohort_to_the_value(task, frame, medfusion_home):
    made = cohort(frame, GIVEN[task])
    assert made.target.task == task
    assert made.targets.shape == (N, *SHAPES[task])
    made.save("study")
    record = open_store().datasets.get_by_name("study")
    again = mf.Cohort.read(record.data_path)
    assert again.target == made.target
    np.testing.assert_array_equal(again.targets, made.targets)
    assert again.fingerprint == made.fingerprint
    assert target_of(json.loads(json.dumps(made.target.to_json()))).to_json() == made.target.to_json()
    assert record.num_classes == len(made.classes)
    assert record.class_distribution == made.class_counts


@pytest.mark.parametrize("task", GIVEN)
def test_the_server_reads_what_was_written(task, frame, tmp_path):
    from medfusion_jupyter.store.dataset_files import analyzed, describe

    made = cohort(frame, GIVEN[task])
    made.write(tmp_path)
    told = describe(tmp_path)
    assert (told["num_samples"], told["num_patients"], told["num_classes"]) == (N, N // 2, len(made.classes))
    assert told["class_distribution"] == made.class_counts
    roles = {column["name"]: column["role"] for column in analyzed(tmp_path)["columns"]}
    assert {name for name, role in roles.items() if role == "target"} == set(made.target.columns)


@pytest.mark.parametrize("task", GIVEN)
def test_a_part_has_its_rows_targets_and_shows_itself(task, frame):
    made = cohort(frame, GIVEN[task])
    part = made.subset(np.asarray([3, 1, 9]))
    np.testing.assert_array_equal(part.targets, made.targets[[3, 1, 9]])
    for shown in (repr(made), made._repr_html_(), part._repr_html_(), made.split(seed=0)._repr_html_()):
        assert "secret" not in shown
    assert made.target.name in repr(made)
    assert all(name.rpartition(": ")[2] in made._repr_html_() for name in made.class_counts)


@pytest.mark.parametrize("task", GIVEN)
def test_parts_and_folds_are_alike_in_the_target_and_share_no_patient(task, frame):
    made = cohort(frame, GIVEN[task])
    strata = made.target.strata(made.targets)
    # 60 patients are few to be even in all of several targets
    near = 0.16 if task == "multi_task" else 0.12
    splits = [made.split(test=0.25, val=0.25, seed=1)]
    splits += [fold.split for fold in folds_by_patient(made, folds=3, repeats=1, val=0.2, seed=0)]
    for split in splits:
        for stratum in strata:
            share = stratum.rows.mean()
            for rows in split.rows.values():
                assert abs(stratum.rows[rows].mean() - share) < near, stratum.name


@pytest.mark.parametrize("task", GIVEN)
def test_columns_that_give_the_target_away_are_found(task, frame):
    made = cohort(frame, GIVEN[task])
    name, outcome = next(iter(made.target.outcomes(made.targets).items()))
    leak = np.where(np.isnan(outcome), 0.5, outcome) + np.random.default_rng(1).normal(0, 0.05, N)
    leaky = mf.Cohort(frame.assign(leak=leak), target=GIVEN[task], patient="patient", numeric=["x", "leak"])
    (found,) = [one for one in leaky.check().of("outcomes") if one.where == "leak"]
    assert found.severity == "error"
    assert name in found.what


@pytest.mark.parametrize(
    ("target", "who"),
    [
        (mf.Survival(time="days", event="death"), "patients with the event"),
        (["edema", "effusion"], "the rarest label"),
        (mf.Regression("bmi"), "patients for"),
    ],
)
def test_too_few_events_a_column_are_said_in_the_words_of_the_target(target, who, frame):
    wide = frame.assign(**{f"n{k}": np.random.default_rng(k).normal(size=N) for k in range(12)})
    made = mf.Cohort(wide, target=target, patient="patient", numeric=[f"n{k}" for k in range(12)])
    assert any(who in one.what and "a column" in one.what for one in made.check().of("counts"))


def test_a_label_that_is_not_known_is_kept_so(frame):
    made = cohort(frame, ["edema", "effusion"])
    assert np.isnan(made.targets[9::10, 0]).all()
    assert made.class_counts["edema"] == int((frame["edema"] == "yes").sum())
    assert "12 unknown" in made._repr_html_()


def test_grades_of_numbers_need_no_list(frame):
    made = cohort(frame.assign(grade=frame["grade"].map({"mild": 2, "moderate": 10, "severe": 1})), mf.Ordinal("grade"))
    assert made.classes == ("1", "2", "10")


def test_strata_that_no_part_needs_may_lack(frame):
    # nobody censored, all of them known, few rows: a split of what is there
    few = frame.iloc[:24].assign(death=1, effusion=[0, 1] * 12, edema=[0, 0, 1, 1] * 6)
    for target in (mf.Survival(time="days", event="death"), mf.Regression("bmi"), ["edema", "effusion"]):
        split = cohort(few, target).split(seed=0)
        assert all(len(rows) for rows in split.rows.values())


def of(frame, **columns):
    return frame.assign(**columns)


@pytest.mark.parametrize(
    ("change", "target", "words"),
    [
        ({"bmi": lambda f: f["bmi"].where(f.index != 3)}, mf.Regression("bmi"), "'bmi' is empty in 1 of 120 rows"),
        ({"bmi": lambda f: f["bmi"].where(f.index != 3, np.inf)}, mf.Regression("bmi"), "'bmi' is infinite.*1 of 120"),
        ({"bmi": 3.0}, mf.Regression("bmi"), "'bmi' is 3 in every row"),
        ({"bmi": "much"}, mf.Regression("bmi"), "'bmi'.*'much'"),
        ({"days": lambda f: f["days"] - 400}, mf.Survival("days", "death"), "'days' is negative in"),
        ({"days": lambda f: f["days"].where(f.index != 3)}, mf.Survival("days", "death"), "'days' is empty in 1"),
        ({"days": np.inf}, mf.Survival("days", "death"), "'days' is infinite"),
        ({"days": 7}, mf.Survival("days", "death"), "'days' is 7 in every row"),
        ({"death": 0}, mf.Survival("days", "death"), "All 120 rows are censored: 'death' is never 1"),
        ({"death": 2}, mf.Survival("days", "death"), "'death' has the value '2'.*must be 0 or 1"),
        (
            {"death": lambda f: f["death"].where(f.index != 3, None)},
            mf.Survival("days", "death"),
            "'death' is empty in 1",
        ),
        ({"effusion": 0}, ["edema", "effusion"], "label 'effusion' is positive in no row"),
        ({"effusion": 1}, ["edema", "effusion"], "label 'effusion' is negative in no row"),
        ({"effusion": -1}, ["edema", "effusion"], "'effusion' has the value '-1'"),
        ({}, mf.Ordinal("grade"), "no order that numbers give.*list them"),
        ({}, mf.Ordinal("grade", classes=["mild", "severe"]), "has the grade 'moderate', which is not among"),
        ({"grade": "mild"}, mf.Ordinal("grade", classes=["mild", "severe"]), "one grade only"),
        ({"grade": "mild"}, "grade", "one class only"),
        ({}, "bmi", r"not a measurement. Give target=mf.Regression\('bmi'\)"),
        ({}, ["edema", "oedema"], "no column 'oedema' .target.. Did you mean 'edema'"),
        ({}, ["edema", "edema"], "list one or more columns, each once"),
        ({}, {"task": "survival", "time": "days"}, "survival needs time, event"),
        ({}, {"task": "surviving"}, "'task' is one of classification, multilabel, ordinal, regression, survival"),
        ({}, 7, "must be the name of a column"),
    ],
)
def test_what_cannot_be_learned_is_refused_with_a_word(change, target, words, frame):
    with pytest.raises(CohortError, match=words):
        cohort(frame.assign(**change), target)


def together(**targets):
    return {"course": mf.Survival("days", "death"), **targets}


@pytest.mark.parametrize(
    ("change", "target", "words"),
    [
        ({"bmi": np.nan}, together(weight=mf.Regression("bmi")), r"'weight' \(bmi\) is empty in all 120 rows"),
        (
            {"bmi": lambda f: f["bmi"].where(f.index > 9).where(f.index != 30, np.inf)},
            together(weight=mf.Regression("bmi")),
            "'weight', of the 110 rows that know it: .*'bmi' is infinite.*1 of 110",
        ),
        (
            {"days": lambda f: f["days"].where(f.index != 3)},
            together(icu="grade"),
            "'course', of the 120 rows.*'days' is empty in 1",
        ),
        ({"days": lambda f: -f["days"] - 1}, together(icu="grade"), "'course'.*'days' is negative in 120 rows"),
        ({"death": 0}, together(icu="grade"), "'course'.*All 120 rows are censored"),
        ({}, together(), "name two targets or more"),
        ({}, together(death="death"), "'death' is of two targets"),
        ({}, {**together(), "30 days": "grade"}, "'30 days': …}: a name has letters"),
        ({}, together(rest={"a": "grade", "b": mf.Regression("bmi")}), "'rest' has targets of its own"),
    ],
)
def test_several_targets_that_cannot_be_learned_are_refused_by_name(change, target, words, frame):
    with pytest.raises(CohortError, match=words):
        cohort(frame.assign(**change), target)


def test_a_row_may_know_some_of_several_targets(frame):
    known = frame.assign(days=frame["days"].where(frame.index >= 20), death=frame["death"].where(frame.index >= 20))
    made = cohort(known, together(weight=mf.Regression("part_known")))
    parts = made.target.by_part(made.targets)
    assert parts["course"].rows.tolist() == [k >= 20 for k in range(N)]
    np.testing.assert_array_equal(parts["course"].values, known[["days", "death"]].to_numpy(float)[20:])
    np.testing.assert_array_equal(parts["weight"].values, frame["part_known"].dropna())
    assert "20 unknown" in made._repr_html_()
    # rows that know nothing are dealt too, and a part may be one that knows nothing of a target
    assert "nothing known" in [one.name for one in made.target.strata(made.targets)]
    assert "weight" in repr(made.subset(np.arange(5)))


def test_a_target_cannot_be_learned_from(frame):
    with pytest.raises(CohortError, match="'death' cannot be learned from: it is the target"):
        mf.Cohort(frame, target=mf.Survival("days", "death"), numeric=["death"])


def test_too_rare_an_event_for_a_split_is_said(frame):
    with pytest.raises(CohortError, match=r"'days to death' .*'event' \(2\)"):
        cohort(frame.assign(death=np.arange(N) < 3), mf.Survival("days", "death")).split()
