"""`mf.cross_validate`: a job a fold under one job; every row is predicted by a model that never saw its patient."""

import datetime as dt
import os
import signal

import numpy as np
import pandas as pd
import pytest
from jupyter_client.manager import start_new_kernel
from patience import wait_for

import medfusion as mf
from medfusion_jupyter.data import CohortError
from medfusion_jupyter.metrics import auroc_of_classes, mean_over_folds
from medfusion_jupyter.store import IllegalTransition, open_store
from medfusion_jupyter.store.errors import BadValue, InUse
from medfusion_jupyter.training import ConfigError, JobFailed
from medfusion_jupyter.training.starting import RUNS, split_of
from medfusion_jupyter.training.turns import turns

TABLE = {"image_encoder": None, "batch_size": 16, "lr": 5e-3, "device": "cpu", "epochs": 1}


def table_of(patients=40, rows=3, seed=0, signal=2.0):
    """A table of patients with several rows each; `x` tells the class where signal is above 0."""
    rng = np.random.default_rng(seed)
    target = np.arange(patients) % 2
    who = np.repeat(np.arange(patients), rows)
    x = (signal * target + rng.normal(size=patients))[who] + 0.1 * rng.normal(size=len(who))
    frame = pd.DataFrame({"who": [f"p{k}" for k in who], "x": x, "y": np.where(target[who], "ill", "well")})
    return mf.Cohort(frame, target="y", patient="who", numeric=["x"])


@pytest.fixture
def cross_validate(medfusion_home):
    """Cross-validate with small settings; whatever still runs at the end of the test is stopped."""
    started = []

    def start(cohort=None, folds=3, repeats=1, **settings):
        found = mf.cross_validate(cohort or table_of(), folds, repeats, **{**TABLE, **settings})
        started.extend(job.job_id for job in found.jobs)
        return found

    yield start
    for job_id in started:
        run = RUNS.pop(job_id)
        if not run.ended.is_set():
            run.control.deliver("stop")
            assert run.ended.wait(60)


def test_every_row_is_predicted_once_by_a_model_that_never_saw_its_patient(cross_validate):
    cohort = table_of()
    found = cross_validate(cohort, folds=3, repeats=2).wait()
    assert found.status == "completed"
    jobs = found.jobs
    assert [str(job.status) for job in jobs] == ["completed"] * 6
    assert [job.record.name for job in jobs][3] == "y-mlp repeat 2 fold 1"
    table = found.predictions
    assert list(table.columns) == ["repeat", "fold", "seed", "row", "target", "p_ill", "p_well"]
    for _, part in table.groupby("repeat"):
        assert sorted(part["row"]) == list(range(len(cohort)))
    assert list(table["target"]) == list(cohort.frame["y"].to_numpy()[table["row"]])
    assert np.allclose(table["p_ill"] + table["p_well"], 1)
    for job, model in zip(jobs, found.models, strict=True):
        place = job.record.data_config
        split = split_of(job.record)()
        own = table[(table["repeat"] == place["repeat"]) & (table["fold"] == place["fold"])]
        assert list(own["row"]) == list(split.rows["test"])
        tested = set(cohort.frame["who"].iloc[own["row"]])
        assert not tested & set(split.train.frame["who"])
        assert not tested & set(split.val.frame["who"])
        assert model.job_id == job.job_id
        assert np.allclose(model.predictions(cohort, split.rows["test"]), own[["p_ill", "p_well"]], atol=1e-6)


def test_callbacks_see_each_fold_and_again_those_that_are_resumed(cross_validate):
    class Folds(mf.Callback):
        seen = 0

        def fit_end(self, state):
            self.seen += 1

    class Ends(mf.Callback):
        essential = True

        def epoch_end(self, state):
            raise RuntimeError("cut off")

    counted = Folds()
    cut = cross_validate(callbacks=[Ends()])
    with pytest.raises(JobFailed, match="cut off"):
        cut.wait()
    cut.resume(callbacks=[counted]).wait()
    assert cut.status == "completed"
    assert counted.seen == 3


