"""Where memory runs out, a run says what would help; on request the step under way begins anew with smaller batches."""

import numpy as np
import pytest
import torch
from acting import At

import medfusion as mf
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training import Callback, JobFailed, TrainingConfig
from medfusion_jupyter.training.checkpoints import CheckpointWriter, read_checkpoint
from medfusion_jupyter.training.devices import is_out_of_memory
from medfusion_jupyter.training.forking import begin_from
from medfusion_jupyter.training.step import Step
from medfusion_jupyter.widgets.monitor_text import said

TABLE = {"image_encoder": None, "patience": None}


def of_a_gpu():
    raise torch.OutOfMemoryError("Tried to allocate 1.00 GiB.\nOf the allocated memory …")


def of_the_machine():
    torch.empty(2**52)


@pytest.fixture
def small_memory(monkeypatch):
    """A device on which no batch of more rows than this has room: from the batch of that number on after so many steps. It is
    full when gradients and statistics of the batch are there."""

    def limit(rows, after=0, full=of_a_gpu, batches=1):
        backward, update = Step.backward, Step.update

        def full_backward(self, batch, *more):
            loss = backward(self, batch, *more)
            if len(batch) > rows and getattr(self, "done", 0) >= after:
                self.tight = getattr(self, "tight", 0) + 1
                if self.tight >= batches:
                    full()
            return loss

        def counted(self):
            update(self)
            self.done = getattr(self, "done", 0) + 1

        monkeypatch.setattr(Step, "backward", full_backward)
        monkeypatch.setattr(Step, "update", counted)

    yield limit
    monkeypatch.undo()


def events(job, kind):
    found = open_store().events.list(entity="job", entity_id=job.job_id, limit=500)
    return [event for event in found if event.kind == kind]


def last_tensors(job):
    return read_checkpoint(open_store().checkpoints.list(job.job_id)[-1].checkpoint_path).tensors


class Seen(Callback):
    """The steps that were done, how often a run began, and the settings that were changed in it."""

    def __init__(self):
        self.steps, self.begun, self.changed_at = [], 0, []

    def fit_start(self, state):
        self.begun += 1

    def step_end(self, state):
        self.steps.append(state.step)

    def changed(self, state):
        self.changed_at.append((state.step, state.changes))


def test_it_ends_a_run_with_what_would_help(train, small_memory):
    small_memory(8)
    job = train(**TABLE)
    with pytest.raises(JobFailed) as failed:
        job.wait()
    for words in (
        "no memory for batch_size=16",
        "batch_size=8, accumulate_grad_batches=2 trains the same steps",
        "on_out_of_memory='smaller_batch'",
        "Tried to allocate",
    ):
        assert words in str(failed.value)


