"""Several targets learned by one model: what each head learns from, what the losses count, what is watched, said and refused."""

import json
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

import medfusion as mf
from medfusion_jupyter.settings.watched import headline, names_of, words_of
from medfusion_jupyter.training import ConfigError, ModelError, TrainingConfig
from medfusion_jupyter.training.fitting import fitted
from medfusion_jupyter.training.preparation import class_weights
from medfusion_jupyter.widgets import monitor

N = 160
SETTINGS = {"image_encoder": None, "epochs": 2, "batch_size": 16, "lr": 5e-3, "device": "cpu"}
TARGET = {"icu": "ill", "death": mf.Survival("days", "event"), "weight": mf.Regression("bmi")}


@pytest.fixture
def frame(medfusion_home):
    """Rows of whose targets `x` tells much; the weight is known of three in four."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=N)
    lives, seen = rng.exponential(300 * np.exp(-x)), rng.exponential(400, N)
    return pd.DataFrame(
        {
            "x": x,
            "ill": np.where(x + 0.5 * rng.normal(size=N) > 0, "yes", "no"),
            "days": np.minimum(lives, seen) + 1,
            "event": (lives <= seen).astype(int),
            "bmi": np.where(np.arange(N) % 4 == 1, np.nan, 25 + 4 * x),
        }
    )


def cohort(frame, target=TARGET):
    return mf.Cohort(frame, target=target, numeric=["x"])


def test_the_first_is_watched_and_each_is_said_in_its_own_words(frame):
    job = mf.train(cohort(frame), **SETTINGS).wait()
    assert job.record.watched_metric == "val/icu_auroc"
    assert {"val/icu_loss", "val/death_loss", "val/weight_loss"} <= set(job.history)
    shown = monitor(job.job_id)._epochs.value
    columns = [cell.text for row in ElementTree.fromstring(shown)[:2] for cell in row if cell.text]
    assert columns[:3] == ["icu", "death", "weight"]
    assert columns[6:-2] == ["AUROC [95 %]", "accuracy", "C index", "Uno's C", "MAE", "RMSE", "R²", "Spearman"]
    assert "icu AUROC" in repr(job.model)
    assert "death C index" in repr(mf.evaluate(job.model))
    assert mf.models()["metric"].tolist() == ["icu AUROC"]


def test_any_of_them_can_be_watched(frame):
    job = mf.train(cohort(frame), watch="val/death_c_index", **SETTINGS).wait()
    assert job.record.best_value == pytest.approx(job.history["val/death_c_index"].max())
    job = mf.train(cohort(frame), watch="val/weight_mae", **SETTINGS).wait()
    assert job.record.best_value == pytest.approx(job.history["val/weight_mae"].min())


def test_losses_count_as_much_as_they_are_told(frame):
    job = mf.train(cohort(frame), task_weights={"death": 0.25, "weight": 3}, **SETTINGS).wait()
    row = job.history.iloc[-1]
    wanted = row["val/icu_loss"] + 0.25 * row["val/death_loss"] + 3 * row["val/weight_loss"]
    assert row["val/loss"] == pytest.approx(wanted, rel=1e-5)


def test_each_head_can_be_chosen(frame):
    settings = {"task_heads": {"death": "hazard", "weight": "gaussian"}, **SETTINGS}
    model = mf.train(cohort(frame), name="study", **settings).wait().model
    predicted = model.predict(frame[["x"]])
    assert list(predicted.filter(like="weight")) == ["weight", "weight_low", "weight_high"]
    assert predicted.filter(like="death_survival_").shape == (N, 10)
    assert "death_brier" in mf.evaluate(model).metrics
    again = mf.load_model("study")
    assert [task.head for task in again.module.architecture.tasks] == ["classification", "hazard", "gaussian"]
    pd.testing.assert_frame_equal(again.predict(frame[["x"]]), predicted)


def test_what_is_not_known_of_a_row_changes_nothing(frame, loop_of):
    """The head of the weight is untouched by rows without one, and knows the scale of the others alone."""
    known = frame["bmi"].notna().to_numpy()
    data = cohort(frame)
    loop = loop_of(data=data, image_encoder=None, batch_size=8, epochs=1)
    head = loop.state.model.head
    train = data.split(test=0.2, val=0.2, seed=0).rows["train"]
    rows = train[known[train]]
    assert float(head.parts["weight"].mean) == pytest.approx(frame["bmi"].to_numpy()[rows].mean(), rel=1e-5)
    targets = torch.tensor(data.targets[~known], dtype=torch.float32)
    outputs = torch.randn(len(targets), head.output_width, requires_grad=True)
    head.loss(outputs, targets).backward()
    assert (outputs.grad[:, -1] == 0).all()
    assert (outputs.grad[:, :2] != 0).any()
    loop.run()
    assert all(torch.isfinite(one).all() for one in loop.state.model.parameters())


def test_classes_weigh_and_are_smoothed_in_the_loss_of_their_own_target(frame, loop_of):
    data = cohort(frame.assign(ill=frame["ill"].where(frame.index % 5 > 0)))  # one row in five does not know it
    weights = {"icu": {"no": 1.0, "yes": 3.0}}
    settings = {"data": data, "image_encoder": None, "task_weights": {"death": 0.5}, "epochs": 1}
    loop = loop_of(**settings, class_weights=weights, label_smoothing=0.2)
    head, targets = loop.state.model.head, torch.tensor(data.targets, dtype=torch.float32)
    outputs = torch.randn(N, head.output_width, generator=torch.Generator().manual_seed(0))
    own, known = head.losses(outputs, targets), ~targets[:, 0].isnan()
    of_icu = functional.cross_entropy(
        head.of_parts(outputs)["icu"][known],
        targets[known, 0].long(),
        weight=torch.tensor([1.0, 3.0]),
        reduction="none",
        label_smoothing=0.0,
    )
    plain = loop_of(**settings, class_weights=weights).step.loss(outputs, targets)
    weight = torch.tensor([1.0, 3.0])[targets[known, 0].long()]
    assert plain == pytest.approx(float(of_icu.sum() / weight.sum() + 0.5 * own["death"] + own["weight"]), rel=1e-5)
    smoothed = loop_of(**settings, label_smoothing=0.2).step.loss(outputs, targets)
    of_icu = functional.cross_entropy(
        head.of_parts(outputs)["icu"][known], targets[known, 0].long(), label_smoothing=0.2
    )
    assert smoothed == pytest.approx(float(of_icu + 0.5 * own["death"] + own["weight"]), rel=1e-5)
    # what is validated is the loss of the heads alone
    loop.run()
    assert loop.state.row["val/loss"] == pytest.approx(
        loop.state.row["val/icu_loss"] + 0.5 * loop.state.row["val/death_loss"] + loop.state.row["val/weight_loss"]
    )


def test_balanced_weights_are_those_of_the_rows_that_know_the_target(frame, loop_of):
    rare = frame["ill"].where(frame["x"].abs() < 1)
    rare[(rare == "yes") & (frame.index % 3 > 0)] = None
    data = cohort(frame.assign(ill=rare))
    split = data.split(test=0.2, val=0.2, seed=0)
    config = fitted(TrainingConfig.of({"class_weights": "balanced"}), data.target.tasks)
    counts = rare[split.rows["train"]].value_counts()[["no", "yes"]].to_numpy()
    assert class_weights(split, config).keys() == {"icu"}
    assert class_weights(split, config)["icu"] == pytest.approx(counts.sum() / (2 * counts))


def test_trials_weigh_the_classes_of_a_target_too(frame):
    assert len(mf.find_lr(cohort(frame), image_encoder=None, steps=20, class_weights="balanced", device="cpu").data) > 1


def test_without_a_target_of_classes_nothing_of_classes_is_taken(frame):
    numbers = cohort(frame, {"death": TARGET["death"], "weight": TARGET["weight"]})
    for settings in ({"class_weights": "balanced"}, {"label_smoothing": 0.1}):
        with pytest.raises(ConfigError, match="is of classes, and none of the targets has a head of classes"):
            mf.train(numbers, **SETTINGS, **settings)
    with pytest.raises(
        ConfigError, match=r"names targets, and there is one: give the weights of its classes \['no', 'yes'\]"
    ):
        mf.train(cohort(frame, "ill"), **SETTINGS, class_weights={"icu": "balanced"})


def test_a_row_is_judged_for_what_it_knows(frame):
    """A row without a weight counts for the other targets; that it has none is not an error of the weight."""
    model = mf.train(cohort(frame), **SETTINGS).wait().model
    whole, told = mf.evaluate(model, cohort(frame)), mf.evaluate(model, cohort(frame[frame["bmi"].notna()]))
    assert whole.metrics["weight_mae"] == told.metrics["weight_mae"]
    assert whole.metrics["icu_auroc"] != told.metrics["icu_auroc"]
    turned = cohort(frame, dict(reversed(TARGET.items())))
    assert mf.evaluate(model, turned).metrics == whole.metrics


def test_a_cohort_of_other_targets_is_not_evaluated(frame):
    model = mf.train(cohort(frame), **SETTINGS).wait().model
    with pytest.raises(
        ModelError, match=r"classification \(icu\) and survival \(death\).*this cohort's is of regression"
    ):
        mf.evaluate(model, cohort(frame.dropna(), mf.Regression("bmi")))
    with pytest.raises(ModelError, match="classes that .* does not know: .'maybe'.; it knows .'no', 'yes'"):
        mf.evaluate(model, cohort(frame.assign(ill=np.where(frame.index == 3, "maybe", frame["ill"]))))


def test_a_target_that_training_knows_nothing_of_is_refused(frame):
    part = np.where(frame.index < 30, "test", np.where(frame.index < 60, "val", "train"))
    told = frame.assign(part=part, bmi=frame["bmi"].where(part != "train"))
    with pytest.raises(ConfigError, match="'weight' is known of no row of the training part"):
        mf.train(cohort(told).split_by("part"), **SETTINGS)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"head": "cox"}, "head='cox' is of one target, and the cohort has 3: give task_heads"),
        ({"task_heads": {"deth": "cox"}}, "task_heads names 'deth'; the targets of the cohort are icu, death, weight"),
        ({"task_heads": {"death": "regression"}}, r"task_heads\['death'\]='regression' learns another target"),
        ({"task_heads": {"death": "coxx"}}, "coxx"),
        ({"task_weights": {"deth": 1}}, "task_weights names 'deth'"),
        ({"task_weights": {"death": 0}}, "task_weights.death=0: give a number above 0"),
        ({"watch": "val/auroc"}, "no metric of a target of multi_task; watch one of val/loss, val/icu_auroc"),
        ({"watch": "val/icu_auc"}, "of several targets with its name, as val/death_c_index"),
        (
            {"mixup": 0.2},
            "mixup=0.2 mixes the targets of two rows, and of several each row may know others: leave it out",
        ),
        ({"sampler": "balanced"}, "sampler='balanced'.*each of the 3 targets.*class_weights='balanced' weighs"),
        ({"class_weights": {"no": 1, "yes": 2}}, "does not say of which target: name it, such as {'icu': 'balanced'}"),
        ({"class_weights": [1, 2]}, "does not say of which target"),
        ({"class_weights": {"death": "balanced"}}, "names 'death'; the targets whose classes can weigh are icu"),
        ({"class_weights": {"icu": {"yes": 2}}}, r"target 'icu': class_weights names \['yes'\]; the classes are"),
        ({"class_weights": {"icu": {"no": 1, "yes": 0}}}, "each weight must be a number above 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(settings, words, frame):
    with pytest.raises(ConfigError, match=words):
        mf.train(cohort(frame), **SETTINGS, **settings)


def test_settings_of_several_targets_are_refused_for_one(frame):
    for setting in ({"task_heads": {"ill": "focal"}}, {"task_weights": {"ill": 2}}, {"head": "multi_task"}):
        with pytest.raises(ConfigError, match="is of several targets, and the cohort has one|learns another target"):
            mf.train(cohort(frame, "ill"), **SETTINGS, **setting)


def test_a_fork_keeps_the_heads_and_may_weigh_them_otherwise(frame):
    job = mf.train(cohort(frame), **SETTINGS).wait()
    fork = job.fork(epoch=1, task_weights={"weight": 2}).wait()
    row = fork.history.iloc[-1]
    wanted = row["val/icu_loss"] + row["val/death_loss"] + 2 * row["val/weight_loss"]
    assert row["val/loss"] == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ConfigError, match="task_heads=.*cannot be changed in a fork"):
        job.fork(epoch=1, task_heads={"death": "hazard"})


def test_a_workflow_takes_several_targets_as_objects(frame, tmp_path):
    frame.to_csv(tmp_path / "study.csv", index=False)
    stored = json.loads(json.dumps(cohort(frame).target.to_json()))
    for target in (stored, stored["targets"]):
        assert mf.Cohort(tmp_path / "study.csv", target=target, numeric=["x"]).target.tasks == {
            "icu": "classification",
            "death": "survival",
            "weight": "regression",
        }


def test_the_words_of_metrics():
    assert names_of({"icu": "classification", "death": "survival"}) == (
        "icu_auroc",
        "death_c_index",
        "icu_accuracy",
        "death_uno_c",
    )
    assert words_of("test/icu_auroc") == "test icu AUROC"
    assert words_of("val/death_uno_c") == "death Uno's C"
    assert headline({"val/loss": 1.0, "val/icu_auroc_low": 0.1, "val/icu_auroc": 0.5}) == "val/icu_auroc"