def test_a_place_in_the_queue_is_that_of_every_fold(medfusion_home):
    later = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    queued = mf.cross_validate(table_of(), 3, detach=True, priority=7, not_before=later, **TABLE)
    assert [(job.record.priority, job.record.not_before) for job in queued.jobs] == [(7, later)] * 3
    for refused in ({"priority": 7}, {"not_before": later}, {"detach": True, "callbacks": [mf.Callback()]}):
        with pytest.raises(ConfigError):
            mf.cross_validate(table_of(), 3, **refused, **TABLE)
    assert len(open_store().jobs.list(limit=10, folds=False).items) == 1


def test_what_cannot_be_learned_is_not_learned_from_a_patient_s_other_rows(cross_validate):
    # every patient has rows that are nearly the same, and a class that nothing else tells: a leak would show as a high AUROC
    rng = np.random.default_rng(0)
    patients, rows = 60, 6
    who = np.repeat(np.arange(patients), rows)
    target = rng.permutation(np.arange(patients) % 2)[who]
    columns = {f"x{k}": rng.normal(size=patients)[who] + 0.01 * rng.normal(size=len(who)) for k in range(20)}
    cohort = mf.Cohort(
        pd.DataFrame({"who": who, "y": target, **columns}), target="y", patient="who", numeric=list(columns)
    )
    found = cross_validate(cohort, folds=4, epochs=30, patience=None, watch="val/loss").wait()
    low, high = found.metrics.loc["auroc", ["pooled_low", "pooled_high"]]
    assert low < 0.5 < high
    # the same model on rows of its own training patients has learned them by heart
    model, split = found.models[0], split_of(found.jobs[0].record)()
    rows_of_train = split.rows["train"]
    learned = auroc_of_classes(cohort.target_codes[rows_of_train], model.predictions(cohort, rows_of_train))
    assert learned.value > 0.8


def test_metrics_are_means_over_folds_with_an_interval_and_of_all_rows_together(cross_validate):
    cohort = table_of(patients=60)
    found = cross_validate(cohort, folds=3, repeats=2, epochs=3).wait()
    table = found.predictions
    each = [
        auroc_of_classes(cohort.target_codes[one["row"]], one[["p_ill", "p_well"]].to_numpy()).value
        for _, one in table.groupby(["repeat", "fold"])
    ]
    sizes = [job.record.data_config["rows"] for job in found.jobs]
    expected = mean_over_folds(each, np.mean([one["test"] / one["train"] for one in sizes]))
    metrics = found.metrics
    auroc = metrics.loc["auroc"]
    assert (auroc["mean"], auroc["low"], auroc["folds"]) == pytest.approx((expected.value, expected.low, 6))
    assert auroc["high"] == pytest.approx(min(1, expected.high))
    pooled = [
        auroc_of_classes(
            cohort.target_codes[one["row"]], one[["p_ill", "p_well"]].to_numpy(), cohort.patient_codes[one["row"]]
        )
        for _, one in table.groupby("repeat")
    ]
    assert auroc["pooled"] == pytest.approx(np.mean([one.value for one in pooled]))
    assert auroc["pooled_low"] == pytest.approx(np.mean([one.low for one in pooled]))
    assert metrics.loc["accuracy", "mean"] == pytest.approx(
        (table["target"] == np.where(table["p_ill"] > 0.5, "ill", "well")).mean(), abs=0.02
    )
    assert metrics.loc["accuracy", "pooled_low"] < metrics.loc["accuracy", "pooled"]
    # the store has them too, so that lists can show them and sort by them
    record = found.record
    assert (record.watched_metric, record.best_value) == ("test/auroc", pytest.approx(expected.value))
    assert open_store().jobs.list(metric="test/auroc").items[0].job_id == found.job_id
    assert f"test AUROC {expected.value:.3f}" in repr(found)