@pytest.mark.parametrize(("full", "rows", "parts"), [(of_a_gpu, 8, (2,)), (of_the_machine, 5, (2, 4))])
def test_on_request_the_step_begins_anew_with_smaller_batches(train, small_memory, full, rows, parts):
    settings = {**TABLE, "epochs": 4, "schedule": "constant", "warmup": 0, "lr": 1e-6, "limit_val_batches": 1}
    straight = train(**settings).wait()
    steps = straight.record.total_steps // 4
    small_memory(rows, after=steps + 3, full=full)
    seen = Seen()
    job = train(**settings, on_out_of_memory="smaller_batch", callbacks=[seen]).wait()
    assert job.status == "completed"
    assert seen.begun == 1
    assert seen.steps == list(range(1, 4 * steps + 1))
    smaller = [{"batch_size": 16 // n, "accumulate_grad_batches": n, "limit_val_batches": n} for n in parts]
    assert seen.changed_at == [(steps + 3, each) for each in smaller]
    assert [event.data for event in events(job, "changed")] == [{**each, "step": steps + 3} for each in smaller]
    assert {name: job.record.training_config[name] for name in smaller[-1]} == smaller[-1]
    last = events(job, "out_of_memory")[-1]
    assert "allocate" in last.data["error"]
    assert "goes on with smaller batches" in said([last])
    # the same rows in each step, but for the dropout of each batch: the weights hardly move at this rate
    assert list(job.metrics("train/loss").index) == list(straight.metrics("train/loss").index)
    assert np.allclose(job.metrics("train/loss"), straight.metrics("train/loss"), atol=0.15)
    assert np.allclose(job.history["val/loss"], straight.history["val/loss"], atol=1e-3)


SETTINGS = {
    "batch norms, dropout and augmentation": {},
    "in the second batch of a step": {"accumulate_grad_batches": 2, "ema_decay": 0.9, "gradient_clip_val": 1.0},
    "mixed, in half precision": {
        "mixup": 0.4,
        "sampler": "balanced",
        "precision": "fp16",
        "gradient_checkpointing": True,
    },
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_what_is_done_anew_is_what_a_checkpoint_before_it_would_have_become(loop_of, small_memory, tmp_path, settings):
    """The failed batches leave nothing: no gradients, no statistics of batch norms, no draws from a generator."""
    config = TrainingConfig.of({**settings, "batch_size": 16})
    at = 4 if "accumulate_grad_batches" in settings else 7

    class Cut(Exception):
        pass

    def cut(state):
        raise Cut

    before = loop_of(callbacks=[essential(At(at, cut))], **settings)
    with pytest.raises(Cut):
        before.run()
    tensors, description = before.snapshot()
    writer = CheckpointWriter()
    description["config"] = config.model_dump(mode="json")
    writer.save(tmp_path / "before.safetensors", tensors, description, then=lambda size: None)
    writer.wait()
    smaller = config.smaller_batch()
    expected = loop_of(**{**settings, **smaller})
    states = begin_from(
        read_checkpoint(tmp_path / "before.safetensors"),
        expected.state,
        config.model_copy(update=smaller),
        "job_0001",
        completed=False,
    )
    expected.callbacks.load_state_dicts(states)
    expected.run()

    small_memory(8, after=at, batches=config.accumulate_grad_batches)
    loop = loop_of(**settings)
    loop.smaller_batch = lambda error: smaller
    loop.run()
    assert loop.settings.accumulate == smaller["accumulate_grad_batches"]
    assert loop.state.samples == 3 * len(loop.train.rows)
    found, wanted = loop.snapshot(), expected.snapshot()
    assert found[1] == wanted[1]
    assert found[0].keys() == wanted[0].keys()
    for name, tensor in wanted[0].items():
        assert torch.equal(tensor, found[0][name]), name


def essential(callback):
    callback.essential = True
    return callback


def test_a_job_goes_on_from_where_its_memory_ran_out_to_the_same_bits(train, stopped_at, small_memory):
    settings = {"epochs": 3, "patience": None, "on_out_of_memory": "smaller_batch"}
    small_memory(8, after=7)
    straight = last_tensors(train(**settings).wait())
    # stopped two steps later: the checkpoint says its place in the smaller batches
    job = stopped_at(9, **settings)
    assert [event.data["step"] for event in events(job, "changed")] == [7]
    # the place where the memory ran out was saved, so that a kill is no loss either
    assert 7 in [one.step for one in open_store().checkpoints.list(job.job_id)]
    seen = Seen()
    assert mf.resume(job.job_id, callbacks=[seen]).wait().status == "completed"
    assert seen.steps == list(range(10, 16))
    assert seen.changed_at == []
    resumed = last_tensors(job)
    assert resumed.keys() == straight.keys()
    for name, tensor in straight.items():
        assert torch.equal(tensor, resumed[name]), name


def test_a_validation_without_room_is_done_anew_too(train):
    class SmallForPrediction(Callback):
        def fit_start(self, state):
            def look(model, inputs):
                if not model.training and len(inputs[3]) > 16:
                    of_a_gpu()

            state.model.register_forward_pre_hook(look)

    settings = {**TABLE, "epochs": 3, "val_check_interval": 2}
    straight = train(**settings).wait()
    seen = Seen()
    job = train(**settings, on_out_of_memory="smaller_batch", callbacks=[SmallForPrediction(), seen]).wait()
    assert seen.steps == list(range(1, straight.record.total_steps + 1))
    # batches of 64, 32 and 16 rows
    assert [step for step, _ in seen.changed_at] == [2, 2]
    assert seen.changed_at[-1][1] == {"batch_size": 4, "accumulate_grad_batches": 4}
    assert list(job.metrics("val/loss").index) == list(straight.metrics("val/loss").index)


def test_memory_that_runs_out_where_weights_change_ends_the_run(train, monkeypatch):
    """Half of the weights may have been changed by then."""
    monkeypatch.setattr(Step, "update", lambda self: of_a_gpu())
    job = train(**TABLE, on_out_of_memory="smaller_batch")
    with pytest.raises(JobFailed, match="no memory for batch_size=16"):
        job.wait()
    assert events(job, "out_of_memory") == []


def test_where_no_smaller_batch_is_left_it_fails_and_says_so(train, small_memory):
    small_memory(1)
    job = train(**TABLE, batch_size=6, on_out_of_memory="smaller_batch")
    with pytest.raises(JobFailed, match="no memory for batch_size=3"):
        job.wait()


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("Tried to allocate"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be …"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_memory_is_told_from_other_failures(error, is_it):
    assert is_out_of_memory(error) is is_it


@pytest.mark.parametrize(
    ("given", "smaller"),
    [
        ({"batch_size": 32}, {"batch_size": 16, "accumulate_grad_batches": 2}),
        ({"batch_size": 15, "accumulate_grad_batches": 3}, {"batch_size": 5, "accumulate_grad_batches": 9}),
        (
            {"batch_size": 8, "limit_val_batches": 3},
            {"batch_size": 4, "accumulate_grad_batches": 2, "limit_val_batches": 6},
        ),
        ({"batch_size": 7}, None),
        ({"batch_size": 3}, None),
        ({"batch_size": 8, "accumulate_grad_batches": 4096}, None),
    ],
)
def test_a_smaller_batch_has_the_same_steps(given, smaller):
    assert TrainingConfig.of(given).smaller_batch() == smaller
