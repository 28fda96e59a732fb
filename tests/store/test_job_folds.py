"""A cross-validation in the store: its state follows from its folds, and it is asked, queued and deleted with them."""

import pytest

from medfusion_jupyter.store import IllegalTransition, StoreError
from medfusion_jupyter.store.errors import BadValue, InUse
from medfusion_jupyter.store.job_folds import FoldPlan

MODEL = {"file_size": 1, "format": "f", "backbone": "b", "num_classes": 2, "input_shape": [], "metrics": {}}


@pytest.fixture
def whole(store):
    """A cross-validation of three folds, none begun."""
    plans = [FoldPlan(f"cv fold {k}", {"fold": k}, {"epochs": 4, "seed": k}, 4, "val/auroc") for k in (1, 2, 3)]
    return store.jobs.create(
        "cv",
        model_config={},
        data_config={},
        training_config={},
        total_epochs=12,
        watched_metric="test/auroc",
        folds=plans,
    )


@pytest.fixture
def run(store, here):
    """Bring a fold to each status in turn, as a run of this process."""

    def go(fold, *statuses, **more):
        token = f"run of {fold.job_id}"
        if statuses[0] == "claimed":
            store.jobs.claim(fold.job_id, run_token=token, **here)
            statuses = statuses[1:]
        for status in statuses:
            store.jobs.update_status(fold.job_id, status, run_token=token, **more)
        return token

    return go


WORKING = ("claimed", "initializing", "running")


def test_folds_are_jobs_with_a_number_and_a_parent(store, whole):
    folds = store.jobs.folds(whole.job_id)
    assert [(fold.fold, fold.name, fold.parent_job_id) for fold in folds] == [
        (k, f"cv fold {k}", whole.job_id) for k in (1, 2, 3)
    ]
    assert [fold.training_config["seed"] for fold in folds] == [1, 2, 3]
    assert {fold.watched_metric for fold in folds} == {"val/auroc"}
    assert (whole.num_folds, whole.folds_done, whole.fold, whole.status) == (3, 0, None, "pending")
    assert store.jobs.folds(folds[0].job_id) == []


def test_status_progress_and_times_follow_from_the_folds(store, whole, run):
    one, two, three = store.jobs.folds(whole.job_id)

    def state():
        job = store.jobs.get(whole.job_id)
        return str(job.status), job.folds_done

    token = run(one, *WORKING)
    assert state() == ("running", 0)
    store.jobs.update_progress(one.job_id, run_token=token, progress=0.5, current_epoch=2, seconds_left=7.0)
    seen = store.jobs.get(whole.job_id)
    assert (seen.progress, seen.current_epoch, seen.total_epochs) == (pytest.approx(0.5 / 3), 2, 12)
    assert seen.seconds_left is None  # nobody knows yet how long a fold takes
    run(one, "paused")
    assert state() == ("paused", 0)
    run(one, "running", "completed")
    assert state() == ("running", 1)
    token = run(two, *WORKING)
    store.jobs.update_progress(two.job_id, run_token=token, seconds_left=7.0)
    took = store.jobs.get(one.job_id).duration
    assert store.jobs.get(whole.job_id).seconds_left == pytest.approx(7 + took)
    run(two, "failed", error="no memory")
    run(three, *WORKING, "completed")
    done = store.jobs.get(whole.job_id)
    assert (done.status, done.folds_done, done.error) == ("failed", 2, f"fold 2 ({two.job_id}): no memory")
    assert done.completed_at == store.jobs.get(three.job_id).completed_at
    assert done.started_at == store.jobs.get(one.job_id).started_at
    run(two, *WORKING)
    assert (state(), store.jobs.get(whole.job_id).completed_at) == (("running", 2), None)
    run(two, "completed")
    done = store.jobs.get(whole.job_id)
    assert (done.status, done.folds_done, done.error, done.progress) == ("completed", 3, None, 1.0)
    moves = [
        event.data["to"] for event in store.events.list(entity="job", entity_id=whole.job_id) if event.kind == "status"
    ]
    assert moves == ["running", "paused", "running", "failed", "running", "completed"]


def test_a_cross_validation_is_not_gone_while_its_folds_wait_and_is_when_they_are(store, whole, run):
    one, two, three = store.jobs.folds(whole.job_id)
    store.queue.add(whole.job_id)
    assert store.jobs.mark_interrupted(older_than_seconds=-1) == []
    assert store.jobs.get(whole.job_id).status == "pending"
    for fold in (one, two, three):
        run(fold, "claimed")
    run(one, "initializing", "running", "completed")
    assert set(store.jobs.mark_interrupted(older_than_seconds=-1)) == {two.job_id, three.job_id}
    seen = store.jobs.get(whole.job_id)
    assert (seen.status, seen.folds_done) == ("interrupted", 1)
    assert "is gone" in seen.error


def test_it_counts_as_one_job_and_lists_can_leave_its_folds_out(store, whole, run, new_job):
    other = new_job("other")
    one, two, three = store.jobs.folds(whole.job_id)
    run(one, *WORKING, "completed")
    assert store.jobs.counts() == {"pending": 1, "running": 1}

    def ids(**wanted):
        return [job.job_id for job in store.jobs.list(**wanted).items]

    assert ids(folds=False) == [other.job_id, whole.job_id]
    assert ids() == [other.job_id, three.job_id, two.job_id, one.job_id, whole.job_id]
    assert ids(parent_job_id=whole.job_id) == [three.job_id, two.job_id, one.job_id]
    assert ids(parent_job_id=whole.job_id, status="completed") == [one.job_id]
    assert ids(folds=False, sort="name", falling=False) == [whole.job_id, other.job_id]


