import pytest

import medfusion as mf

FAST = {"image_encoder": "light_cnn", "image_size": 16, "lr": 2e-3, "batch_size": 16, "device": "cpu"}


@pytest.fixture
def cohort(medfusion_home):
    return mf.synthetic_cohort(n=120, seed=0, image_size=16)


@pytest.fixture
def train(cohort):
    """Start a small job; whatever still runs at the end of the test is stopped."""
    started = []

    def start(data=None, **settings):
        job = mf.train(cohort if data is None else data, **{**FAST, "epochs": 2, **settings})
        started.append(job)
        return job

    yield start
    from medfusion_jupyter.training.job import RUNS

    for job in started:
        run = RUNS.pop(job.job_id)
        if not run.ended.is_set():
            run.control.deliver("stop")
            assert run.ended.wait(60)


@pytest.fixture
def at_epoch():
    """Wait until a job has finished so many epochs, or has ended."""

    def wait(job, epoch):
        import time

        until = time.monotonic() + 60
        while job.record.current_epoch < epoch or not len(job.history):
            assert time.monotonic() < until, f"{job} did not get there"
            time.sleep(0.02)

    return wait