def test_each_fold_is_trained_with_each_seed_and_seeds_are_no_folds(cross_validate):
    cohort = table_of()
    found = cross_validate(cohort, folds=2, seeds=[3, 8], seed=5).wait()
    assert [job.record.training_config["seed"] for job in found.jobs] == [3, 8, 3, 8]
    splits = [split_of(job.record)() for job in found.jobs]
    assert np.array_equal(splits[0].rows["test"], splits[1].rows["test"])
    assert not np.array_equal(splits[0].rows["test"], splits[2].rows["test"])
    table = found.predictions
    for seed in (3, 8):
        assert sorted(table[table["seed"] == seed]["row"]) == list(range(len(cohort)))
    one, other = (table[table["seed"] == seed].sort_values("row")["p_ill"].to_numpy() for seed in (3, 8))
    assert not np.allclose(one, other)
    of_fold = [
        np.mean([auroc_of_classes(cohort.target_codes[s["row"]], s[["p_ill", "p_well"]].to_numpy()).value
                 for _, s in fold.groupby("seed")])
        for _, fold in table.groupby("fold")
    ]  # fmt: skip
    sizes = [job.record.data_config["rows"] for job in found.jobs]
    expected = mean_over_folds(of_fold, np.mean([s["test"] / s["train"] for s in sizes]))
    assert found.metrics.loc["auroc", "mean"] == pytest.approx(expected.value)
    # two folds, not four: the interval is wide
    assert found.metrics.loc["auroc", "low"] == pytest.approx(max(0, expected.low))


def test_images_and_table_and_patients_only_where_asked_for(cross_validate, medfusion_home):
    # without a column of patients each row is one
    plain = cross_validate(
        mf.synthetic_cohort(n=60, seed=0, image_size=16), folds=2, image_encoder="light_cnn", image_size=16
    ).wait()
    assert len(plain.predictions) == 60
    if plain.jobs[0].record.data_config["patient"] is None:
        with pytest.raises(BadValue, match="each row is a patient of its own"):
            plain.with_patients()
    cohort = table_of()
    found = cross_validate(cohort, folds=2).wait()
    assert "patient" not in found.predictions
    named = found.with_patients()
    assert list(named["patient"]) == list(cohort.frame["who"].to_numpy()[named["row"]])
    for job in found.jobs:
        (kept,) = (medfusion_home / "jobs" / job.job_id).glob("out-of-fold-*.csv")
        assert kept.read_text().splitlines()[0] == "row,target,p_ill,p_well"


def test_the_call_returns_at_once_and_stop_ends_all_and_resume_runs_only_what_is_missing(cross_validate):
    found = cross_validate(epochs=3000, patience=None, name="long")
    assert found.status in ("pending", "running")
    wait_for(lambda: found.jobs[0].record.current_epoch >= 2, "the first fold does not train")
    first = found.jobs[0]
    with pytest.raises(BadValue, match=f"{first.job_id} is fold 1 of the cross-validation {found.job_id}"):
        first.set(epochs=40)
    # for the test's sake
    RUNS[first.job_id].control.deliver("set", {"epochs": first.record.current_epoch + 30})
    wait_for(lambda: found.jobs[1].record.current_epoch >= 2, lambda: repr(found))
    assert (found.status, found.record.folds_done) == ("running", 1)
    with pytest.raises(IllegalTransition, match="'resume' is possible when"):
        found.resume()
    done = first.record
    assert list(found.predictions["row"]) == list(split_of(done)().rows["test"])
    found.stop()
    wait_for(lambda: found.status == "stopped", lambda: repr(found))
    assert [str(job.status) for job in found.jobs] == ["completed", "stopped", "stopped"]
    again = mf.load_cross_validation(found.job_id)
    assert again.metrics.loc["auroc", "folds"] == 1
    assert np.isnan(again.metrics.loc["auroc", "low"])
    again.resume()
    wait_for(lambda: found.jobs[1].status == "running", lambda: repr(found))
    found.pause()
    wait_for(lambda: found.status == "paused", lambda: repr(found))
    assert "1 of 3 folds done" in repr(found)
    found.resume()
    wait_for(lambda: found.status == "running", lambda: repr(found))
    found.stop()
    wait_for(lambda: found.status == "stopped", lambda: repr(found))
    untouched = found.jobs[0].record
    assert (untouched.run_token, untouched.completed_at) == (done.run_token, done.completed_at)


