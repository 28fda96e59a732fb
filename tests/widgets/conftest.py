import pytest

from medfusion_jupyter.widgets.refresher import refresher


class LiveRun:
    """What a training run writes, written by a test."""

    def __init__(self, store, here, name="job", **where):
        self.store = store
        self.job = store.jobs.create(
            name, model_config={}, data_config={}, training_config={}, total_epochs=4, watched_metric="val/auroc"
        )
        store.jobs.claim(self.job.job_id, run_token="t", **{**here, **where})
        self.status("initializing")
        self.status("running")

    def status(self, status, **changes):
        self.store.jobs.update_status(self.job.job_id, status, run_token="t", **changes)

    def epoch(self, epoch, steps=10, auroc=0.8):
        for step in range((epoch - 1) * steps + 1, epoch * steps + 1):
            self.store.writer.append(self.job.pk, "train/loss", step, 1 / step)
        row = {
            "train/loss": 0.5,
            "val/loss": 0.6,
            "val/auroc": auroc,
            "val/auroc_low": auroc - 0.1,
            "val/auroc_high": auroc + 0.1,
            "val/accuracy": 0.7,
        }
        for name, value in row.items():
            if name.startswith("val/"):
                self.store.writer.append(self.job.pk, name, epoch * steps, value)
        self.store.writer.flush()
        job_id = self.job.job_id
        self.store.jobs.finish_epoch(
            job_id, run_token="t", epoch=epoch, row={"epoch": epoch, **row, "lr": 1e-3, "seconds": 2.0}
        )
        self.store.jobs.set_best(job_id, run_token="t", epoch=epoch, value=auroc)
        self.store.jobs.update_progress(
            job_id,
            run_token="t",
            progress=epoch / 4,
            current_epoch=epoch,
            current_step=epoch * steps,
            total_steps=4 * steps,
            samples_per_second=1904.0,
            seconds_left=180.0,
            memory_bytes=3_100_000_000,
            device="cuda:0",
        )


@pytest.fixture
def live_run(store, here):
    yield lambda *args, **where: LiveRun(store, here, *args, **where)
    for one in list(refresher._followed):
        one.close()
    thread = refresher._thread
    if thread is not None:
        refresher._wake.set()
        thread.join(20)
