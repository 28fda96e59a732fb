"""Training jobs: identity, legal moves, ownership, commands, and the ones whose process is gone."""

import datetime as dt
import os
import signal
import subprocess
import sys

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from medfusion_jupyter.store import BadCursor, IllegalTransition, JobStatus, RunReplaced, StoreError, UnknownId, jobs
from medfusion_jupyter.store.errors import Conflict
from medfusion_jupyter.store.status import ACTIVE, COMMANDS, FINISHED, MOVES
from medfusion_jupyter.store.tables import JobRow, now


def test_a_job_is_named_by_its_key_and_a_deleted_one_is_never_given_again(store, new_job):
    first, second = new_job(), new_job()
    assert (first.job_id, second.job_id) == ("job_0001", "job_0002")
    store.jobs.request(second.job_id, "stop")
    store.jobs.delete(second.job_id)
    assert new_job().job_id == "job_0003"


def test_an_unknown_id_is_answered_with_the_newest_there_are(store, new_job):
    with pytest.raises(UnknownId, match="No job is stored yet"):
        store.jobs.get("job_0001")
    new_job()
    with pytest.raises(UnknownId, match=r"no job 'job_0999'. The newest: job_0001"):
        store.jobs.get("job_0999")


@pytest.mark.parametrize("status", ["pending", "initializing", "running", "paused", "completed", "failed", "stopped"])
@pytest.mark.parametrize("wanted", list(JobStatus))
def test_only_legal_moves_are_made(store, new_job, status, wanted):
    job = new_job(status=status)
    if wanted in MOVES[JobStatus(status)]:
        assert store.jobs.update_status(job.job_id, wanted, run_token="t").status == wanted
    else:
        with pytest.raises(IllegalTransition, match=f"{job.job_id} is {status}"):
            store.jobs.update_status(job.job_id, wanted, run_token="t")
        assert store.jobs.get(job.job_id).status == status


def test_a_run_that_was_replaced_writes_nothing(store, new_job, here):
    job = new_job(status="stopped")
    store.jobs.claim(job.job_id, run_token="new", **here)
    before = store.jobs.get(job.job_id)
    for write in (
        lambda: store.jobs.update_status(job.job_id, "initializing", run_token="t"),
        lambda: store.jobs.update_progress(job.job_id, run_token="t", progress=0.5),
        lambda: store.jobs.finish_epoch(job.job_id, run_token="t", epoch=1, row={"epoch": 1}),
        lambda: store.jobs.set_best(job.job_id, run_token="t", epoch=1, value=1.0),
        lambda: store.jobs.truncate(job.job_id, run_token="t", epoch=0, step=0),
        lambda: store.checkpoints.add(
            job.job_id, run_token="t", epoch=1, step=1, metrics={}, path="p", file_size=1, is_best=True
        ),
    ):
        with pytest.raises(RunReplaced):
            write()
    assert store.jobs.get(job.job_id) == before
    assert store.checkpoints.list(job.job_id) == []


def test_a_live_job_cannot_be_claimed_and_a_finished_one_starts_clean(store, new_job, here):
    job = new_job(status="running")
    with pytest.raises(IllegalTransition, match="running"):
        store.jobs.claim(job.job_id, run_token="new", **here)
    store.jobs.request(job.job_id, "stop")
    store.jobs.update_status(job.job_id, "failed", run_token="t", error="broken")
    again = store.jobs.claim(job.job_id, run_token="new", **here)
    assert (again.status, again.error, again.completed_at, again.run_token) == ("pending", None, None, "new")
    with store.writing() as session:
        assert store.jobs.take_commands_in(session, job.pk, "new") == []


@pytest.mark.parametrize("status", ["pending", "initializing", "running", "paused", "completed"])
@pytest.mark.parametrize("command", ["pause", "resume", "stop", "checkpoint"])
def test_commands_reach_the_run_once_and_in_order_or_are_refused(store, new_job, status, command):
    job = new_job(status=status)
    if JobStatus(status) not in COMMANDS[command]:
        with pytest.raises(IllegalTransition, match=status):
            store.jobs.request(job.job_id, command)
        return
    assert command in store.jobs.get(job.job_id).commands
    store.jobs.request(job.job_id, command)
    store.jobs.request(job.job_id, "stop")
    with store.writing() as session:
        assert [c.command for c in store.jobs.take_commands_in(session, job.pk, "t")] == [command, "stop"]
    with store.writing() as session:
        assert store.jobs.take_commands_in(session, job.pk, "t") == []


def test_an_unknown_command_names_the_ones_there_are(store, new_job):
    with pytest.raises(StoreError, match="'explode'.*pause, resume, stop"):
        store.jobs.request(new_job().job_id, "explode")


def test_a_pending_job_without_a_run_is_stopped_at_once(store, new_job):
    assert store.jobs.request(new_job().job_id, "stop").status == "stopped"


def _silent_since(store, job, seconds, **columns):
    with store.writing() as session:
        heard = now() - dt.timedelta(seconds=seconds)
        session.execute(update(JobRow).where(JobRow.id == job.pk).values(heartbeat_at=heard, **columns))


