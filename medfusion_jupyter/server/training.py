"""Training jobs over REST: list, one, start, commands, live changes, metric series, checkpoints, events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medfusion_jupyter.server.api import ApiError, StoreHandler
from medfusion_jupyter.server.operation import operation
from medfusion_jupyter.store.status import RESUMABLE

if TYPE_CHECKING:
    from medfusion_jupyter.server.launcher import Launcher
    from medfusion_jupyter.server.requests import EventQuery, JobChanges, JobQuery, NewFork, NewJob, SeriesQuery
    from medfusion_jupyter.store import Job as JobRecord
    from medfusion_jupyter.store import Store


class TrainingHandler(StoreHandler):
    """Base of the handlers of training jobs."""

    auth_resource = "medfusion:training"

    @property
    def launcher(self) -> Launcher:
        """Starts queued jobs."""
        launcher: Launcher = self.settings["medfusion_launcher"]
        return launcher


class JobList(TrainingHandler):
    @operation(
        "A page of jobs, and the number of jobs in each status, where a cross-validation with its folds is one",
        query="JobQuery",
        answer="JobPage",
        errors=(404,),
    )
    async def get(self, query: JobQuery) -> None:
        wanted = query.model_dump(exclude={"order"})

        def work(store: Store) -> dict[str, object]:
            page, counts = store.jobs.list_and_counts(**wanted, falling=query.order == "falling")
            return {"items": [job.to_plain() for job in page.items], "next": page.next, "counts": counts}

        self.reply(await self.ask(work))


class Start(TrainingHandler):
    @operation(
        "Queue a training job: a kernel of its own trains it when its turn has come",
        body="NewJob",
        answer="Job",
        status=201,
        errors=(404,),
    )
    async def post(self, body: NewJob) -> None:
        from medfusion_jupyter.settings.training import ConfigError, TrainingSettings

        person = self.person
        try:
            settings = TrainingSettings.of(
                {**body.config, **({"name": body.name} if body.name else {}), "description": body.description}
            )
        except ConfigError as refused:
            raise ApiError(422, "invalid", str(refused), "config") from None

        def work(store: Store) -> JobRecord:
            dataset = store.datasets.get_by_name(body.dataset)
            made = store.jobs.create(
                settings.name or f"{dataset.name}-{settings.fusion}",
                description=settings.description,
                model_config=settings.parts(),
                data_config={"dataset": dataset.name},
                training_config=settings.model_dump(mode="json"),
                total_epochs=settings.epochs,
                watched_metric=settings.watch,
                dataset_fingerprint=dataset.fingerprint,
                by=person,
            )
            return store.queue.add(made.job_id, priority=body.priority, not_before=body.not_before, by=person)

        job = await self.ask(work)
        self.launcher.wake()
        self.reply(job.to_json())


class Fork(TrainingHandler):
    @operation(
        "Queue a job that begins from a checkpoint of this one, with other settings",
        body="NewFork",
        answer="Job",
        status=201,
        errors=(409,),
    )
    async def post(self, job_id: str, body: NewFork) -> None:
        from medfusion_jupyter.server.queued_fork import queue_fork
        from medfusion_jupyter.settings.training import ConfigError

        person = self.person

        def work(store: Store) -> JobRecord:
            wanted = body.model_dump(exclude={"config"})
            try:
                return queue_fork(store, job_id, changes=body.config, by=person, **wanted)
            except ConfigError as refused:
                raise ApiError(422, "invalid", str(refused), "config") from None

        job = await self.ask(work)
        self.launcher.wake()
        self.reply(job.to_json())

    @operation("What a fork of a job may begin from, and change: for a form", answer="ForkForm")
    async def get(self, job_id: str) -> None:
        from medfusion_jupyter.settings.forking import schema_of_fork

        def work(store: Store) -> dict[str, object]:
            job = store.jobs.get(job_id)
            checkpoints = [one.to_json() for one in store.checkpoints.list(job_id)]
            return {"checkpoints": checkpoints, "settings": job.training_config, "schema": schema_of_fork()}

        self.reply(await self.ask(work))


class Job(TrainingHandler):
    @operation("One job", answer="Job")
    async def get(self, job_id: str) -> None:
        job = await self.ask(lambda store: store.jobs.get(job_id))
        self.reply(job.to_json())


class JobChange(TrainingHandler):
    @operation(
        "Rename a job, change its turn in the queue, or settings of its run while it runs",
        body="JobChanges",
        answer="Job",
        errors=(409,),
    )
    async def patch(self, job_id: str, body: JobChanges) -> None:
        from medfusion_jupyter.settings.live import live_changes
        from medfusion_jupyter.settings.training import ConfigError

        person = self.person
        wanted = body.of_run()

        def work(store: Store) -> dict[str, Any]:
            changes = {}
            if wanted:
                try:
                    changes = live_changes(store.jobs.get(job_id).training_config, wanted)
                except ConfigError as refused:
                    raise ApiError(422, "invalid", str(refused), next(iter(wanted))) from None
            if body.priority is not None or body.not_before is not None:
                store.queue.reschedule(job_id, priority=body.priority, not_before=body.not_before, by=person)
            if changes:
                store.jobs.request(job_id, "set", changes, by=person)
            if body.name is not None or body.description is not None:
                store.jobs.update(
                    job_id, seen=body.seen.texts(), name=body.name, description=body.description, by=person
                )
            return store.jobs.get(job_id).to_json()

        self.reply(await self.ask(work))

    @operation(
        "Forget a finished job with its metrics, checkpoints and files; a cross-validation with its folds and their models",
        status=204,
        errors=(409,),
    )
    async def delete(self, job_id: str) -> None:
        person = self.person
        await self.ask(lambda store: store.jobs.delete(job_id, by=person))


class Command(TrainingHandler):
    @operation(
        "Ask the run of a job to pause, resume, stop or save; a job that ended before its time is queued to go on",
        answer="Job",
        errors=(409,),
    )
    async def post(self, command: str, job_id: str) -> None:
        person = self.person

        def work(store: Store) -> dict[str, Any]:
            if command == "resume" and store.jobs.get(job_id).status in RESUMABLE:
                return store.queue.add(job_id, by=person).to_json()
            return store.jobs.request(job_id, command, by=person).to_json()

        answer = await self.ask(work)
        self.launcher.wake()
        self.reply(answer)


class CheckpointList(TrainingHandler):
    @operation("The checkpoints of a job by epoch", answer="CheckpointList")
    async def get(self, job_id: str) -> None:
        def work(store: Store) -> dict[str, object]:
            store.jobs.get(job_id)
            return {"items": [one.to_json() for one in store.checkpoints.list(job_id)]}

        self.reply(await self.ask(work))


class EventList(TrainingHandler):
    @operation("What happened to a job, in order", query="EventQuery", answer="EventList")
    async def get(self, job_id: str, query: EventQuery) -> None:
        def work(store: Store) -> dict[str, object]:
            store.jobs.get(job_id)
            found = store.events.list(query.after, limit=query.limit, entity="job", entity_id=job_id)
            return {"items": [event.to_json() for event in found]}

        self.reply(await self.ask(work))


class Series(TrainingHandler):
    @operation("One metric of a job by step: whole, thinned, or what is new", query="SeriesQuery", answer="Series")
    async def get(self, job_id: str, query: SeriesQuery) -> None:
        def work(store: Store) -> dict[str, object]:
            series = store.metrics.series(job_id, query.name, since=query.since, points=query.points)
            return {"name": series.name, "steps": series.steps, "values": series.values}

        self.reply(await self.ask(work))
