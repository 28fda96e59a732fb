import threading
import time

import pytest
from acting import At
from patience import wait_for

import medfusion as mf
from medfusion_jupyter.training.assembly import build_loop, build_state, callbacks_of
from medfusion_jupyter.training.callbacks import Callbacks
from medfusion_jupyter.training.config import TrainingConfig
from medfusion_jupyter.training.control import Control
from medfusion_jupyter.training.generators import seed_all
from medfusion_jupyter.training.preparation import prepare

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
    from medfusion_jupyter.training.starting import RUNS

    for job in started:
        run = RUNS.pop(job.job_id)
        if not run.ended.is_set():
            run.control.deliver("stop")
            assert run.ended.wait(60)


@pytest.fixture
def stopped_at(train):
    """A job that was stopped after so many steps, in mid-epoch where that is not the last of one."""
    from medfusion_jupyter.training.starting import RUNS

    def run(step, **settings):
        started = threading.Event()

        def stop(state):
            assert started.wait(60)
            job.stop()
            wait_for(lambda: RUNS[job.job_id].control.attention, "the stop was not heard")

        job = train(callbacks=[At(step, stop)], **settings)
        started.set()
        return job.wait()

    return run


@pytest.fixture
def at_epoch():
    """Wait until a job has finished so many epochs, or has ended."""

    def wait(job, epoch):
        until = time.monotonic() + 60
        while job.record.current_epoch < epoch or not len(job.history):
            assert time.monotonic() < until, f"{job} did not get there"
            time.sleep(0.02)

    return wait


@pytest.fixture
def loop_of(cohort, medfusion_home):
    """A loop without a job: `loop_of(callbacks=[…], data=…, **settings)`, at the start of its run."""

    def build(callbacks=(), data=None, **settings):
        config = TrainingConfig.of({**FAST, "epochs": 3, "patience": None, **settings})
        data = cohort if data is None else data
        split = data.split(test=0.2, val=0.2, seed=0) if isinstance(data, mf.Cohort) else data
        seed_all(config.seed)
        prepared = prepare(split, config, device="cpu", cache_dir=medfusion_home / "cache")
        state = build_state(prepared, config, "cpu")
        return build_loop(
            state, prepared, config, "cpu", Callbacks([*callbacks_of(config, state), *callbacks]), Control()
        )

    return build
