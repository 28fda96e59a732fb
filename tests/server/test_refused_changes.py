"""A live change that is refused is refused in the same words over REST as everywhere else."""

import pytest

from medfusion_jupyter.settings.live import live_changes
from medfusion_jupyter.settings.training import ConfigError, TrainingSettings

SETTINGS = TrainingSettings(epochs=5, encoder_lr=1e-4, freeze=["head"]).model_dump(mode="json")

REFUSED = [
    ({"lr": 99}, "lr=99: give a number above 0 and at most 10. (lr: peak learning rate"),
    ({"lr": "fast"}, "lr='fast': give a number above 0 and at most 10."),
    ({"encoder_lr": 0}, "encoder_lr=0: give a number above 0 and at most 10."),
    ({"epochs": 0}, "epochs=0: give a whole number from 1 to 100,000. (epochs: passes over the training part)"),
    ({"epochs": 1.5}, "epochs=1.5: give a whole number from 1 to 100,000."),
    ({"epochs": ""}, "epochs='': give a whole number from 1 to 100,000."),
    ({"patience": 0}, "patience=0: give a whole number from 1 to 100,000. (patience: epochs without a better"),
    ({"min_delta": -0.5}, "min_delta=-0.5: give a number of 0 or more."),
    ({"unfreeze": ["fusion"]}, "unfreeze names 'fusion', which is not in what freeze names: head"),
    ({"patience": None, "min_delta": 0.1}, "min_delta is of early stopping, and patience is None"),
]


@pytest.fixture
def either_database(medfusion_home):
    """What is said does not depend on the database: once is enough."""


@pytest.mark.parametrize(("changes", "said"), REFUSED, ids=str)
async def test_over_rest_and_in_a_notebook_it_is_the_same(refused, store, running_job, changes, said):
    job = running_job()
    store.jobs.note_changes(job.job_id, run_token="t", changes=SETTINGS)
    with pytest.raises(ConfigError) as in_notebook:
        live_changes(SETTINGS, changes)
    code, told = await refused("training", job.job_id, method="PATCH", body=changes)
    assert (code, told["field"]) == (422, next(iter(changes)))
    assert told["message"] == str(in_notebook.value)
    assert told["message"].startswith(said)
    assert "Input" not in told["message"]


async def test_a_name_that_is_not_known_is_refused_with_the_closest(refused, running_job):
    _, told = await refused("training", running_job().job_id, method="PATCH", body={"epoch": 3})
    assert told["message"] == "epoch=3: there is no such name; did you mean 'epochs'?"
