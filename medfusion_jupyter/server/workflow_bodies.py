"""What a client may send about a workflow. Imported at the first such request: pydantic is not needed before."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
Description = Annotated[str, Field(max_length=10_000)]


class NewWorkflow(BaseModel):
    """A workflow to store. nodes, edges: the graph, each an object."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name
    description: Description = ""
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []


class SavedWorkflow(BaseModel):
    """Changes of a workflow; what is left out stays. version: the one that the changes were made on."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Annotated[int, Field(ge=1)]
    name: Name | None = None
    description: Description | None = None
    nodes: list[dict[str, Any]] | None = None
    edges: list[dict[str, Any]] | None = None
