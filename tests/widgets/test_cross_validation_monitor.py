"""The view of a cross-validation follows its folds, from the store alone, and every text in it is escaped."""

import time

import pytest

import medfusion as mf
from medfusion_jupyter.store.job_folds import FoldPlan
from medfusion_jupyter.widgets.refresher import refresher


@pytest.fixture
def whole(store):
    plans = [FoldPlan(f"<i>cv</i> fold {k}", {}, {}, 4, "val/auroc") for k in (1, 2)]
    yield store.jobs.create(
        "<i>cv</i>",
        model_config={},
        data_config={},
        training_config={},
        total_epochs=8,
        watched_metric="test/auroc",
        folds=plans,
    )
    for one in list(refresher._followed):
        one.close()


def run(store, here, fold, *statuses, **more):
    if statuses[0] == "claimed":
        store.jobs.claim(fold.job_id, run_token="t", **here)
    for status in statuses[statuses[0] == "claimed" :]:
        store.jobs.update_status(fold.job_id, status, run_token="t", **more)


def until_shown(view, words):
    until = time.monotonic() + 20
    while words not in view.value:
        assert time.monotonic() < until, view.value
        time.sleep(0.02)


def test_it_follows_the_folds_to_the_result(store, whole, here):
    one, two = store.jobs.folds(whole.job_id)
    view = mf.monitor(whole.job_id)
    assert mf.monitor(whole.job_id) is view
    assert "0 of 2 folds done" in view.value
    assert "<i>" not in view.value
    assert "&lt;i&gt;cv&lt;/i&gt;" in view.value
    assert "<td>fold 1</td>" in view.value
    run(store, here, one, "claimed", "initializing", "running")
    store.jobs.set_best(one.job_id, run_token="t", epoch=1, value=0.8125)
    until_shown(view, "fold 1 of 2")
    until_shown(view, "val AUROC 0.812")
    run(store, here, one, "completed")
    until_shown(view, "fold 2 of 2")
    run(store, here, two, "claimed", "initializing", "running")
    run(store, here, two, "failed", error="<b>no memory</b>")
    until_shown(view, f"fold 2 ({two.job_id}): &lt;b&gt;no memory&lt;/b&gt;")
    assert f"mf.load_cross_validation('{whole.job_id}').resume()" in view.value


def test_the_result_is_shown_when_it_comes_after_the_last_fold(store, whole, here):
    for fold in store.jobs.folds(whole.job_id):
        run(store, here, fold, "claimed", "initializing", "running", "completed")
    view = mf.monitor(whole.job_id)
    assert "2 of 2 folds done" in view.value
    assert "test AUROC" not in view.value
    store.jobs.note_result(whole.job_id, {"test/auroc": 0.8, "test/auroc_low": 0.7, "test/auroc_high": 0.9})
    until_shown(view, "<b>test AUROC 0.800</b> [0.700, 0.900]")


def test_lists_show_it_as_one_row_and_its_folds_where_asked(store, whole):
    table = mf.jobs()
    assert list(table.index) == [whole.job_id]
    assert table.loc[whole.job_id, ["epoch", "folds", "watched"]].tolist() == ["0/8", "0/2", "test/auroc"]
    folds = mf.jobs(parent=whole.job_id)
    assert list(folds["epoch"]) == ["0/4", "0/4"]
    assert list(folds["folds"]) == ["", ""]
