"""The list of jobs over REST shows each as the route of one job does."""

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from medfusion_jupyter.store.tables import JobRow


@pytest.mark.parametrize("microsecond", [0, 1, 120_000, 999_999])
async def test_a_job_is_written_alike_in_the_list_and_alone(jp_fetch, store, running_job, microsecond):
    job = running_job("a name with 'quotes', ümlauts and 🩻")
    at = datetime.now(UTC).replace(microsecond=microsecond)
    with store.writing() as session:
        session.execute(update(JobRow).where(JobRow.job_id == job.job_id).values(created_at=at))
    (listed,) = json.loads((await jp_fetch("medfusion", "api", "training", "list")).body)["items"]
    alone = json.loads((await jp_fetch("medfusion", "api", "training", "status", job.job_id)).body)
    assert datetime.fromisoformat(listed["created_at"]) == at
    assert listed == {name: alone[name] for name in listed}


@pytest.mark.parametrize("search", ["%", "_", "/", "\\", "100%", "a_b"])
async def test_what_is_searched_for_stands_for_itself(jp_fetch, store, search):
    for name in ("plain", f"with {search} in it"):
        store.jobs.create(
            name, model_config={}, data_config={}, training_config={}, total_epochs=1, watched_metric="val/auroc"
        )
    answer = await jp_fetch("medfusion", "api", "training", "list", params={"search": search})
    # each has an id such as job_0001
    found = 2 if search == "_" else 1
    assert len(json.loads(answer.body)["items"]) == found
