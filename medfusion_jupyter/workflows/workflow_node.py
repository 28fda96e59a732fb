"""A node of a workflow and its ports, as they are named where a workflow is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from medfusion_jupyter.workflows.catalogue import Input, NodeType, Output, catalogue, closest
from medfusion_jupyter.workflows.graph import Node

if TYPE_CHECKING:
    from medfusion_jupyter.workflows.workflow import Workflow


class WorkflowError(ValueError):
    """Something asked of a workflow that cannot be, or a workflow that cannot run as it is."""


@dataclass(frozen=True)
class Port:
    """One output or input of a node of a workflow."""

    node: WorkflowNode
    name: str


class WorkflowNode:
    """A node of a workflow, by its id. It is as the workflow has it now."""

    def __init__(self, workflow: Workflow, node_id: str) -> None:
        self.workflow = workflow
        self.id = node_id

    @property
    def type(self) -> str:
        """Name of its node type."""
        return self._node.type

    @property
    def settings(self) -> dict[str, Any]:
        """What is set; everything else has its default."""
        return dict(self._node.settings)

    def set(self, **settings: Any) -> Self:
        """Change settings; None takes back to the default what cannot be None. Raises WorkflowError for a bad one."""
        self.workflow.change(self.id, {**self._node.settings, **settings})
        return self

    def output(self, name: str | None = None) -> Port:
        """An output; without a name the only one. Raises WorkflowError with the names there are."""
        return self._port(name, None if self.node_type is None else self.node_type.output_ports, "output")

    def input(self, name: str | None = None) -> Port:
        """An input; without a name the only one. Raises WorkflowError with the names there are."""
        return self._port(name, None if self.node_type is None else self.node_type.input_ports, "input")

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value!r}" for name, value in self._node.settings.items())
        return f"<{self.id}: {self.type}{settings}>"

    @property
    def _node(self) -> Node:
        found = next((node for node in self.workflow.graph.nodes if node.id == self.id), None)
        if found is None:
            raise WorkflowError(f"The node {self.id!r} is no longer in {self.workflow!r}.")
        return found

    @property
    def node_type(self) -> NodeType | None:
        """Its node type; None where it is not known here."""
        return catalogue().get(self.type) if self.type in catalogue() else None

    def _port(self, name: str | None, there: Mapping[str, Input] | Mapping[str, Output] | None, kind: str) -> Port:
        if there is None:  # nobody here knows the ports of an unknown type
            if name is None:
                raise WorkflowError(f"{self.id!r} has a type that is not known here, {self.type!r}: name the {kind}.")
            return Port(self, name)
        if name is None:
            if len(there) != 1:
                raise WorkflowError(f"{self.id!r} has {len(there)} {kind}s ({', '.join(there)}): name the {kind}.")
            name = next(iter(there))
        if name not in there:
            raise WorkflowError(f"{self.id!r} has no {kind} {name!r}. {closest(name, there)}".rstrip())
        return Port(self, name)


def ports_of(
    end: WorkflowNode | Port, of_type: Callable[[NodeType], Sequence[Input | Output]]
) -> tuple[WorkflowNode, list[Input | Output]]:
    """The node of an end of an edge, and its ports that may be meant."""
    node, name = (end, None) if isinstance(end, WorkflowNode) else (end.node, end.name)
    ports = () if node.node_type is None else of_type(node.node_type)
    return node, [port for port in ports if name in (None, port.name)]
