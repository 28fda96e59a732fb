"""Small training parts, single batches and losses that are lost: each ends as said."""

import math

import numpy as np
import pytest
import torch

import medfusion as mf
from medfusion_jupyter.data import Split
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training import Callback, ConfigError, JobFailed


def split_with(cohort, train_rows, val=20):
    """A split whose training part has so many rows of each class."""
    codes = cohort.target_codes
    chosen = np.concatenate([np.flatnonzero(codes == code)[:count] for code, count in enumerate(train_rows)])
    rest = np.setdiff1d(np.arange(len(cohort)), chosen)
    return Split(cohort, {"train": np.sort(chosen), "val": rest[:val], "test": rest[val:]})


EVERYTHING = {
    "sampler": "balanced",
    "mixup": 0.4,
    "cutmix": 1.0,
    "ema_decay": 0.9,
    "accumulate_grad_batches": 3,
    "gradient_clip_val": 1.0,
    "label_smoothing": 0.1,
    "class_weights": [1.0, 2.0],
    "schedule": "onecycle",
}


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything on"])
@pytest.mark.parametrize(
    ("rows", "batch_size"),
    [((6, 5), 64), ((8, 8), 16), ((1, 1), 2), ((1, 1), 64), ((2, 1), 2)],
    ids=["smaller than the batch", "one batch", "one row a class", "two rows in all", "three rows"],
)
def test_a_small_training_part_trains(train, cohort, rows, batch_size, settings):
    job = train(split_with(cohort, rows), epochs=3, batch_size=batch_size, patience=None, **settings).wait()
    assert job.status == "completed"
    assert len(job.history) == 3
    assert np.isfinite(job.history["train/loss"]).all()
    assert np.isfinite(job.history["val/loss"]).all()
    assert list(job.metrics("train/loss").index) == list(range(1, job.record.total_steps + 1))
    assert all(torch.isfinite(value).all() for value in job.model.module.state_dict().values())


@pytest.mark.parametrize(("rows", "sizes"), [(33, [16, 17]), (34, [16, 16, 2]), (17, [17]), (16, [16])])
def test_a_last_batch_of_one_row_joins_the_one_before_it(loop_of, cohort, rows, sizes):
    """Batch norm cannot learn from one row."""
    train = loop_of(data=split_with(cohort, (rows // 2, rows - rows // 2))).train
    assert [len(batch) for batch in train.rows_of_epoch((0, 0))] == sizes
    assert len(train) == len(sizes)


def test_a_training_part_of_one_row_is_refused(cohort):
    with pytest.raises(ConfigError, match="The training part has 1 row; at least 2 are needed"):
        mf.train(split_with(cohort, (1, 0)), image_encoder=None)


def test_a_training_part_of_one_class_is_refused_where_another_part_has_more(cohort):
    with pytest.raises(
        ConfigError, match="'yes' of the target 'lesion' is in the part 'val', but in no row of the training"
    ):
        mf.train(split_with(cohort, (12, 0)), class_weights="balanced", image_encoder=None)


def test_a_validation_part_of_one_class_has_no_auroc_and_the_run_goes_on(train, cohort):
    codes = cohort.target_codes
    yes = np.flatnonzero(codes == 1)
    rest = np.setdiff1d(np.arange(len(cohort)), yes[:10])
    split = Split(cohort, {"train": rest, "val": yes[:10], "test": np.zeros(0, np.int64)})
    job = train(split, epochs=2).wait()
    assert job.status == "completed"
    assert job.model.epoch == 2  # nothing tells the epochs apart: the last one


class Poison(Callback):
    """Makes the weights NaN after so many steps."""

    def __init__(self, step):
        self.step = step

    def step_end(self, state):
        if state.step == self.step:
            with torch.no_grad():
                next(state.model.parameters()).fill_(math.nan)


def test_a_loss_that_is_lost_names_its_step_and_keeps_the_curve_before_it(train):
    job = train(epochs=4, patience=None, callbacks=[Poison(12)])
    with pytest.raises(JobFailed, match=r"The loss is NaN at step 13 \(epoch 3\).*Lower lr"):
        job.wait()
    assert job.record.current_epoch == 2
    assert list(job.metrics("train/loss").index) == list(range(1, 13))
    assert max(one.epoch for one in open_store().checkpoints.list(job.job_id)) == 2
    assert all(torch.isfinite(value).all() for value in job.model.module.state_dict().values())
    assert mf.resume(job.job_id).wait().status == "completed"


def test_weights_that_are_lost_at_the_last_step_of_an_epoch_become_no_checkpoint(train, cohort):
    """The losses of that epoch are all finite: the validation notices."""
    steps = train(epochs=1).wait().record.total_steps
    job = train(epochs=4, patience=None, callbacks=[Poison(2 * steps)])
    with pytest.raises(JobFailed, match=rf"The validation loss is NaN at step {2 * steps} \(epoch 2\)"):
        job.wait()
    assert [one.epoch for one in open_store().checkpoints.list(job.job_id)] == [1]
    assert mf.resume(job.job_id).wait().status == "completed"


def test_weights_that_are_lost_within_an_epoch_become_no_checkpoint(train):
    """The loss of that step was finite, and a checkpoint is due right after it."""
    job = train(epochs=4, patience=None, checkpoint_minutes=1e-6, callbacks=[Poison(12)])
    with pytest.raises(JobFailed, match=r"A weight is NaN at step 12 \(epoch 3\)"):
        job.wait()
    assert open_store().checkpoints.list(job.job_id)[-1].step == 11
    assert mf.resume(job.job_id).wait().status == "completed"


def test_a_loss_that_is_lost_in_accumulated_batches_names_the_step_too(train):
    job = train(epochs=4, patience=None, accumulate_grad_batches=2, callbacks=[Poison(4)])
    with pytest.raises(JobFailed, match=r"The loss is NaN at step 5"):
        job.wait()
