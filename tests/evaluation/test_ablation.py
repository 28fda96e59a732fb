"""`mf.ablation`: variants of a model over the same folds, with the difference that each makes."""

import html
import re

import numpy as np
import pandas as pd
import pytest

import medfusion as mf
from medfusion_jupyter.metrics import auroc_of_classes, mean_over_folds
from medfusion_jupyter.settings.watched import words_of
from medfusion_jupyter.store import home
from medfusion_jupyter.store.errors import BadValue
from medfusion_jupyter.training import ConfigError
from medfusion_jupyter.training.starting import RUNS

FROZEN = {
    "image_encoder": "light_cnn",
    "image_size": 16,
    "freeze": ["image_encoder"],
    "augment": False,
    "epochs": 2,
    "lr": 5e-3,
    "batch_size": 16,
    "device": "cpu",
}


@pytest.fixture
def cohort(medfusion_home):
    return mf.synthetic_cohort(n=120, seed=0, image_size=16, d_table=3.0)


@pytest.fixture
def ablate(cohort):
    """Start a small ablation; whatever still runs at the end of the test is stopped."""
    started = []

    def start(variants=None, folds=2, **settings):
        found = mf.ablation(cohort, variants, folds=folds, **{**FROZEN, **settings})
        started.append(found)
        return found

    yield start
    for found in started:
        for one in found.variants.values():
            for job in one.jobs:
                run = RUNS.pop(job.job_id)
                if not run.ended.is_set():
                    run.control.deliver("stop")
                    assert run.ended.wait(60)


def by_hand(one, cohort):
    table = one.predictions
    return [
        auroc_of_classes(cohort.target_codes[part["row"]], part[["p_no", "p_yes"]].to_numpy()).value
        for _, part in table.groupby("fold")
    ]


def test_the_table_has_what_each_variant_reaches_and_adds(ablate, cohort):
    found = ablate(["late", "gated"]).wait()
    table = found.table
    assert list(table.index) == ["image only", "table only", "late", "gated"]
    assert (table["status"] == "completed").all()
    assert (table["folds"] == 2).all()
    # the table tells almost all here, and a random encoder nothing
    assert table.loc["table only", "auroc"] > table.loc["image only", "auroc"] + 0.2
    first, second = (by_hand(found.variants[name], cohort) for name in ("image only", "table only"))
    assert table.loc["table only", "auroc"] == pytest.approx(np.mean(second))
    expected = mean_over_folds(np.subtract(second, first), (1 / 2) / (1 / 2 - 0.2))
    row = table.loc["table only"]
    assert [row["above"], row["above_low"], row["above_high"]] == pytest.approx(
        [expected.value, expected.low, expected.high], rel=0.05
    )
    assert np.isnan(table.loc["image only", "above"])
    # the features of a fold's images are computed once for all variants that look at them
    assert len(list((home() / "cache" / "features").glob("*.npy"))) == 2


def test_it_is_given_back_from_its_ids(ablate):
    found = ablate(["late"]).wait()
    again = mf.load_ablation(*found.job_ids)
    assert list(again.variants) == ["image only", "table only", "late"]
    assert again.table.equals(found.table)


def test_the_view_escapes_names_and_says_what_is_not_there_yet(ablate):
    name = "<b>plain</b>"
    found = ablate({name: {}, "focal": {"head": "focal"}})
    assert "<b>plain" not in found._repr_html_()
    found.wait()
    shown = found._repr_html_()
    assert "&lt;b&gt;plain" in shown
    assert shown.count("<circle") == 2
    assert found.variants["focal"].record.training_config["head"] == "focal"


def test_nothing_is_stored_where_one_variant_cannot_be(ablate, cohort):
    with pytest.raises(ConfigError, match="Did you mean 'gated'"):
        ablate(["late", "gatd"])
    with pytest.raises(ConfigError, match="variants is empty"):
        ablate({})
    table = mf.Cohort(cohort.frame, target="lesion", patient="patient", numeric=["marker"])
    with pytest.raises(ConfigError, match="no fusion to compare"):
        mf.ablation(table)
    assert len(mf.jobs()) == 0


TARGETS = {
    "regression": (mf.Regression("number"), "mae"),
    "ordinal": (mf.Ordinal("grade"), "qwk"),
    "multilabel": (["one", "other"], "auroc"),
    "survival": (mf.Survival("days", "event"), "c_index"),
    "multi_task": ({"death": mf.Survival("days", "event"), "number": mf.Regression("number")}, "death_c_index"),
}


@pytest.mark.parametrize("task", TARGETS)
def test_variants_are_compared_by_the_metric_of_their_target(task, medfusion_home):
    rng = np.random.default_rng(0)
    tells = rng.normal(size=160)
    frame = pd.DataFrame(
        {
            "tells": tells,
            "tells_not": rng.normal(size=160),
            "number": 10 + 3 * tells,
            "grade": np.digitize(tells, [-0.5, 0.5]),
            "one": (tells > 0).astype(int),
            "other": (tells < 0.5).astype(int),
            "days": np.exp(-2 * tells) + 0.01,
            "event": 1,
        }
    )
    target, metric = TARGETS[task]
    data = mf.Cohort(frame, target=target, numeric=["tells", "tells_not"])
    settings = {"image_encoder": None, "epochs": 4, "lr": 2e-2, "batch_size": 16, "device": "cpu"}
    found = mf.ablation(data, {"plain": {}, "late": {"fusion": "late"}}, folds=2, **settings).wait()
    table = found.table
    assert list(table) == [metric, "low", "high", "above", "above_low", "above_high", "folds", "status", "job"]
    for name, one in found.variants.items():
        assert table.loc[name, metric] == pytest.approx(one.metrics.loc[metric, "mean"])
        assert table.loc[name, "low"] <= table.loc[name, metric] <= table.loc[name, "high"]
    assert table.loc["late", "above"] == pytest.approx(table.loc["late", metric] - table.loc["plain", metric])
    shown = found._repr_html_()
    assert html.escape(words_of(f"val/{metric}")) in shown
    assert ("Lower is better" in shown) == (task == "regression")
    assert shown.count("<circle") == 2
    # what is drawn lies within its picture
    places = [float(x) for x in re.findall(r"(?:cx|x1|x2)='([^']*)'", shown)]
    assert min(places) >= 0
    assert max(places) <= 220
    for other in found.metrics[1:]:
        assert found.table_of(other)[other].notna().all()
    with pytest.raises(BadValue, match=f"cannot be compared by 'loss'; take one of {metric}"):
        found.table_of("loss")
    with pytest.raises(BadValue, match="has no metric 'loss'"):
        found.variants["late"].difference(found.variants["plain"], "loss")


def test_other_folds_are_not_compared(ablate):
    one = ablate({"a": {}}).wait().variants["a"]
    other = ablate({"b": {"seed": 1}}).wait().variants["b"]
    with pytest.raises(BadValue, match="other test parts"):
        one.difference(other)


def test_what_is_stopped_begins_nothing_more(ablate):
    found = ablate(["late", "gated"], epochs=200)
    found.stop()
    found.wait()
    assert set(found.table["status"]) == {"stopped"}
