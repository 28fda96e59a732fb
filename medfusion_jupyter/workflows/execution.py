"""Executes a workflow: node after node in the order of the graph, each state written to the store as it comes."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import psutil

from medfusion_jupyter.store import ExecutionStatus, IllegalTransition, NodeStatus, RunReplaced, StoreError, open_store
from medfusion_jupyter.store.errors import DatabaseTrouble
from medfusion_jupyter.training.headless import end_without, stay_until
from medfusion_jupyter.training.run import kernel_id
from medfusion_jupyter.workflows.catalogue import Catalogue, NodeType
from medfusion_jupyter.workflows.catalogue import catalogue as this_catalogue
from medfusion_jupyter.workflows.context import Context, Stopped
from medfusion_jupyter.workflows.graph import Graph, Node
from medfusion_jupyter.workflows.validation import validate

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from medfusion_jupyter.store import Execution, Store

log = logging.getLogger("medfusion")

PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 0.25


class ExecutionRun:
    """Works one execution off in a thread of this process. `ended` is set when it has said its last word to the store."""

    def __init__(
        self, store: Store, execution_id: int, *, catalogue: Catalogue | None = None, launched: bool = False
    ) -> None:
        """Claims the execution and begins; launched: from its queue, by the kernel that a server started for it.

        Raises IllegalTransition where another run has taken it, or it was stopped meanwhile.
        """
        self.store = store
        self.execution_id = execution_id
        self.ended = threading.Event()
        self._catalogue = this_catalogue() if catalogue is None else catalogue
        self._stop = threading.Event()
        self._replaced = threading.Event()
        self._token = uuid.uuid4().hex
        self._record: Execution = store.executions.claim(
            execution_id,
            run_token=self._token,
            host=socket.gethostname(),
            pid=os.getpid(),
            process_started=psutil.Process().create_time(),
            kernel_id=kernel_id(),
            launched=launched,
        )
        self._detach = store.writer.attach(self._beat)
        threading.Thread(target=self._work, name="medfusion-workflow", daemon=True).start()

    def stop(self) -> None:
        """Stop the node at work; those after it do not begin."""
        self._stop.set()

    def _work(self) -> None:
        try:
            status, error = self._execute()
            self._write(
                lambda: self.store.executions.finish(self.execution_id, status, run_token=self._token, error=error)
            )
        except RunReplaced:
            log.warning("Execution %s was taken over or deleted; this run of it has ended.", self.execution_id)
        except StoreError as refused:
            log.error("Execution %s ended, but the store did not take it: %s", self.execution_id, refused)
        finally:
            self._detach()
            self.ended.set()

    def _execute(self) -> tuple[ExecutionStatus, str | None]:
        """Every node; gives how the execution ended."""
        saved = self.store.workflows.version(self._record.workflow_id, self._record.version)
        given = {"nodes": saved.nodes, "edges": saved.edges}
        issues = validate(given, self._catalogue)
        if issues:
            return ExecutionStatus.FAILED, "\n".join(map(str, issues[:20]))
        graph = Graph.of(**given)
        values: dict[str, Mapping[str, Any]] = {}
        failed: list[str] = []
        stopped = False
        for node in graph.in_order():
            if self._stop.is_set():
                stopped = True
                break
            lacking = [edge.source for edge in graph.into(node.id) if edge.source not in values]
            if lacking:
                self._move(node, NodeStatus.SKIPPED, error=f"it takes from {lacking[0]!r}, which did not complete")
                continue
            self._move(node, NodeStatus.RUNNING)
            try:
                made = self._run(node, self._inputs(graph, node, values))
            except Stopped:
                stopped = True
                self._move(node, NodeStatus.STOPPED)
            except RunReplaced:
                raise
            except (Exception, SystemExit) as error:  # a node may be anyone's code
                log.debug("Node %s of execution %s failed", node.id, self.execution_id, exc_info=True)
                failed.append(node.id)
                self._move(node, NodeStatus.FAILED, error=f"{type(error).__name__}: {error}")
            else:
                values[node.id] = made
                self._move(node, NodeStatus.COMPLETED)
        if stopped:
            return ExecutionStatus.STOPPED, None
        if failed:
            return ExecutionStatus.FAILED, f"failed: {', '.join(failed)}"
        return ExecutionStatus.COMPLETED, None

    def _inputs(self, graph: Graph, node: Node, values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        inputs: dict[str, Any] = {port.name: [] for port in self._catalogue.get(node.type).inputs if port.several}
        several = set(inputs)
        for edge in graph.into(node.id):
            value = values[edge.source][edge.source_port]
            if edge.target_port in several:
                inputs[edge.target_port].append(value)
            else:
                inputs[edge.target_port] = value
        return inputs

    def _run(self, node: Node, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """What one node gives. Raises whatever its code raises."""
        node_type = self._catalogue.get(node.type)
        context = Context(
            self.execution_id, node.id, self._record.created_by, self._stop, lambda output: self._note(node, output)
        )
        made = node_type.work()(inputs, node_type.settings.model_validate(node.settings), context)
        _check(node_type, made)
        return made

    def _move(self, node: Node, status: NodeStatus, **more: Any) -> None:
        self._write(
            lambda: self.store.executions.move_node(self.execution_id, node.id, status, run_token=self._token, **more)
        )

    def _note(self, node: Node, output: dict[str, Any]) -> None:
        self._write(lambda: self.store.executions.note_node(self.execution_id, node.id, output, run_token=self._token))

    def _write(self, write: Callable[[], object]) -> None:
        """Write to the store, a minute long where its database does not do its part."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            if self._replaced.is_set():
                raise RunReplaced(f"execution {self.execution_id}")
            try:
                write()
                return
            except DatabaseTrouble:
                if time.monotonic() > until:
                    raise
                time.sleep(RETRY_SECONDS)

    def _beat(self, session: Session) -> None:
        """Called by the writer thread: heartbeat out, the wish to stop in."""
        seen = self.store.executions.beat_in(session, self.execution_id, self._token)
        if seen is None:
            self._replaced.set()
            self._stop.set()
        elif seen.stop_requested_at is not None:
            self._stop.set()


def execute(workflow_id: int, *, version: int | None = None, catalogue: Catalogue | None = None) -> ExecutionRun:
    """Execute a stored workflow in this process; returns at once. version: None is the newest. Raises UnknownId, BadValue."""
    store = open_store()
    made = store.executions.create(workflow_id, version=version)
    return ExecutionRun(store, made.id, catalogue=catalogue)


def run_queued(execution_id: int) -> None:
    """What a kernel runs that a server started for an execution; an interrupt of the kernel stops it."""
    server = os.getppid()
    try:
        run = ExecutionRun(open_store(), execution_id, launched=True)
    except IllegalTransition as taken:
        log.warning("%s This kernel leaves it.", taken)
        return
    stay_until(run.ended, on_interrupt=run.stop)
    end_without(server)


def _check(node_type: NodeType, made: object) -> None:
    if not isinstance(made, Mapping) or set(made) != set(node_type.output_ports):
        given = f"({', '.join(map(str, made))})" if isinstance(made, Mapping) else f"a {type(made).__name__}"
        wanted = ", ".join(node_type.output_ports)
        raise TypeError(f"The node type {node_type.name!r} gave {given}; give a dict of its outputs ({wanted}).")
