"""`mf.train`: returns at once, trains in the background, obeys, and leaves job, checkpoints and model in the store."""

import math
import time

import numpy as np
import pytest
import torch

import medfusion as mf
from medfusion_jupyter.store import IllegalTransition, UnknownId, open_store
from medfusion_jupyter.training import CheckpointError, JobFailed
from medfusion_jupyter.training.headless import run_queued
from medfusion_jupyter.training.loop import Loop
from medfusion_jupyter.training.step import Step


def test_a_job_runs_to_its_end_and_everything_is_in_the_store(train, cohort):
    job = train(epochs=3, name="whole way").wait()
    record = job.record
    assert record.status == "completed"
    assert record.progress == 1
    assert (record.current_epoch, record.total_epochs) == (3, 3)
    assert record.started_at <= record.completed_at
    assert record.dataset_fingerprint == cohort.fingerprint
    history = job.history
    assert list(history.index) == [1, 2, 3]
    for column in ("train/loss", "val/loss", "val/auroc", "val/auroc_low", "val/auroc_high", "lr", "seconds"):
        assert history[column].notna().all(), column
    losses = job.metrics("train/loss")
    assert list(losses.index) == list(range(1, record.total_steps + 1))
    assert np.isfinite(losses).all()
    validated = job.metrics("val/auroc")
    assert list(validated.index) == [record.total_steps // 3 * k for k in (1, 2, 3)]
    assert list(validated) == list(history["val/auroc"])
    assert history["val/auroc"].max() == record.best_value == history["val/auroc"][record.best_epoch]
    model = open_store().models.get_by_name("whole way")
    assert (model.version, model.training_job_id) == (1, record.job_id)
    assert model.metrics["val/auroc"] == record.best_value


def test_the_whole_way_on_postgresql(postgresql_server, monkeypatch, train):
    monkeypatch.setenv("MEDFUSION_DATABASE_URL", postgresql_server())
    job = train(epochs=2, name="shared").wait()
    assert job.status == "completed"
    assert list(job.metrics("train/loss").index) == list(range(1, job.record.total_steps + 1))
    assert mf.load_model("shared").epoch == job.record.best_epoch
    open_store().close()


def test_train_loss_of_an_epoch_is_the_mean_over_its_steps(train):
    job = train(epochs=2).wait()
    steps = job.record.total_steps // 2
    losses = job.metrics("train/loss")
    assert job.history["train/loss"][1] == pytest.approx(losses.iloc[:steps].mean())
    assert job.history["train/loss"][2] == pytest.approx(losses.iloc[steps:].mean())


def test_the_call_returns_before_the_work_is_done(train):
    job = train(epochs=50)
    assert job.status in ("pending", "initializing", "running")
    job.stop()


def test_pause_rests_and_resume_goes_on(train, at_epoch):
    job = train(epochs=400, patience=None)
    at_epoch(job, 1)
    job.pause()
    until = time.monotonic() + 30
    while job.status != "paused":
        assert time.monotonic() < until
        time.sleep(0.01)
    open_store().writer.flush()
    step = open_store().metrics.series(job.job_id, "train/loss").steps[-1]
    epoch = job.record.current_epoch
    open_store().writer.flush()
    assert open_store().metrics.series(job.job_id, "train/loss").steps[-1] == step
    job.resume()
    at_epoch(job, epoch + 2)
    assert job.status == "running"
    job.stop()
    job.wait()
    assert job.status == "stopped"


def test_stop_keeps_the_best_epoch_as_the_model(train, at_epoch):
    job = train(epochs=400, patience=None, name="stopped early")
    at_epoch(job, 2)
    job.stop()
    job.wait()
    assert job.status == "stopped"
    assert job.model.epoch == job.record.best_epoch
    assert open_store().models.get_by_name("stopped early").trained_epochs == job.record.best_epoch


def test_a_second_job_waits_its_turn_and_can_be_stopped_while_it_waits(train, at_epoch):
    first = train(epochs=400, patience=None)
    second = train(epochs=1)
    third = train(epochs=1)
    at_epoch(first, 1)
    assert second.status == "pending"
    third.stop()
    assert third.wait(timeout=30).status == "stopped"
    assert second.status == "pending"
    first.stop()
    assert second.wait(timeout=60).status == "completed"


def test_commands_that_make_no_sense_are_refused_with_the_reason(train):
    job = train(epochs=1).wait()
    with pytest.raises(IllegalTransition, match="completed"):
        job.pause()
    with pytest.raises(JobFailed, match="all its 1 epochs"):
        mf.resume(job.job_id)


def test_an_unknown_job_is_answered_with_the_ones_there_are(train):
    job = train(epochs=1)
    with pytest.raises(UnknownId, match=f"job_0999.*{job.job_id}"):
        mf.load_job("job_0999")
    job.wait()


def test_it_ends_early_when_validation_stops_getting_better(train):
    job = train(epochs=200, patience=2, lr=1e-7, warmup=0).wait()
    record = job.record
    assert record.status == "completed"
    assert record.current_epoch == record.best_epoch + 2
    assert record.current_epoch < 200


def test_the_same_seed_gives_the_same_run_and_another_seed_another(train):
    losses = [list(train(epochs=2, seed=seed).wait().metrics("train/loss")) for seed in (3, 3, 4)]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_a_stopped_job_resumed_ends_as_if_it_had_not_been_stopped(train, at_epoch):
    straight = train(epochs=6, patience=None).wait()
    job = train(epochs=6, patience=None)
    at_epoch(job, 2)
    job.stop()
    job.wait()
    if job.status == "stopped":
        mf.resume(job.job_id).wait()
    assert list(job.history.index) == [1, 2, 3, 4, 5, 6]
    assert list(job.metrics("train/loss").index) == list(straight.metrics("train/loss").index)
    assert list(job.metrics("train/loss")) == list(straight.metrics("train/loss"))
    for (name, a), (_, b) in zip(
        job.model.module.state_dict().items(), straight.model.module.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), name


def test_images_that_are_others_than_at_the_start_are_told_of_when_a_job_goes_on(train, caplog, medfusion_home):
    job = train(epochs=1).wait()
    assert mf.resume(job.job_id, epochs=2).wait().status == "completed"
    assert "images" not in caplog.text
    film = next(medfusion_home.rglob("synthetic/*/*.png"))
    film.write_bytes(film.read_bytes() + b"more")
    assert mf.resume(job.job_id, epochs=3).wait().status == "completed"
    assert f"are not those that {job.job_id} was started with" in caplog.text


def test_only_the_best_and_the_last_checkpoint_are_kept(train, medfusion_home):
    job = train(epochs=6, patience=None).wait()
    kept = open_store().checkpoints.list(job.job_id)
    assert {c.epoch for c in kept} == {job.record.best_epoch, 6}
    assert [c.epoch for c in kept if c.is_best] == [job.record.best_epoch]
    files = sorted(p.name for p in (medfusion_home / "jobs" / job.job_id).glob("*.safetensors"))
    assert files == sorted(f"epoch-{c.epoch:04d}.safetensors" for c in kept)


def test_a_loss_that_is_not_a_number_fails_the_job_and_keeps_the_last_good_checkpoint(train, monkeypatch):
    update, updates = Step.update, []

    def poisoned(self):
        update(self)
        updates.append(1)
        if len(updates) == 12:
            self.parameters[0].data.fill_(math.nan)

    with monkeypatch.context() as patch:
        patch.setattr(Step, "update", poisoned)
        job = train(epochs=5, patience=None)
        with pytest.raises(JobFailed, match=r"The loss is NaN at step 13 \(epoch 3\)"):
            job.wait()
    assert job.status == "failed"
    assert max(c.epoch for c in open_store().checkpoints.list(job.job_id)) == 2
    assert all(torch.isfinite(p).all() for p in job.model.module.parameters())
    assert mf.resume(job.job_id).wait().status == "completed"


def test_a_job_without_an_epoch_has_no_model_and_says_so(train, monkeypatch):
    monkeypatch.setattr(Loop, "run", lambda self: (_ for _ in ()).throw(RuntimeError("broken")))
    job = train()
    with pytest.raises(JobFailed, match="broken"):
        job.wait()
    with pytest.raises(CheckpointError, match="no epoch has finished"):
        _ = job.model


def test_one_modality_alone_trains(train):
    assert train(image_encoder=None).wait().model.spec.modalities == ("table",)
    assert train(tabular_encoder=None).wait().model.spec.modalities == ("image",)


def test_a_queued_job_of_a_cohort_without_images_uses_what_there_is(cohort):
    frame = cohort.frame.drop(columns="image")
    table_only = mf.Cohort(frame, target="lesion", patient="patient", numeric=["marker"], categorical=[])
    job = mf.train(table_only, epochs=1, device="cpu", detach=True)
    store = open_store()
    assert store.queue.launch_next(places=1, gpus=0).job_id == job.job_id
    run_queued(job.job_id)
    assert (job.status, job.record.error) == ("completed", None)
    assert job.model.spec.modalities == ("table",)


def test_awaiting_leaves_the_loop_free(train):
    import asyncio

    async def both():
        job = train(epochs=3)
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        beside = asyncio.create_task(tick())
        done = await job
        beside.cancel()
        return done, ticks

    done, ticks = asyncio.run(both())
    assert done.status == "completed"
    assert ticks > 1


def test_waiting_can_be_given_up(train):
    job = train(epochs=400, patience=None)
    with pytest.raises(TimeoutError, match="goes on in the background"):
        job.wait(timeout=0)
    assert job.status in ("pending", "initializing", "running")
    job.stop()
