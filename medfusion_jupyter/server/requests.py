"""What a client may send. Imported at the first request that has a query or a body: pydantic is not needed before."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from medfusion_jupyter.store.status import JobStatus

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
Description = Annotated[str, Field(max_length=10_000)]
Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=100, pattern=r"\S")]], Field(max_length=100)]
Search = Annotated[str, Field(max_length=200, description="part of the name or description, in any case")]
Id = Annotated[int, Field(ge=1, lt=2**63)]
Seen = Annotated[
    AwareDatetime,
    Field(strict=False, description="`updated_at` as the change was made on; 409 where it was changed since"),
]
Priority = Annotated[int, Field(ge=-1000, le=1000, description="the highest of the queue is launched first")]
NotBefore = Annotated[AwareDatetime, Field(strict=False, description="the job is not launched earlier")]


def _or_none(value: Any) -> Any:
    return None if value == "" else value


Chosen = BeforeValidator(_or_none)
"""An empty argument of a query is one that is not given."""


class Query(BaseModel):
    """Arguments of a query."""

    model_config = ConfigDict(extra="forbid")


class Body(BaseModel):
    """A JSON object. A number is not taken for a text, nor a text for a number."""

    model_config = ConfigDict(extra="forbid", strict=True)


class PageQuery(Query):
    """Part of a list."""

    limit: Annotated[int, Field(ge=1, le=500, description="items of the page at most")] = 50
    cursor: Annotated[str | None, Chosen, Field(max_length=2000, description="`next` of the page before")] = None


class JobQuery(PageQuery):
    """Which jobs, in which order."""

    status: Annotated[JobStatus | None, Chosen] = None
    search: Annotated[Search | None, Chosen] = None
    created_by: Annotated[Name | None, Chosen] = None
    parent_job_id: Annotated[
        Annotated[str, Field(pattern=r"^job_[0-9]{4,18}$")] | None, Chosen, Field(description="only the children of it")
    ] = None
    folds: Annotated[bool, Field(description="false leaves the folds of cross-validations out")] = True
    metric: Annotated[Name | None, Chosen, Field(description="only jobs that have it, such as val/auroc")] = None
    at_least: Annotated[float | None, Chosen, Field(allow_inf_nan=False, description="of the metric")] = None
    at_most: Annotated[float | None, Chosen, Field(allow_inf_nan=False, description="of the metric")] = None
    sort: Literal["created", "name", "metric"] = "created"
    order: Literal["falling", "rising"] = "falling"


class SeriesQuery(Query):
    """Which part of a metric series."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    since: Annotated[int | None, Field(ge=0, lt=2**63, description="only steps after it")] = None
    points: Annotated[int | None, Field(ge=2, le=1_000_000, description="at most so many")] = None


class EventQuery(Query):
    """Events after one, in order."""

    after: Annotated[int, Field(ge=0, lt=2**63, description="id of the last event that is known")] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 200


class AuditQuery(PageQuery):
    """Which changes; newest first."""

    entity: Annotated[Literal["job", "model", "dataset", "workflow", "execution", "node"] | None, Chosen] = None
    entity_id: Annotated[str | None, Chosen, Field(max_length=100)] = None
    actor: Annotated[Name | None, Chosen] = None
    kind: Annotated[str | None, Chosen, Field(max_length=40)] = None


class ModelQuery(PageQuery):
    """Which models; newest first."""

    search: Annotated[Search | None, Chosen] = None
    name: Annotated[Name | None, Chosen] = None
    backbone: Annotated[Name | None, Chosen] = None
    tag: Annotated[Annotated[str, Field(max_length=100)] | None, Chosen] = None
    created_by: Annotated[Name | None, Chosen] = None
    job_id: Annotated[Annotated[str, Field(pattern=r"^job_[0-9]{4,18}$")] | None, Chosen] = None
    folds: Annotated[bool, Field(description="false leaves out models of folds that have no alias")] = True


class ModelUpload(Query):
    """What the archive of a model is stored as."""

    name: Name
    description: Description = ""
    parent_id: Annotated[Id | None, Field(description="the model that it was made from")] = None


class ModelChanges(Body):
    """Changes of a model; what is left out stays."""

    updated_at: Seen
    description: Description | None = None
    tags: Tags | None = None


class DatasetQuery(PageQuery):
    """Which datasets; newest first."""

    search: Annotated[Search | None, Chosen] = None
    tag: Annotated[Annotated[str, Field(max_length=100)] | None, Chosen] = None
    created_by: Annotated[Name | None, Chosen] = None
    fingerprint: Annotated[Annotated[str, Field(max_length=64)] | None, Chosen] = None


class NewDataset(Body):
    """A cohort on the server's disk to store. data_path: its folder, relative to the server's root or under an allowed root."""

    name: Name
    data_path: Annotated[str, Field(min_length=1, max_length=4096)]
    description: Description = ""
    tags: Tags = []


class DatasetChanges(Body):
    """Changes of a dataset; what is left out stays."""

    updated_at: Seen
    name: Name | None = None
    description: Description | None = None
    tags: Tags | None = None


class WorkflowQuery(PageQuery):
    """Which workflows; newest first."""

    search: Annotated[Search | None, Chosen] = None


class Graph(Body):
    """A graph: nodes and edges, each an object."""

    nodes: Annotated[list[dict[str, Any]], Field(max_length=10_000)] = []
    edges: Annotated[list[dict[str, Any]], Field(max_length=100_000)] = []


class NewWorkflow(Graph):
    """A workflow to store."""

    name: Name
    description: Description = ""


class SavedWorkflow(Body):
    """Changes of a workflow; what is left out stays. version: the one that the changes were made on."""

    version: Annotated[int, Field(ge=1, lt=2**31)]
    name: Name | None = None
    description: Description | None = None
    nodes: list[dict[str, Any]] | None = None
    edges: list[dict[str, Any]] | None = None


class NewJob(Body):
    """A training job to queue. dataset: name of a stored one; config: settings of `mf.train`."""

    dataset: Name
    config: Annotated[dict[str, Any], Field(description="settings of mf.train; what is left out has its default")] = {}
    name: Name | None = None
    description: Description = ""
    priority: Priority = 0
    not_before: NotBefore | None = None


class JobChanges(Body):
    """Changes of a job; what is left out stays.

    priority, not_before: while it waits in the queue. lr, epochs, patience: while it runs; they hold from the next batch on.
    """

    name: Name | None = None
    description: Description | None = None
    priority: Priority | None = None
    not_before: NotBefore | None = None
    lr: Annotated[float | None, Field(gt=0, le=10, description="peak learning rate")] = None
    epochs: Annotated[int | None, Field(ge=1, le=100_000)] = None
    patience: Annotated[int | None, Field(ge=1, le=100_000)] = None
