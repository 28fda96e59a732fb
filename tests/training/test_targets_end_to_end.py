"""Every kind of target is trained, resumed, predicted, evaluated and cross-validated, each in its own words."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from statsmodels.duration.survfunc import SurvfuncRight

import medfusion as mf
from medfusion_jupyter.nn import heads
from medfusion_jupyter.settings.watched import best_of, names_of
from medfusion_jupyter.training import ConfigError, ModelError
from medfusion_jupyter.training.fitting import HEADS
from medfusion_jupyter.training.starting import RUNS
from medfusion_jupyter.widgets import monitor

N = 160
TABLE_ONLY = {"image_encoder": None, "epochs": 2, "batch_size": 16, "lr": 5e-3, "device": "cpu"}

TARGETS = {
    "classification": "ill",
    "multilabel": ["edema", "effusion"],
    "ordinal": mf.Ordinal("grade", classes=["mild", "moderate", "severe"]),
    "regression": mf.Regression("bmi"),
    "survival": mf.Survival(time="days", event="death"),
    "multi_task": {
        "death": mf.Survival(time="days", event="death"),
        "findings": ["edema", "effusion"],
        "icu": "ill",
        "grade": mf.Ordinal("grade", classes=["mild", "moderate", "severe"]),
        "weight": mf.Regression("bmi_of_some"),
    },
}


@pytest.fixture
def frame(medfusion_home):
    """Patients of two rows each, of whose targets `x` tells much."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=N)
    noisy = x + 0.5 * rng.normal(size=N)
    lives, seen = rng.exponential(300 * np.exp(-x)), rng.exponential(400, N)
    return pd.DataFrame(
        {
            "patient": [f"p{k // 2}" for k in range(N)],
            "x": x,
            "ill": np.where(noisy > 0, "yes", "no"),
            "edema": np.where(np.arange(N) % 10 == 9, np.nan, noisy > 0.3),
            "effusion": (noisy < -0.3).astype(int),
            "grade": pd.cut(noisy, [-9, -0.5, 0.5, 9], labels=["mild", "moderate", "severe"]).astype(str),
            "bmi": 25 + 4 * noisy,
            "bmi_of_some": np.where(np.arange(N) % 8 == 3, np.nan, 25 + 4 * noisy),
            "days": np.minimum(lives, seen) + 1,
            "death": lives <= seen,
        }
    )


def cohort(frame, task):
    return mf.Cohort(frame, target=TARGETS[task], patient="patient", numeric=["x"])


def columns(task, frame):
    return {
        "classification": ["no", "yes"],
        "multilabel": ["edema", "effusion"],
        "ordinal": ["grade", "mild", "moderate", "severe"],
        "regression": ["bmi"],
        "survival": ["risk"],
        "multi_task": [
            "death_risk", "findings_edema", "findings_effusion", "icu_no", "icu_yes",
            "grade", "grade_mild", "grade_moderate", "grade_severe", "weight",
        ],
    }[task]  # fmt: skip


@pytest.mark.parametrize("task", TARGETS)
def test_it_is_trained_resumed_predicted_and_evaluated(task, frame):
    data = cohort(frame, task)
    metrics = names_of(data.target.tasks)
    first = metrics[0]
    job = mf.train(data, name="study", **TABLE_ONLY).wait()
    assert job.record.watched_metric == f"val/{first}"
    assert job.record.model_config["head"] == HEADS.get(task, "multi_task")
    history = job.history
    for name in metrics:
        assert (history[f"val/{name}_low"] <= history[f"val/{name}"]).all()
        assert (history[f"val/{name}"] <= history[f"val/{name}_high"]).all()
    best = history[f"val/{first}"].agg(best_of(f"val/{first}"))
    assert job.record.best_value == pytest.approx(best)

    model = job.model
    predicted = model.predict(frame.drop(columns=list(data.target.columns)))
    curve = list(predicted.filter(like="survival_"))
    assert [name for name in predicted if name not in curve] == columns(task, frame)
    assert len(curve) == (10 if "survival" in data.target.tasks.values() else 0)
    assert len(predicted) == N
    assert predicted.notna().all().all()

    result = mf.evaluate(model, split="test")
    briers = {"survival": {"brier"}, "multi_task": {"death_brier"}}.get(task, set())
    assert set(result.metrics) == set(metrics) | briers
    assert list(result.labels) == (["edema", "effusion"] if task in ("multilabel", "multi_task") else [])
    assert getattr(result, first) == result.metrics[first]
    assert "patients" in result.method
    test = data.split(test=0.2, val=0.2, seed=0).test
    assert mf.evaluate(model, test).metrics == result.metrics
    loaded = mf.load_model("study").predict(frame)
    pd.testing.assert_frame_equal(loaded, predicted)
    shown = monitor(job.job_id)
    assert len(re.findall("<tr[^>]*><td", shown._epochs.value)) == 2


