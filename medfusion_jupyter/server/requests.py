"""What a client may send. Imported at the first request that has a query or a body: pydantic is not needed before."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from medfusion_jupyter.settings.refusals import NOT_BLANK
from medfusion_jupyter.settings.training import TrainingSettings
from medfusion_jupyter.store.status import ExecutionStatus, JobStatus
from medfusion_jupyter.store.texts import storable


def _kept(text: str) -> str:
    return storable("it", text)


Name = Annotated[str, AfterValidator(_kept), Field(min_length=1, max_length=200, pattern=NOT_BLANK)]
Description = Annotated[str, AfterValidator(_kept), Field(max_length=10_000)]
Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=100, pattern=NOT_BLANK)]], Field(max_length=100)]
Search = Annotated[str, Field(max_length=200, description="part of the name or description, in any case")]
Id = Annotated[int, Field(ge=1, lt=2**63)]


def _moment(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("give a text such as 2026-01-31T12:00:00Z")
    try:
        moment = dt.datetime.fromisoformat(value)
        return moment if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{value[:40]!r} is no moment such as 2026-01-31T12:00:00Z") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
Seen = Annotated[Moment, Field(description="`updated_at` as the change was made on; 409 where it was changed since")]
Priority = Annotated[int, Field(ge=-1000, le=1000, description="the highest of the queue is launched first")]
NotBefore = Annotated[Moment, Field(description="the job is not launched earlier")]


class Query(BaseModel):
    """Arguments of a query. One that is empty is not given."""

    model_config = ConfigDict(extra="forbid")


class Body(BaseModel):
    """A JSON object. A number is not taken for a text, nor a text for a number."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _meaning(setting: str) -> str | None:
    return TrainingSettings.model_fields[setting].description


class PageQuery(Query):
    """Part of a list."""

    limit: Annotated[int, Field(ge=1, le=500, description="items of the page at most")] = 50
    cursor: Annotated[str | None, Field(max_length=2000, description="`next` of the page before")] = None


class JobQuery(PageQuery):
    """Which jobs, in which order."""

    status: JobStatus | None = None
    search: Search | None = None
    created_by: Name | None = None
    parent_job_id: Annotated[str | None, Field(pattern=r"^job_[0-9]{4,18}$", description="only the children of it")] = (
        None
    )
    folds: Annotated[bool, Field(description="false leaves the folds of cross-validations out")] = True
    metric: Annotated[Name | None, Field(description="only jobs that have it, such as val/auroc")] = None
    at_least: Annotated[float | None, Field(allow_inf_nan=False, description="of the metric")] = None
    at_most: Annotated[float | None, Field(allow_inf_nan=False, description="of the metric")] = None
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

    entity: Literal["job", "model", "dataset", "workflow", "execution", "node"] | None = None
    entity_id: Annotated[str | None, Field(max_length=100)] = None
    actor: Name | None = None
    kind: Annotated[str | None, Field(max_length=40)] = None


class ModelQuery(PageQuery):
    """Which models; newest first."""

    search: Search | None = None
    name: Name | None = None
    backbone: Name | None = None
    tag: Annotated[str | None, Field(max_length=100)] = None
    created_by: Name | None = None
    job_id: Annotated[str | None, Field(pattern=r"^job_[0-9]{4,18}$")] = None
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

    search: Search | None = None
    tag: Annotated[str | None, Field(max_length=100)] = None
    created_by: Name | None = None
    fingerprint: Annotated[str | None, Field(max_length=64)] = None


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

    search: Search | None = None


class Graph(Body):
    """A graph: nodes and edges, each an object."""

    nodes: Annotated[list[dict[str, Any]], Field(max_length=10_000)] = []
    edges: Annotated[list[dict[str, Any]], Field(max_length=100_000)] = []


class WhichVersion(Query):
    """Which save of a workflow."""

    version: Annotated[int | None, Field(ge=1, lt=2**31, description="the newest where it is left out")] = None


class ExecutionQuery(PageQuery):
    """Which executions; newest first."""

    status: ExecutionStatus | None = None


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


class JobTexts(Body):
    """The name and the description of a job as a change of them was made on; 409 where they were changed since."""

    name: str | None = None
    description: str | None = None

    def texts(self) -> dict[str, str]:
        """Those that are given."""
        return self.model_dump(exclude_none=True)


class NewFork(Body):
    """A job to queue that begins from a checkpoint of another one; by default from the newest.

    config: settings of `mf.train` that differ from the parent's. What shapes the weights cannot be changed, nor the split.
    """

    epoch: Annotated[int | None, Field(ge=0, lt=2**31, description="the checkpoint that was made after this epoch")] = (
        None
    )
    step: Annotated[int | None, Field(ge=0, lt=2**63, description="the checkpoint that was made at this step")] = None
    config: Annotated[
        dict[str, Any], Field(description="settings of mf.train; what is left out is as in the parent")
    ] = {}
    name: Name | None = None
    description: Description = ""
    priority: Priority = 0
    not_before: NotBefore | None = None


class JobChanges(Body):
    """Changes of a job; what is left out stays.

    seen: what name and description were, each needed to change it.
    priority, not_before: while it waits in the queue. The settings from `lr` on: while it runs, with the ranges of mf.train; they
    hold from the next step on. `patience: null` never ends the run early.
    """

    seen: JobTexts = JobTexts()
    name: Name | None = None
    description: Description | None = None
    priority: Priority | None = None
    not_before: NotBefore | None = None
    lr: Annotated[float | None, Field(gt=0, le=10, description=_meaning("lr"))] = None
    encoder_lr: Annotated[float | None, Field(gt=0, le=10, description=_meaning("encoder_lr"))] = None
    epochs: Annotated[int | None, Field(ge=1, le=100_000, description=_meaning("epochs"))] = None
    patience: Annotated[int | None, Field(ge=1, le=100_000, description=_meaning("patience"))] = None
    min_delta: Annotated[float | None, Field(ge=0, allow_inf_nan=False, description=_meaning("min_delta"))] = None
    unfreeze: Annotated[
        Literal["all"] | list[Annotated[str, Field(max_length=200)]] | None,
        Field(description=_meaning("unfreeze")),
    ] = None

    def of_run(self) -> dict[str, Any]:
        """The settings of the run that are given."""
        names = {"lr", "encoder_lr", "epochs", "patience", "min_delta", "unfreeze"} & self.model_fields_set
        given = self.model_dump(include=names)
        return {name: value for name, value in given.items() if value is not None or name == "patience"}

    @model_validator(mode="after")
    def _of_what_was_seen(self) -> JobChanges:
        for field in ("name", "description"):
            if getattr(self, field) is not None and field not in self.seen.texts():
                raise ValueError(f"a new {field} needs seen.{field}, the {field} that it takes the place of")
        return self

    @model_validator(mode="after")
    def _of_one_state(self) -> JobChanges:
        waits = self.priority is not None or self.not_before is not None
        if waits and self.of_run():
            raise ValueError(
                "a job waits or runs: change its turn in the queue or settings of its run, not both at once"
            )
        return self