def test_a_killed_kernel_leaves_finished_folds_and_another_process_runs_the_rest(medfusion_home):
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        code = (
            "import medfusion as mf\n"
            "cohort = mf.synthetic_cohort(n=120, seed=0, image_size=16)\n"
            "cv = mf.cross_validate(cohort, folds=3, image_encoder='light_cnn', image_size=16, batch_size=16, "
            "device='cpu', patience=None, epochs=2000)\n"
        )
        reply = client.execute_interactive(code, timeout=120, store_history=False)
        assert reply["content"]["status"] == "ok", reply["content"]
        store = open_store()
        (whole,) = store.jobs.list(folds=False).items
        ids = [fold.job_id for fold in store.jobs.folds(whole.job_id)]
        wait_for(lambda: store.jobs.get(ids[0]).current_epoch >= 1, lambda: store.jobs.get(ids[0]))
        # for the test's sake
        code = f"from medfusion_jupyter.training.starting import RUNS\nRUNS[{ids[0]!r}].control.deliver('set', {{'epochs': 2}})"
        client.execute_interactive(code, timeout=120, store_history=False)
        wait_for(lambda: len(store.checkpoints.list(ids[1])) >= 1, lambda: store.jobs.get(ids[1]))
        os.kill(store.jobs.get(ids[1]).pid, signal.SIGKILL)
        manager.provisioner.process.wait()
        wait_for(lambda: store.jobs.get(whole.job_id).status == "interrupted", lambda: store.jobs.get(whole.job_id))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    folds = store.jobs.folds(whole.job_id)
    assert [str(fold.status) for fold in folds] == ["completed", "interrupted", "interrupted"]
    shorten(store, ids[1:], epochs=store.checkpoints.list(ids[1])[-1].epoch + 1)
    found = mf.load_cross_validation(whole.job_id)
    before = found.jobs[0].record
    with pytest.raises(BadValue, match="mf.load_cross_validation"):
        mf.resume(whole.job_id)
    found.resume().wait()
    assert found.jobs[0].record == before
    epochs = list(found.jobs[1].history.index)
    assert epochs == list(range(1, epochs[-1] + 1))
    assert sorted(found.predictions["row"]) == list(range(120))
    assert found.metrics.loc["auroc", "folds"] == 3
    with pytest.raises(JobFailed, match="All 3 folds .* nothing left to resume"):
        found.resume()


def shorten(store, job_ids, epochs):
    """For the test's sake."""
    from medfusion_jupyter.store.job_moves import find_job

    with store.writing() as session:
        for job_id in job_ids:
            row = find_job(session, job_id)
            row.total_epochs = epochs
            row.training_config = {**row.training_config, "epochs": epochs}


def test_a_fold_that_fails_is_named_and_the_others_are_kept(cross_validate, monkeypatch):
    from medfusion_jupyter.training import run

    real, begun = run.prepare, []

    def fails_second(*arguments, **more):
        begun.append(1)
        if len(begun) == 2:
            raise OSError("the disk is gone")
        return real(*arguments, **more)

    monkeypatch.setattr(run, "prepare", fails_second)
    found = cross_validate()
    second = found.jobs[1].job_id
    with pytest.raises(JobFailed, match=rf"fold 2 \({second}\): the disk is gone"):
        found.wait()
    assert found.metrics.loc["auroc", "folds"] == 2
    assert found.record.best_value is None
    found.resume().wait()
    assert found.metrics.loc["auroc", "folds"] == 3
    assert (found.record.error, found.record.best_value) == (None, found.metrics.loc["auroc", "mean"])