@pytest.mark.parametrize("task", TARGETS)
def test_a_run_that_ended_early_goes_on_as_if_it_had_not(task, frame):
    class EndsEarly(mf.Callback):
        def epoch_end(self, state):
            state.finish_early = state.epoch == 1

    data = cohort(frame, task)
    settings = {**TABLE_ONLY, "epochs": 3, "patience": None}
    straight = mf.train(data, **settings).wait()
    job = mf.train(data, callbacks=[EndsEarly()], **settings).wait()
    assert len(job.history) == 1
    mf.resume(job.job_id).wait()
    pd.testing.assert_frame_equal(*(one.history.drop(columns="seconds") for one in (straight, job)))


@pytest.mark.parametrize("name", [name for name in heads if heads(name).task in TARGETS and name not in HEADS.values()])
def test_every_other_head_of_a_target_is_trained_too(name, frame):
    task = heads(name).task
    data = cohort(frame, task)
    model = mf.train(data, head=name, **TABLE_ONLY).wait().model
    predicted = model.predict(data)
    result = mf.evaluate(model, split="test")
    assert all(np.isfinite(one.value) for one in result.metrics.values())
    if name == "gaussian":
        assert list(predicted) == ["bmi", "bmi_low", "bmi_high"]
        assert (predicted["bmi_low"] < predicted["bmi"]).all()
        assert (predicted["bmi"] < predicted["bmi_high"]).all()
    if name == "hazard":
        curves = predicted.filter(like="survival_")
        times = [float(column.removeprefix("survival_")) for column in curves]
        assert times == sorted(times)
        assert times[-1] == pytest.approx(data.split(test=0.2, val=0.2, seed=0).train.targets[:, 0].max(), rel=0.5)
        assert (np.diff(curves.to_numpy(), axis=1) <= 1e-6).all()
        assert "brier" in result.metrics


@pytest.mark.parametrize("head", ["cox", "hazard"])
def test_survival_is_told_at_the_times_that_are_asked_for(head, frame):
    data = cohort(frame, "survival")
    model = mf.train(data, head=head, **{**TABLE_ONLY, "epochs": 8}).wait().model
    usual, told = model.predict(frame), model.predict(frame, times=[0, 30, 100.5, 200])
    assert list(told) == ["risk", "survival_0", "survival_30", "survival_100.5", "survival_200"]
    curve = told.filter(like="survival_").to_numpy()
    assert (curve[:, 0] == 1).all()
    assert (np.diff(curve, axis=1) <= 0).all()
    # who is at a higher risk has a lower survival, and on average it is that of the cohort
    assert np.corrcoef(told["risk"], told["survival_100.5"])[0, 1] < -0.9
    days, death = frame["days"].to_numpy(), frame["death"].to_numpy(dtype=float)
    dying = SurvfuncRight(days, death)
    assert told["survival_200"].mean() == pytest.approx(dying.surv_prob[dying.surv_times <= 200][-1], abs=0.08)
    assert mf.evaluate(model).brier.value < 0.25
    last = float(list(usual)[-1].removeprefix("survival_"))
    for wrong in ([], [-1], [30, 30], [2 * last]):
        with pytest.raises(ModelError, match="give times that rise, from 0 to"):
            model.predict(frame, times=wrong)


def test_times_are_of_survival(frame):
    model = mf.train(cohort(frame, "regression"), **TABLE_ONLY).wait().model
    with pytest.raises(ModelError, match="of survival over time, which .* did not learn"):
        model.predict(frame, times=[30])


@pytest.mark.parametrize("task", TARGETS)
def test_it_is_cross_validated(task, frame):
    data = cohort(frame, task)
    done = mf.cross_validate(data, folds=2, **TABLE_ONLY).wait()
    table = done.predictions
    assert sorted(table["row"]) == list(range(N))
    metrics = names_of(data.target.tasks)
    first = metrics[0]
    assert list(done.metrics.index) == list(metrics)
    row = done.metrics.loc[first]
    assert row["low"] <= row["mean"] <= row["high"]
    assert done.record.watched_metric == f"test/{first}"
    assert done.record.best_value == pytest.approx(row["mean"])
    truth = table.filter(like="target").to_numpy()
    assert truth.shape[1] == len(data.target.columns)
    if task == "regression":
        assert np.abs(table["predicted"] - table["target"]).mean() == pytest.approx(row["pooled"])


def test_what_the_head_learned_of_the_targets_is_of_the_training_part_and_stored(frame):
    data = cohort(frame, "regression")
    model = mf.train(data, **TABLE_ONLY).wait().model
    learned = data.split(test=0.2, val=0.2, seed=0).train.targets
    assert float(model.module.head.mean) == pytest.approx(learned.mean(), rel=1e-5)
    assert float(model.module.head.std) == pytest.approx(learned.std(), rel=1e-5)


@pytest.mark.parametrize("task", ["multilabel", "ordinal", "regression"])
def test_accumulated_batches_weigh_as_one(task, frame, loop_of):
    data = cohort(frame, task)
    settings = {"image_encoder": None, "optimizer": "sgd", "lr": 0.05, "epochs": 1, "data": data}
    weights = []
    for batches in ({"batch_size": 48}, {"batch_size": 12, "accumulate_grad_batches": 4}):
        loop = loop_of(**settings, **batches)
        for module in loop.state.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        loop.run()
        weights.append(loop.state.model.head.linear[1].weight.detach().clone())
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)


