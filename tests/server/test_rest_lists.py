"""Lists over REST: in pages that neither repeat nor drop a row while rows come and go, with an ETag, filtered and sorted."""

import itertools
import json
import random

import pytest
from rows import DATASET, JOB, MODEL

LISTS = {
    "training/list": lambda store, name: store.jobs.create(name, **JOB).job_id,
    "models": lambda store, name: store.models.register(name, **MODEL).id,
    "models/search": lambda store, name: store.models.register(name, **MODEL).id,
    "datasets": lambda store, name: store.datasets.save(name, **DATASET).id,
    "datasets/search": lambda store, name: store.datasets.save(name, **DATASET).id,
    "workflows": lambda store, name: store.workflows.create(name).id,
    "system/audit": lambda store, name: [store.workflows.create(name), store.events.last_id()][1],
}


def key(item):
    return item.get("job_id", item.get("id"))


async def pages(ask, path, between=lambda: None, **params):
    """The keys of all pages of a list; `between` is called after each page."""
    found, cursor = [], None
    while True:
        page = await ask(path, **params, **({"cursor": cursor} if cursor else {}))
        assert len(page["items"]) <= int(params["limit"])
        found += [key(item) for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            return found
        between()


@pytest.mark.parametrize("path", LISTS)
async def test_pages_repeat_and_drop_nothing_while_rows_are_added(ask, store, path):
    made = [LISTS[path](store, f"row {n}") for n in range(11)]
    more = itertools.count()
    for limit in ("1", "2", "3", "5", "11", "12"):
        before = [*reversed(made)]
        found = await pages(ask, path, lambda: made.append(LISTS[path](store, f"new {next(more)}")), limit=limit)
        assert found == before
    assert await pages(ask, path, limit="500") == [*reversed(made)]


@pytest.mark.parametrize("path", LISTS)
async def test_a_list_that_has_not_changed_is_answered_without_its_rows(fetch, store, path):
    for n in range(3):
        LISTS[path](store, f"row {n}")
    first = await fetch(path, params={"limit": "2"})
    etag = first.headers["ETag"]
    same = await fetch(path, params={"limit": "2"}, headers={"If-None-Match": etag})
    assert (same.code, same.body, same.headers["ETag"]) == (304, b"", etag)
    assert (await fetch(path, params={"limit": "2"}, headers={"If-None-Match": '"another"'})).code == 200
    LISTS[path](store, "a new one")
    changed = await fetch(path, params={"limit": "2"}, headers={"If-None-Match": etag})
    assert changed.code == 200
    assert changed.headers["ETag"] != etag
    assert len(json.loads(changed.body)["items"]) == 2


async def test_pages_of_a_list_from_which_rows_are_deleted_keep_all_others(ask, store):
    made = [store.workflows.create(f"row {n}").id for n in range(10)]
    gone = iter([made[9], made[0], made[4], made[7]])

    def between():
        if (one := next(gone, None)) is not None:
            store.workflows.delete(one)

    found = await pages(ask, "workflows", between, limit="2")
    assert len(found) == len(set(found))
    assert set(found) >= set(made) - {made[9], made[0], made[4], made[7]}


@pytest.fixture
def many_jobs(store, here):
    """Jobs of two people in several states, with equal names and equal, missing and undefined metrics."""
    chance = random.Random(0)
    for n in range(23):
        job = store.jobs.create(f"{'äbcÄ'[n % 4]} {n % 5}", **JOB, by=["ada", "grace"][n % 2])
        if n % 3 == 0:
            continue
        store.jobs.claim(job.job_id, run_token="t", **here)
        for status in ("initializing", "running"):
            store.jobs.update_status(job.job_id, status, run_token="t")
        metrics = {"val/auroc": chance.choice([0.5, 0.75, -1.0, 1e-300, float("nan")]), "train/loss": float(n)}
        store.jobs.finish_epoch(job.job_id, run_token="t", epoch=1, row={"epoch": 1, **metrics})
        if n % 3 == 1:
            store.jobs.update_status(job.job_id, "completed", run_token="t")
    jobs = store.jobs.list(limit=500).items
    assert len(jobs) == 23
    return jobs


def value(job, metric="val/auroc"):
    return job.current_metrics.get(metric)


FILTERS = [
    ({}, lambda job: True),
    ({"status": "completed"}, lambda job: job.status == "completed"),
    ({"status": "failed"}, lambda job: False),
    ({"search": "Ä"}, lambda job: "ä" in job.name.lower()),
    ({"search": "JOB_002"}, lambda job: "job_002" in job.job_id),
    ({"created_by": "grace"}, lambda job: job.created_by == "grace"),
    ({"metric": "val/auroc"}, lambda job: value(job) is not None),
    ({"metric": "val/auroc", "at_least": "0.5"}, lambda job: value(job) is not None and value(job) >= 0.5),
    ({"metric": "val/auroc", "at_most": "0"}, lambda job: value(job) is not None and value(job) <= 0),
    (
        {"metric": "train/loss", "at_least": "4", "at_most": "1e1", "status": "running", "created_by": "ada", "search": "c"},
        lambda job: (job.status, job.created_by) == ("running", "ada")
        and "c" in job.name
        and 4 <= value(job, "train/loss") <= 10,
    ),
]  # fmt: skip
SORTS = {
    "created": lambda job: job.pk,
    # by code points, as each database of ours orders them
    "name": lambda job: (job.name.encode(), job.pk),
    "metric": lambda job: (value(job), job.pk),
}


async def test_each_filter_and_each_order_of_jobs_holds_and_their_pages_join(ask, many_jobs):
    for (params, fits), sort, order in itertools.product(FILTERS, SORTS, ("falling", "rising")):
        if sort == "metric":
            if params.get("metric", "val/auroc") != "val/auroc":
                continue
            params = {"metric": "val/auroc", **params}
        expected = [job for job in many_jobs if fits(job) and (sort != "metric" or value(job) is not None)]
        expected.sort(key=SORTS[sort], reverse=order == "falling")
        for limit in ("4", "500"):
            found = await pages(ask, "training/list", sort=sort, order=order, limit=limit, **params)
            assert found == [job.job_id for job in expected], (params, sort, order)


@pytest.mark.parametrize(
    "params",
    [
        {"sort": "metric"},
        {"at_least": "1"},
        {"at_most": "1"},
        {"metric": "m", "at_least": "nan"},
        {"metric": "m", "at_most": "inf"},
        {"metric": "m", "at_least": "high"},
        {"sort": "colour"},
        {"order": "sideways"},
        {"status": "asleep"},
        {"search": "x" * 201},
        {"search": "a\0b"},
        {"metric": "m" * 201},
    ],
)
async def test_a_filter_or_order_that_cannot_be_is_refused(refused, many_jobs, params):
    assert (await refused("training/list", **params))[0] == 400


async def test_a_cursor_of_another_order_is_refused_or_gives_jobs_and_never_fails(ask, fetch, many_jobs):
    cursors = [
        (await ask("training/list", sort=sort, order=order, limit="2", metric="val/auroc"))["next"]
        for sort, order in itertools.product(SORTS, ("falling", "rising"))
    ]
    for cursor, sort, order in itertools.product(cursors, SORTS, ("falling", "rising")):
        params = {"sort": sort, "order": order, "metric": "val/auroc", "cursor": cursor}
        assert (await fetch("training/list", params=params)).code in (200, 400)


async def test_a_search_of_every_list_takes_the_wildcards_of_databases_for_letters(ask, store):
    for make in LISTS.values():
        make(store, f"plain {random.random()}")
    for wild in ("%", "_lain", "\\", "pl%n"):
        for path in ("training/list", "models/search", "datasets/search", "workflows"):
            assert (await ask(path, search=wild))["items"] == []
