"""The server extension: its settings, its routes, its start and end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from traitlets import Float, Int

from medfusion_jupyter.server.datasets import Dataset, DatasetList
from medfusion_jupyter.server.feed import Feed, FeedHub
from medfusion_jupyter.server.models import Alias, Model, ModelList, VersionList
from medfusion_jupyter.server.system import Info, Live, Ready
from medfusion_jupyter.server.training import CheckpointList, Command, EventList, Job, JobDeletion, JobList, Series
from medfusion_jupyter.server.workflows import Workflow, WorkflowList, WorkflowRestoration, WorkflowVersionList

API = "/medfusion/api"
WORKFLOW = r"(?P<workflow_id>[0-9]{1,18})"
MODEL = r"(?P<model_id>[0-9]{1,18})"
JOB = r"(?P<job_id>job_[0-9]{4,18})"

ROUTES: list[tuple[str, type]] = [
    (rf"{API}/training/list", JobList),
    (rf"{API}/training/status/{JOB}", Job),
    (rf"{API}/training/(?P<command>pause|resume|stop)/{JOB}", Command),
    (rf"{API}/training/{JOB}", JobDeletion),
    (rf"{API}/training/{JOB}/metrics", Series),
    (rf"{API}/training/{JOB}/checkpoints", CheckpointList),
    (rf"{API}/training/{JOB}/events", EventList),
    (rf"{API}/models", ModelList),
    (rf"{API}/models/{MODEL}", Model),
    (rf"{API}/models/{MODEL}/versions", VersionList),
    (rf"{API}/models/{MODEL}/aliases/(?P<alias>[^/]+)", Alias),
    (rf"{API}/datasets", DatasetList),
    (rf"{API}/datasets/(?P<dataset_id>[0-9]{{1,18}})", Dataset),
    (rf"{API}/workflows", WorkflowList),
    (rf"{API}/workflows/{WORKFLOW}", Workflow),
    (rf"{API}/workflows/{WORKFLOW}/versions", WorkflowVersionList),
    (rf"{API}/workflows/{WORKFLOW}/versions/(?P<version>[0-9]{{1,9}})/restore", WorkflowRestoration),
    (rf"{API}/system/info", Info),
    (rf"{API}/system/health/live", Live),
    (rf"{API}/system/health/ready", Ready),
    (rf"{API}/feed", Feed),
]


class MedFusionApp(ExtensionApp):
    """Serves `/medfusion/api/` from the store that MEDFUSION_HOME or MEDFUSION_DATABASE_URL names."""

    name = "medfusion_jupyter"
    load_other_extensions = True

    feed_seconds = Float(
        0.5,
        min=0.1,
        config=True,
        help="Seconds between looks at the database while a browser listens to the feed; nobody listening, it is left alone.",
    )
    database_threads = Int(
        4, min=1, config=True, help="Threads that wait for the database, so that the server does not."
    )

    def initialize_settings(self) -> None:
        """Make what the handlers share."""
        self.executor = ThreadPoolExecutor(self.database_threads, thread_name_prefix="medfusion-server")
        self.hub = FeedHub(self.executor, self.feed_seconds)
        self.settings.update(medfusion_executor=self.executor, medfusion_hub=self.hub)

    def initialize_handlers(self) -> None:
        """Mount the routes."""
        self.handlers.extend(ROUTES)

    async def stop_extension(self) -> Any:
        """End the feed and let go of the threads."""
        await self.hub.close()
        self.executor.shutdown(wait=False, cancel_futures=True)