def test_batches_in_which_everyone_is_censored_teach_nothing_and_break_nothing(frame, loop_of):
    few = frame.assign(death=np.arange(N) % 16 < 2)
    loop = loop_of(data=cohort(few, "survival"), image_encoder=None, batch_size=4, epochs=2, accumulate_grad_batches=2)
    loop.run()
    assert all(torch.isfinite(one).all() for one in loop.state.model.parameters())


@pytest.mark.parametrize(
    ("task", "settings", "words"),
    [
        ("regression", {"head": "classification"}, "this of regression; choose one of .*gaussian.*huber.*regression"),
        ("survival", {"head": "regression"}, "this of survival; choose one of cox, hazard"),
        ("ordinal", {"head": "classification"}, "this of ordinal; choose one of ordinal"),
        ("regression", {"watch": "val/auroc"}, "no metric of a target of regression; watch one of val/loss, val/mae"),
        ("survival", {"sampler": "balanced"}, "sampler='balanced'.*survival has no classes"),
        ("survival", {"class_weights": "balanced"}, "class_weights='balanced'.*'cox' does not allow it"),
        ("multilabel", {"mixup": 0.2}, "mixup=0.2.*'multilabel' does not allow it"),
        ("regression", {"label_smoothing": 0.1}, "label_smoothing=0.1.*'regression' does not allow it"),
    ],
)
def test_settings_that_do_not_fit_the_target_are_refused_by_name(task, settings, words, frame):
    for start in (mf.train, mf.cross_validate):
        with pytest.raises(ConfigError, match=words):
            start(cohort(frame, task), **TABLE_ONLY, **settings)
    assert not RUNS.keys() & set(mf.jobs().index)


@pytest.mark.parametrize(
    ("task", "column", "value", "words"),
    [
        ("classification", "ill", "yes", "'yes'.*is in the part 'test', but in no row of the training part"),
        ("ordinal", "grade", "severe", "'severe'.*is in the part 'test', but in no row of the training part"),
        ("survival", "death", True, "'event'.*is in the part 'test'"),
        ("multilabel", "effusion", 1, "'effusion'.*is in the part 'test'"),
    ],
)
def test_what_is_in_the_test_part_alone_is_refused(task, column, value, words, frame):
    part = np.where(frame[column] == value, "test", np.where(np.arange(N) % 5 == 0, "val", "train"))
    data = mf.Cohort(frame.assign(part=part), target=TARGETS[task], numeric=["x"])
    with pytest.raises(ConfigError, match=words):
        mf.train(data.split_by("part"), **TABLE_ONLY)


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ({"train": 1, "val": 3, "test": 3}, "training part has 1 event of the target 'days to death'"),
        ({"train": 9, "val": 0, "test": 3}, "validation part has no event of the target 'days to death'"),
    ],
)
@pytest.mark.parametrize("several", [False, True])
def test_too_few_events_in_a_part_are_refused(events, words, several, frame):
    part = np.asarray(["train", "train", "val", "test"] * (N // 4))
    death = np.zeros(N)
    for name, count in events.items():
        death[np.flatnonzero(part == name)[:count]] = 1
    target = {"course": TARGETS["survival"], "weight": mf.Regression("bmi")} if several else TARGETS["survival"]
    data = mf.Cohort(frame.assign(part=part, death=death), target=target, numeric=["x"])
    with pytest.raises(ConfigError, match=words):
        mf.train(data.split_by("part"), **TABLE_ONLY)


def test_a_cohort_of_another_target_is_not_evaluated(frame):
    model = mf.train(cohort(frame, "regression"), **TABLE_ONLY).wait().model
    with pytest.raises(ModelError, match="learned a target of regression, 'bmi'; this cohort's is of survival"):
        mf.evaluate(model, cohort(frame, "survival"))


def test_labels_are_judged_by_name_not_by_place(frame):
    model = mf.train(cohort(frame, "multilabel"), **TABLE_ONLY).wait().model
    turned = mf.Cohort(frame, target=["effusion", "edema"], patient="patient", numeric=["x"])
    assert mf.evaluate(model, turned).labels == mf.evaluate(model, cohort(frame, "multilabel")).labels


def test_survival_of_images_and_table_comes_near_the_ceiling(medfusion_home):
    data = mf.synthetic_survival(n=1500, seed=0, image_size=16)
    settings = {
        "image_encoder": "light_cnn",
        "image_size": 16,
        "epochs": 8,
        "batch_size": 64,
        "lr": 2e-3,
        "device": "cpu",
    }
    result = mf.evaluate(mf.train(data, augment=False, **settings).wait().model)
    assert result.c_index.value > 0.9 * data.best_c_index["both"]
    assert result.c_index.low > 0.5