@pytest.mark.parametrize("status", ["pending", "initializing", "running", "paused"])
def test_a_silent_job_is_interrupted_for_whoever_looks_and_can_come_back(store, new_job, status):
    job = new_job(status=status)
    _silent_since(store, job, 10)
    assert store.jobs.get(job.job_id).status == status
    _silent_since(store, job, 21, host="elsewhere")
    found = store.jobs.list().items[0]
    assert found.status == "interrupted"
    assert "is gone" in found.error
    with store.writing() as session:
        assert store.jobs.beat_in(session, job.pk, "t", None)
    back = store.jobs.get(job.job_id)
    assert (back.status, back.error) == (status, None)


@pytest.mark.parametrize("ended", ["completed", "failed", "stopped"])
def test_a_beat_that_comes_after_the_last_word_changes_nothing(store, new_job, ended):
    job = new_job(status="running")
    store.jobs.update_status(job.job_id, ended, run_token="t")
    before = store.jobs.get(job.job_id)
    store.jobs.update_progress(job.job_id, run_token="t", progress=0.47, seconds_left=7.0)
    assert store.jobs.get(job.job_id) == before


def test_a_killed_process_is_noticed_before_its_heartbeat_is_old(store, new_job):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    job = new_job(status="running")
    started = psutil.Process(process.pid).create_time()
    _silent_since(store, job, 4, pid=process.pid, process_started=started)
    assert store.jobs.get(job.job_id).status == "running"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert store.jobs.get(job.job_id).status == "interrupted"


def test_a_process_that_was_given_the_number_of_a_dead_one_is_not_taken_for_it(store, new_job):
    job = new_job(status="running")
    _silent_since(store, job, 4, process_started=1.0)
    assert store.jobs.get(job.job_id).status == "interrupted"


def test_pages_hold_every_job_once_newest_first(store, new_job):
    made = [new_job(f"n{k}").job_id for k in range(7)]
    found, cursor = [], None
    while True:
        page = store.jobs.list(limit=3, cursor=cursor)
        found += [job.job_id for job in page.items]
        cursor = page.next
        if cursor is None:
            break
        new_job("made meanwhile")
    assert found == made[::-1]


def test_search_takes_its_words_literally(store, new_job):
    new_job("50%_done"), new_job("505 done")
    assert [job.name for job in store.jobs.list(search="50%_D").items] == ["50%_done"]
    assert [job.job_id for job in store.jobs.list(search="_0002").items] == ["job_0002"]


@pytest.mark.parametrize(
    "bad", [{"limit": 0}, {"limit": -1}, {"limit": 501}, {"cursor": "x"}, {"cursor": "-1"}, {"cursor": "9" * 30}]
)
def test_bad_pages_are_refused(store, bad):
    with pytest.raises(BadCursor):
        store.jobs.list(**bad)


def test_a_job_with_a_model_is_not_deleted_and_says_why(store, new_job):
    job = new_job(status="stopped")
    store.models.register(
        "icu",
        path="p",
        file_size=1,
        format="f",
        backbone="b",
        num_classes=2,
        input_shape=[],
        metrics={},
        job_id=job.job_id,
    )
    with pytest.raises(StoreError, match="model icu v1 depend"):
        store.jobs.delete(job.job_id)
    with pytest.raises(IllegalTransition, match="running"):
        store.jobs.delete(new_job(status="running").job_id)


def test_each_change_is_an_event_in_order(store, new_job):
    job = new_job(status="running")
    store.jobs.request(job.job_id, "pause", by="ada")
    store.jobs.finish_epoch(job.job_id, run_token="t", epoch=1, row={"epoch": 1, "val/auroc": float("nan")})
    events = store.events.list()
    assert [event.kind for event in events] == ["created", "status", "status", "command", "epoch"]
    assert [event.id for event in events] == sorted(event.id for event in events)
    assert events[3].actor == "ada"
    assert events[4].data == {"epoch": 1, "val/auroc": None}
    assert store.events.last_id() == events[-1].id
    assert [event.kind for event in store.events.list(after=events[3].id)] == ["epoch"]


def test_times_and_duration_say_how_long_it_ran(store, new_job):
    job = new_job(status="completed")
    assert job.created_at <= job.started_at <= job.completed_at
    assert job.duration == (job.completed_at - job.started_at).total_seconds()
    assert job.progress == 1
    assert job.to_json()["created_at"].endswith("Z")
    assert "run_token" not in job.to_json()


@given(st.sampled_from(sorted(FINISHED)), st.sampled_from(list(JobStatus)))
def test_what_is_finished_is_left_only_by_a_claim_or_by_coming_back(status, wanted):
    assert ACTIVE.isdisjoint(FINISHED)
    if status != JobStatus.INTERRUPTED:
        assert wanted not in MOVES[status]


def test_of_two_changes_of_one_text_the_second_is_told_and_neither_is_lost(store, new_job):
    job = new_job()
    store.jobs.update(job.job_id, seen={"name": job.name}, name="ada's")
    with pytest.raises(Conflict, match=r"name of job_0001 was changed meanwhile: you saw 'job', it is at \"ada's\""):
        store.jobs.update(job.job_id, seen={"name": job.name}, name="bob's")
    store.jobs.update(job.job_id, seen={"description": ""}, description="another text is another change")
    assert store.jobs.get(job.job_id).name == "ada's"


def test_who_looks_for_runs_that_are_gone_reads_none_of_those_that_wait_in_a_queue(store, new_job):
    if store.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL reads a small table whole, whatever its indexes")
    statement = jobs._WATCH._query.compile(store.engine, compile_kwargs={"literal_binds": True})
    with store.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}").all()
    assert any("ix_training_jobs_taken" in row[-1] for row in plan), plan