def test_predictions_that_were_not_kept_are_made_when_they_are_asked_for(
    cross_validate, medfusion_home, caplog, monkeypatch
):
    from medfusion_jupyter.training import out_of_fold

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(out_of_fold, "write_text", full)
        found = cross_validate(folds=2, watch="val/loss").wait()
        wait_for(lambda: turns._thread is None, "the queue is not empty")
    assert "are not kept yet" in caplog.text
    assert not list((medfusion_home / "jobs").glob("*/out-of-fold-*"))
    assert found.status == "completed"
    assert found.record.best_value is None
    table = mf.load_cross_validation(found.job_id).predictions
    assert len(table) == len(table_of())
    assert found.metrics.loc["auroc", "mean"] == found.record.best_value
    # a fold that is trained further predicts anew
    (first, _) = found.jobs
    shorten(open_store(), [first.job_id], epochs=3)
    mf.resume(first.job_id).wait()
    changed = found.predictions
    assert not np.allclose(changed["p_ill"][changed["fold"] == 1], table["p_ill"][table["fold"] == 1])
    assert np.allclose(changed["p_ill"][changed["fold"] == 2], table["p_ill"][table["fold"] == 2])
    assert len(list((medfusion_home / "jobs" / first.job_id).glob("out-of-fold-*"))) == 1


def test_it_is_deleted_as_a_whole(cross_validate, medfusion_home):
    found = cross_validate(folds=2).wait()
    wait_for(lambda: turns._thread is None, "the queue is not empty")
    with pytest.raises(InUse, match=f"cross-validation {found.job_id}"):
        open_store().jobs.delete(found.jobs[0].job_id)
    ids = [job.job_id for job in found.jobs]
    open_store().jobs.delete(found.job_id)
    assert open_store().jobs.list().items == []
    assert open_store().models.list().items == []
    for job_id in (found.job_id, *ids):
        assert not list((medfusion_home / "jobs").glob(f"{job_id}/*"))
        assert not list((medfusion_home / "models").glob(f"{job_id}/*"))


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"test": 0.3}, ConfigError, "test cannot be set beside folds=3: each fold tests one in 3"),
        ({"epoch": 3}, ConfigError, "Did you mean 'epochs'"),
        ({"folds": 1}, CohortError, "folds=1 is out of range: give 2 to 500"),
        ({"folds": 21}, CohortError, r"fewer patients than folds=21 needs \(21\)"),
        ({"val": 0.7}, ConfigError, "leave nothing to train on"),
        ({"seeds": 3}, ConfigError, r"list the seeds, such as seeds=range\(3\)"),
        ({"seeds": []}, ConfigError, "give one or more, each once"),
        ({"seeds": [1, 1]}, ConfigError, "give one or more, each once"),
        ({"seeds": [-1]}, ConfigError, "seed=-1"),
        ({"repeats": 200}, ConfigError, "600 trainings; at most 500"),
        ({"image_encoder": "light_cnn"}, ConfigError, "image_encoder=.light_cnn., but the cohort"),
    ],
)
def test_what_cannot_be_cross_validated_is_refused_and_nothing_is_stored(medfusion_home, settings, error, words):
    with pytest.raises(error, match=words):
        mf.cross_validate(table_of(), **{"folds": 3, **TABLE, **settings})
    assert open_store().jobs.list().items == []


def test_a_split_and_an_ordinary_job_are_refused_with_what_to_do(cross_validate, train):
    with pytest.raises(ConfigError, match="takes the whole Cohort"):
        mf.cross_validate(table_of().split(), **TABLE)
    found = cross_validate(folds=2)
    with pytest.raises(BadValue, match=f"mf.load_cross_validation\\('{found.job_id}'\\)"):
        mf.load_job(found.job_id)
    with pytest.raises(BadValue, match="is no cross-validation: mf.load_job"):
        mf.load_cross_validation(found.jobs[0].job_id)
    found.stop()


def test_default_encoders_serve_a_cohort_that_has_only_a_table(cross_validate):
    found = mf.cross_validate(table_of(), 2, **{k: v for k, v in TABLE.items() if k != "image_encoder"})
    found.wait()
    assert found.jobs[0].record.training_config["image_encoder"] is None
    assert found.jobs[0].record.model_config["image_encoder"] is None
