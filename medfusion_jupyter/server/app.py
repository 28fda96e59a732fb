"""The server extension: its settings, its routes, its start and end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from jupyter_server.extension.application import ExtensionApp
from traitlets import Float, Int, List, Unicode

from medfusion_jupyter.server.api import NotFound
from medfusion_jupyter.server.datasets import Analysis, Dataset, DatasetList, DatasetSearch, DatasetStatistics
from medfusion_jupyter.server.executions import Execute, Execution, ExecutionList, ExecutionStop
from medfusion_jupyter.server.feed import Feed, FeedHub
from medfusion_jupyter.server.launcher import Launcher
from medfusion_jupyter.server.models import (
    Alias,
    Model,
    ModelDownload,
    ModelList,
    ModelSearch,
    ModelStatistics,
    VersionList,
)
from medfusion_jupyter.server.system import API, Audit, Document, Info, Live, Ready, Resources
from medfusion_jupyter.server.training import (
    CheckpointList,
    Command,
    EventList,
    Fork,
    Job,
    JobChange,
    JobList,
    Series,
    Start,
)
from medfusion_jupyter.server.workflows import (
    NodeTypeList,
    Validation,
    Workflow,
    WorkflowDifference,
    WorkflowList,
    WorkflowRestoration,
    WorkflowTemplateList,
    WorkflowVersion,
    WorkflowVersionList,
)

if TYPE_CHECKING:
    from medfusion_jupyter.store import Store

WORKFLOW = r"(?P<workflow_id>[0-9]{1,18})"
VERSION = "[0-9]{1,9}"
EXECUTION = r"(?P<execution_id>[0-9]{1,18})"
MODEL = r"(?P<model_id>[0-9]{1,18})"
DATASET = r"(?P<dataset_id>[0-9]{1,18})"
JOB = r"(?P<job_id>job_[0-9]{4,18})"

ROUTES: list[tuple[str, type]] = [
    (rf"{API}/training/list", JobList),
    (rf"{API}/training/start", Start),
    (rf"{API}/training/status/{JOB}", Job),
    (rf"{API}/training/(?P<command>pause|resume|stop|checkpoint)/{JOB}", Command),
    (rf"{API}/training/{JOB}", JobChange),
    (rf"{API}/training/{JOB}/metrics", Series),
    (rf"{API}/training/{JOB}/checkpoints", CheckpointList),
    (rf"{API}/training/{JOB}/fork", Fork),
    (rf"{API}/training/{JOB}/events", EventList),
    (rf"{API}/models", ModelList),
    (rf"{API}/models/search", ModelSearch),
    (rf"{API}/models/statistics", ModelStatistics),
    (rf"{API}/models/{MODEL}", Model),
    (rf"{API}/models/{MODEL}/download", ModelDownload),
    (rf"{API}/models/{MODEL}/versions", VersionList),
    (rf"{API}/models/{MODEL}/aliases/(?P<alias>[^/]+)", Alias),
    (rf"{API}/datasets", DatasetList),
    (rf"{API}/datasets/search", DatasetSearch),
    (rf"{API}/datasets/statistics", DatasetStatistics),
    (rf"{API}/datasets/{DATASET}", Dataset),
    (rf"{API}/datasets/{DATASET}/analyze", Analysis),
    (rf"{API}/workflows", WorkflowList),
    (rf"{API}/workflows/nodes", NodeTypeList),
    (rf"{API}/workflows/templates", WorkflowTemplateList),
    (rf"{API}/workflows/validate", Validation),
    (rf"{API}/workflows/executions/{EXECUTION}", Execution),
    (rf"{API}/workflows/executions/{EXECUTION}/stop", ExecutionStop),
    (rf"{API}/workflows/{WORKFLOW}", Workflow),
    (rf"{API}/workflows/{WORKFLOW}/execute", Execute),
    (rf"{API}/workflows/{WORKFLOW}/executions", ExecutionList),
    (rf"{API}/workflows/{WORKFLOW}/versions", WorkflowVersionList),
    (rf"{API}/workflows/{WORKFLOW}/versions/(?P<version>{VERSION})", WorkflowVersion),
    (rf"{API}/workflows/{WORKFLOW}/versions/(?P<version>{VERSION})/restore", WorkflowRestoration),
    (rf"{API}/workflows/{WORKFLOW}/versions/(?P<before>{VERSION})/diff/(?P<after>{VERSION})", WorkflowDifference),
    (rf"{API}/system/info", Info),
    (rf"{API}/system/resources", Resources),
    (rf"{API}/system/audit", Audit),
    (rf"{API}/system/health/live", Live),
    (rf"{API}/system/health/ready", Ready),
    (rf"{API}/openapi\.json", Document),
    (rf"{API}/feed", Feed),
]


class MedFusionApp(ExtensionApp):
    """Serves `/medfusion/api/` from the store that MEDFUSION_HOME or MEDFUSION_DATABASE_URL names."""

    name = "medfusion_jupyter"
    load_other_extensions = True

    feed_seconds = Float(
        0.25,
        min=0.1,
        config=True,
        help="Seconds between looks at the database while a browser listens to the feed; nobody listening, it is left alone.",
    )
    database_threads = Int(
        4, min=1, config=True, help="Threads that wait for the database, so that the server does not."
    )
    admins = List(
        Unicode(),
        config=True,
        help="People who may change and delete what others own, by the names of Jupyter's identity provider.",
    )
    data_roots = List(
        Unicode(),
        config=True,
        help="Folders, besides the server's root folder and MEDFUSION_HOME, whose cohorts may be stored as datasets over REST.",
    )
    jobs_at_once = Int(
        0,
        min=0,
        config=True,
        help="Queued jobs and executions of workflows that run at once; 0: one a GPU, or one where there is none.",
    )
    job_kernel = Unicode(
        "",
        config=True,
        help="Name of the kernel that runs queued jobs and executions; by default the server's default kernel.",
    )
    max_upload_bytes = Int(
        8 * 2**30, min=1, config=True, help="Size of the largest archive of a model that can be uploaded."
    )

    def initialize_settings(self) -> None:
        """Make what the handlers share."""
        self.executor = ThreadPoolExecutor(self.database_threads, thread_name_prefix="medfusion-server")
        self.hub = FeedHub(self.executor, self.feed_seconds, self.open_store)
        self.launcher = Launcher(
            self.serverapp,
            self.open_store,
            self.executor,
            jobs_at_once=self.jobs_at_once,
            kernel_name=self.job_kernel,
        )
        self.settings.update(
            medfusion_executor=self.executor,
            medfusion_hub=self.hub,
            medfusion_launcher=self.launcher,
            medfusion_store=self.open_store,
            medfusion_routes=tuple(ROUTES),
            medfusion_data_roots=tuple(self.data_roots),
            medfusion_max_upload_bytes=self.max_upload_bytes,
        )

    def initialize_handlers(self) -> None:
        """Mount the routes."""
        self.handlers.extend(ROUTES)
        self.handlers.append((rf"{API}/.*", NotFound))

    def open_store(self) -> Store:
        """The store, with the configured admins; SQLAlchemy is loaded at the first call."""
        from medfusion_jupyter.store import open_store

        store = open_store()
        store.admins |= frozenset(self.admins)
        return store

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        """Begin to look at the queue once the server runs."""
        self.launcher.start()

    async def stop_extension(self) -> Any:
        """End the feed and let go of the threads."""
        await self.launcher.close()
        await self.hub.close()
        self.executor.shutdown(wait=False, cancel_futures=True)
