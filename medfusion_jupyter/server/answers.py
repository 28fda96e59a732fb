"""What the server answers, for the OpenAPI document: made from the store's own records, so that the two cannot differ."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from medfusion_jupyter.store import (
    checkpoints,
    datasets,
    events,
    execution_record,
    job_record,
    models,
    workflow_diff,
    workflows,
)
from medfusion_jupyter.workflows import catalogue, validation

Fields = dict[str, Any]


class Answer(BaseModel):
    """Base of the answers; nothing is in them that the document does not name."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


def _of(name: str, record: type, *, without: frozenset[str] = frozenset(), **more: Any) -> type[Answer]:
    assert is_dataclass(record)
    hints = get_type_hints(record)
    fields: Fields = {field: (hint, ...) for field, hint in hints.items() if field not in without}
    if "model_config" in fields:  # to pydantic the configuration of the class
        fields["model_config_"] = (fields.pop("model_config")[0], Field(alias="model_config"))
    return _made(name, (record.__doc__ or "").strip(), fields | {field: (hint, ...) for field, hint in more.items()})


def _page(name: str, item: type[Answer], **more: Any) -> type[Answer]:
    fields: Fields = {
        "items": (list[item], ...),  # type: ignore[valid-type]
        "next": (str | None, Field(description="cursor of the page after this one; null at the end")),
    }
    return _made(name, "Part of a list.", fields | {field: (hint, ...) for field, hint in more.items()})


def _all(name: str, item: type[Answer]) -> type[Answer]:
    return _made(name, "A whole list.", {"items": (list[item], ...)})  # type: ignore[valid-type]


def _made(name: str, doc: str, fields: Fields) -> type[Answer]:
    if "model_config" in fields:  # pydantic has that name for itself
        kind, _ = fields.pop("model_config")
        fields["config_of_model"] = (kind, Field(alias="model_config"))
    return create_model(name, __base__=Answer, __module__=__name__, __doc__=doc, **fields)


_INTERNAL = frozenset({"pk", "run_token", "queue"})

JobSummary = _of("JobSummary", job_record.JobSummary, without=_INTERNAL, commands=list[str])
Job = _of("Job", job_record.Job, without=_INTERNAL, commands=list[str])
JobPage = _page("JobPage", JobSummary, counts=dict[str, int])
Checkpoint = _of("Checkpoint", checkpoints.Checkpoint)
CheckpointList = _all("CheckpointList", Checkpoint)
ForkForm = _made(
    "ForkForm",
    "What a fork may begin from and change.",
    {
        "checkpoints": (list[Checkpoint], Field(description="by epoch and step")),  # type: ignore[valid-type]
        "settings": (dict[str, Any], Field(description="of the parent, as they are now")),
        "schema_": (dict[str, Any], Field(alias="schema", description="of what a fork may change")),
    },
)
Event = _of("Event", events.Event)
EventList = _all("EventList", Event)
EventPage = _page("EventPage", Event)
Model = _of("Model", models.ModelRecord)
ModelPage = _page("ModelPage", Model)
ModelList = _all("ModelList", Model)
ModelStatistics = _of("ModelStatistics", models.ModelStatistics)
Dataset = _of("Dataset", datasets.Dataset)
DatasetPage = _page("DatasetPage", Dataset)
DatasetStatistics = _of("DatasetStatistics", datasets.DatasetStatistics)
Workflow = _of("Workflow", workflows.Workflow)
ExecutionSummary = _of("ExecutionSummary", execution_record.ExecutionSummary)
ListedWorkflow = _of("ListedWorkflow", workflows.Workflow, last_execution=ExecutionSummary | None)
WorkflowPage = _page("WorkflowPage", ListedWorkflow)
WorkflowVersion = _of("WorkflowVersion", workflows.WorkflowVersion)
WorkflowVersionList = _all("WorkflowVersionList", WorkflowVersion)
WorkflowDiff = _of("WorkflowDiff", workflow_diff.WorkflowDiff)
Execution = _of("Execution", execution_record.Execution)
ExecutionPage = _page("ExecutionPage", Execution)
NodeRun = _of("NodeRun", execution_record.NodeRun)
ExecutionWithNodes = _of("ExecutionWithNodes", execution_record.Execution, nodes=list[NodeRun])  # type: ignore[valid-type]
Issue = _of("Issue", validation.Issue)


class IssueList(Answer):
    """What keeps a graph from being executed; nothing where it can be."""

    issues: list[Issue]  # type: ignore[valid-type]


class NodeType(Answer):
    """A kind of node. settings: JSON schema of what it can be set to."""

    name: str
    family: str
    title: str
    help: str
    inputs: list[catalogue.Input]
    outputs: list[catalogue.Output]
    settings: dict[str, Any]


NodeTypeList = _all("NodeTypeList", NodeType)


class WorkflowTemplate(Answer):
    """A graph to start from; it runs as it is."""

    name: str
    title: str
    help: str
    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]]


WorkflowTemplateList = _all("WorkflowTemplateList", WorkflowTemplate)


class Series(Answer):
    """One metric by rising step; null stands for a value that was not a number."""

    name: str
    steps: list[int]
    values: list[float | None]


class Error(Answer):
    """Why a request was refused. code: for programs; message: for people; field: what it is about, if anything."""

    code: str
    message: str
    field: str | None


class Alive(Answer):
    """The server answers."""

    status: str


class Ready(Answer):
    """The database answers."""

    status: str
    last_event: int


class Info(Answer):
    """Versions, the database (a password is not shown) and who asks."""

    database: str
    schema_revision: str | None
    versions: dict[str, str]
    person: str
    is_admin: bool
    home: str


class Gpu(Answer):
    """A GPU. Bytes; utilization 0 to 1."""

    index: int
    name: str
    memory_total: int
    memory_used: int
    utilization: float | None
    temperature: int | None


class Resources(Answer):
    """What the server's machine has. Bytes; shares 0 to 1; cpu_share: of all cores since the last look.

    jobs_running, jobs_waiting: of the queue, with the executions of workflows.
    """

    cpu_count: int
    cpu_share: float
    memory_total: int
    memory_available: int
    disk_total: int
    disk_free: int
    gpus: list[Gpu]
    jobs_at_once: int
    jobs_running: int
    jobs_waiting: int