def test_what_is_asked_of_it_is_asked_of_the_folds_that_can(store, whole, run):
    one, two, _three = store.jobs.folds(whole.job_id)
    with pytest.raises(IllegalTransition, match="pending: 'pause' is possible when"):
        store.jobs.request(whole.job_id, "pause")
    run(one, *WORKING, "completed")
    token = run(two, *WORKING)
    store.jobs.request(whole.job_id, "pause")
    store.jobs.request(whole.job_id, "stop")
    with store.writing() as session:
        asked = [command.command for command in store.jobs.take_commands_in(session, two.pk, token)]
    assert asked == ["pause", "stop"]
    # the third had no run yet
    assert [str(fold.status) for fold in store.jobs.folds(whole.job_id)] == ["completed", "running", "stopped"]
    with pytest.raises(BadValue, match="trained with the same settings"):
        store.jobs.request(whole.job_id, "set", {"lr": 0.1})


def test_a_fold_keeps_the_settings_of_its_cross_validation(store, whole, run):
    one = store.jobs.folds(whole.job_id)[0]
    run(one, *WORKING)
    said = f"{one.job_id} is fold 1 of the cross-validation {whole.job_id}: .* with the same settings. A fork of it can"
    with pytest.raises(BadValue, match=said):
        store.jobs.request(one.job_id, "set", {"lr": 0.1})
    run(one, "completed")
    with pytest.raises(BadValue, match=said):
        store.jobs.extend(one.job_id, 40)


def test_it_has_no_run_of_its_own_and_its_folds_are_queued(store, whole, run, here):
    with pytest.raises(BadValue, match="its folds are run"):
        store.jobs.claim(whole.job_id, run_token="t", **here)
    one, two, three = store.jobs.folds(whole.job_id)
    store.queue.add(whole.job_id, priority=3)
    assert [(job.job_id, job.priority) for job in store.queue.waiting()] == [(f.job_id, 3) for f in (one, two, three)]
    run(one, *WORKING, "completed")
    run(two, *WORKING, "failed")
    run(three, *WORKING)
    store.queue.add(whole.job_id)
    assert [job.job_id for job in store.queue.waiting()] == [two.job_id]
    run(two, *WORKING, "completed")
    run(three, "completed")
    with pytest.raises(IllegalTransition, match="completed: 'queue' is possible when"):
        store.queue.add(whole.job_id)


def test_its_result_is_sorted_by_and_shown(store, whole, new_job):
    new_job()
    store.jobs.note_result(whole.job_id, {"test/auroc": 0.8, "test/auroc_low": 0.7})
    assert store.jobs.get(whole.job_id).best_value == 0.8
    (found,) = store.jobs.list(metric="test/auroc", at_least=0.75, sort="metric").items
    assert (found.job_id, found.current_metrics["test/auroc_low"]) == (whole.job_id, 0.7)
    with pytest.raises(BadValue, match="is no cross-validation"):
        store.jobs.note_result(store.jobs.folds(whole.job_id)[0].job_id, {})


def test_it_is_deleted_with_its_folds_their_models_and_all_their_files(store, whole, run, new_job, medfusion_home):
    one, two, three = store.jobs.folds(whole.job_id)
    kept = new_job("kept")
    model_folder = medfusion_home / "models" / one.job_id / "epoch-0001-x"
    folders = [model_folder, *(medfusion_home / "jobs" / job.job_id for job in (whole, one, two, three, kept))]
    for folder in folders:
        folder.mkdir(parents=True)
    run(one, *WORKING)
    with pytest.raises(IllegalTransition, match="'delete' is possible when"):
        store.jobs.delete(whole.job_id)
    store.checkpoints.add(
        one.job_id, run_token=f"run of {one.job_id}", epoch=1, step=3, metrics={}, path="/p", file_size=1, is_best=True
    )
    run(one, "completed")
    store.jobs.request(whole.job_id, "stop")
    model = store.models.register("cv fold 1", path=str(model_folder), job_id=one.job_id, **MODEL)
    with pytest.raises(InUse, match=f"cross-validation {whole.job_id}"):
        store.jobs.delete(two.job_id)
    assert store.models.list(folds=False).items == []
    assert store.models.list(folds=False, job_id="job_0002").items == []
    store.models.set_alias("cv fold 1", "production", 1)
    assert [one.id for one in store.models.list(folds=False).items] == [model.id]
    with pytest.raises(InUse, match="alias production of cv fold 1"):
        store.jobs.delete(whole.job_id)
    assert all(folder.exists() for folder in folders)
    store.models.remove_alias("cv fold 1", "production")
    fork = new_job("fork", parent_job_id=one.job_id)
    with pytest.raises(InUse, match=f"job {fork.job_id}"):
        store.jobs.delete(whole.job_id)
    store.jobs.request(fork.job_id, "stop")
    store.jobs.delete(fork.job_id)
    store.jobs.delete(whole.job_id)
    assert [job.job_id for job in store.jobs.list().items] == [kept.job_id]
    assert store.jobs.counts() == {"pending": 1}
    assert [folder for folder in folders if folder.exists()] == [folders[-1]]
    with pytest.raises(StoreError):
        store.models.get(model.id)
    gone = {event.entity_id for event in store.events.list() if event.kind == "deleted" and event.entity == "job"}
    assert gone == {job.job_id for job in (whole, one, two, three, fork)}
