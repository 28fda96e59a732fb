"""Training jobs over REST: list, one, commands, metric series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jupyter_server.auth.decorator import authorized
from tornado import web

from medfusion_jupyter.server.api import ApiError, StoreHandler, as_page
from medfusion_jupyter.store import FINISHED, JobStatus

if TYPE_CHECKING:
    from medfusion_jupyter.store import Store

MAX_EVENTS = 500


class JobList(StoreHandler):
    """GET: a page of jobs, newest first, and the number of jobs in each status."""

    auth_resource = "medfusion:training"

    @web.authenticated
    @authorized
    async def get(self) -> None:
        status = self.get_query_argument("status", None) or None
        if status is not None and status not in list(JobStatus):
            allowed = ", ".join(JobStatus)
            raise ApiError(
                400, "bad-request", f"There is no status {status[:40]!r}; choose one of {allowed}.", "status"
            )
        arguments = self.page_arguments()

        def work(store: Store) -> dict[str, object]:
            return {**as_page(store.jobs.list(status=status, **arguments)), "counts": store.jobs.counts()}

        self.reply(await self.ask(work))


class JobDeletion(StoreHandler):
    """DELETE: forget a finished job with its metrics, checkpoints and files."""

    auth_resource = "medfusion:training"

    @web.authenticated
    @authorized
    async def delete(self, job_id: str) -> None:
        user = self.current_user.username
        await self.ask(lambda store: store.jobs.delete(job_id, deleted_by=user))
        self.set_status(204)


class Job(StoreHandler):
    """GET: one job."""

    auth_resource = "medfusion:training"

    @web.authenticated
    @authorized
    async def get(self, job_id: str) -> None:
        job = await self.ask(lambda store: store.jobs.get(job_id))
        self.reply(job.to_json())


class Command(StoreHandler):
    """POST: ask the run of a job to pause, resume or stop."""

    auth_resource = "medfusion:training"

    @web.authenticated
    @authorized
    async def post(self, command: str, job_id: str) -> None:
        user = self.current_user.username

        def work(store: Store) -> dict[str, object]:
            job = store.jobs.get(job_id)
            if command == "resume" and job.status in FINISHED:
                raise ApiError(
                    409,
                    "not-now",
                    f"{job_id} is {job.status}: no kernel trains it now. Run mf.resume({job_id!r}) in a notebook.",
                )
            return store.jobs.request(job_id, command, requested_by=user).to_json()

        self.reply(await self.ask(work))


class CheckpointList(StoreHandler):
    """GET: the checkpoints of a job by epoch."""

    auth_resource = "medfusion:training"

    @web.authenticated
    @authorized
    async def get(self, job_id: str) -> None:
        def work(store: Store) -> dict[str, object]:
            store.jobs.get(job_id)
            return {"items": [one.to_json() for one in store.checkpoints.list(job_id)]}

        self.reply(await self.ask(work))


class EventList(StoreHandler):
    """GET: what happened to a job, in order; `after` an event's id, `limit` at most."""

    auth_resource = "medfusion:training"

    @web.authenticated
    @authorized
    async def get(self, job_id: str) -> None:
        after, limit = self.whole_number("after", 0) or 0, self.whole_number("limit", 200) or 0
        if not 1 <= limit <= MAX_EVENTS:
            raise ApiError(400, "bad-request", f"limit={limit} is out of range: give 1 to {MAX_EVENTS}.", "limit")

        def work(store: Store) -> dict[str, object]:
            store.jobs.get(job_id)
            events = store.events.list(after, limit=limit, entity="job", entity_id=job_id)
            return {"items": [event.to_json() for event in events]}

        self.reply(await self.ask(work))


class Series(StoreHandler):
    """GET: one metric of a job by step."""

    auth_resource = "medfusion:training"

    @web.authenticated
    @authorized
    async def get(self, job_id: str) -> None:
        name = self.get_query_argument("name")
        since, points = self.whole_number("since", None), self.whole_number("points", None)
        if points is not None and points < 2:
            raise ApiError(400, "bad-request", f"points={points} is too few: give 2 or more.", "points")

        def work(store: Store) -> dict[str, object]:
            store.jobs.get(job_id)
            series = store.metrics.series(job_id, name, since=since, points=points)
            return {"name": series.name, "steps": series.steps, "values": series.values}

        self.reply(await self.ask(work))
