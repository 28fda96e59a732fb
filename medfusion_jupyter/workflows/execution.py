"""Executes a workflow: each node as soon as it has its inputs, each state written to the store as it comes."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
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
from medfusion_jupyter.workflows.outputs import Kept, digest_of, key_of, outputs
from medfusion_jupyter.workflows.preview import preview_of
from medfusion_jupyter.workflows.validation import validate

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from medfusion_jupyter.store import Execution, Store

log = logging.getLogger("medfusion")

PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 0.25
SIDE_BY_SIDE = 8
"""So many nodes of an execution run at once."""

ERROR_LENGTH = 4000
"""So much of an error is kept, in characters."""

_DEVICE = threading.Lock()


class _NotBegun(Exception):
    """The stop came before a node began."""


@dataclass(frozen=True)
class _Ended:
    """How a node ended; status None: it did not begin."""

    node: Node
    status: NodeStatus | None
    values: Mapping[str, Any] = field(default_factory=dict)
    error: BaseException | None = None


class ExecutionRun:
    """Works one execution off in threads of this process.

    values: what each node gave, by node and output port. `ended` is set when it has said its last word to the store.
    """

    def __init__(
        self,
        store: Store,
        execution_id: int,
        *,
        catalogue: Catalogue | None = None,
        fresh: bool = False,
        launched: bool = False,
    ) -> None:
        """Claims the execution and begins. fresh: what earlier runs gave is made again; launched: from its queue, by the
        kernel that a server started for it.

        Raises IllegalTransition where another run has taken it, or it was stopped meanwhile.
        """
        self.store = store
        self.execution_id = execution_id
        self.ended = threading.Event()
        self.values: dict[str, Mapping[str, Any]] = {}
        self._catalogue = this_catalogue() if catalogue is None else catalogue
        self._stop = threading.Event()
        self._replaced = threading.Event()
        self._fresh = fresh
        self._digests: dict[tuple[str, str], str] = {}
        self._ended: SimpleQueue[_Ended] = SimpleQueue()
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
        self._graph = Graph.of(**given)
        self._gates = self._gates_before()
        waiting = self._graph.in_order()
        lost: set[str] = set()
        failed: list[str] = []
        at_work: dict[str, Node] = {}
        stopped = False
        while True:
            for node in list(waiting):
                if self._stop.is_set():
                    break
                sources = [edge.source for edge in self._graph.into(node.id)]
                lacking = next((one for one in sources if one in lost), None)
                if lacking is not None:
                    waiting.remove(node)
                    lost.add(node.id)
                    self._gates.pop(node.id, None)
                    self._move(node, NodeStatus.SKIPPED, error=f"it takes from {lacking!r}, which did not complete")
                elif all(one in self.values for one in sources) and self._has_room_for(node, at_work):
                    waiting.remove(node)
                    at_work[node.id] = node
                    name = f"medfusion-node-{node.id[:40]}"
                    threading.Thread(target=self._run_to_end, args=(node,), name=name, daemon=True).start()
            if not at_work:
                break
            ended = self._ended.get()
            del at_work[ended.node.id]
            if isinstance(ended.error, RunReplaced):
                raise ended.error
            if ended.status is None:  # the stop came before it began
                waiting.append(ended.node)
                continue
            extra = {} if ended.error is None else {"error": _in_words(ended.error)}
            self._move(ended.node, ended.status, **(extra if ended.status == NodeStatus.FAILED else {}))
            if ended.status == NodeStatus.STOPPED:
                stopped = True
            elif ended.status == NodeStatus.FAILED:
                failed.append(ended.node.id)
                lost.add(ended.node.id)
                if self._gates.pop(ended.node.id, None) is not None:
                    lost |= {node.id for node in waiting}
                    for node in waiting:
                        self._move(node, NodeStatus.SKIPPED, error=f"{ended.node.id!r} stopped the run")
                    waiting = []
            else:
                self.values[ended.node.id] = ended.values
                self._gates.pop(ended.node.id, None)
        if stopped or waiting:
            return ExecutionStatus.STOPPED, None
        if failed:
            return ExecutionStatus.FAILED, f"failed: {', '.join(failed)}"
        return ExecutionStatus.COMPLETED, None

    def _has_room_for(self, node: Node, at_work: Mapping[str, Node]) -> bool:
        if len(at_work) >= SIDE_BY_SIDE:
            return False
        types = self._catalogue
        if types.get(node.type).device and any(node.id not in before for before in self._gates.values()):
            return False
        return not types.get(node.type).device or not any(types.get(one.type).device for one in at_work.values())

    def _gates_before(self) -> dict[str, set[str]]:
        """The gates that have not completed, each with the nodes that it depends on, which cannot wait for it."""
        before: dict[str, set[str]] = {}
        gates = {}
        for node in self._graph.in_order():
            sources = [edge.source for edge in self._graph.into(node.id)]
            before[node.id] = set(sources).union(*(before[one] for one in sources))
            node_type = self._catalogue.get(node.type)
            if node_type.gate is not None and node_type.gate(node_type.settings.model_validate(node.settings)):
                gates[node.id] = before[node.id]
        return gates

    def _run_to_end(self, node: Node) -> None:
        """In a thread of the node: what it gives, and how it ended."""
        try:
            values, status = self._run(node)
            self._ended.put(_Ended(node, status, values))
        except Stopped as stop:
            self._ended.put(_Ended(node, NodeStatus.STOPPED, error=stop))
        except _NotBegun:
            self._ended.put(_Ended(node, None))
        except BaseException as error:  # a node may be anyone's code
            log.debug("Node %s of execution %s failed", node.id, self.execution_id, exc_info=True)
            self._ended.put(_Ended(node, NodeStatus.FAILED, error=error))

    def _run(self, node: Node) -> tuple[Mapping[str, Any], NodeStatus]:
        """What one node gives, now or at an earlier run of the same. Raises whatever its code raises."""
        node_type = self._catalogue.get(node.type)
        settings = node_type.settings.model_validate(node.settings)
        inputs, digests = self._inputs(node, node_type)
        key = key_of(node_type, settings, digests)
        work = node_type.work()
        if not self._fresh and not node_type.always and (kept := outputs.get(key)) is not None:
            self._digest(node, kept.values, key)
            self._note(node, kept.noted)
            return kept.values, NodeStatus.CACHED
        with self._device_for(node_type):
            self._move(node, NodeStatus.RUNNING)
            context = Context(
                self.execution_id,
                node.id,
                self._record.created_by,
                self._stop,
                lambda output: self._note(node, output),
                earlier={} if self._fresh else outputs.earlier(key),
                remember=lambda facts: outputs.begun(key, facts),
            )
            made = work(inputs, settings, context)
        _check(node_type, made)
        if (preview := preview_of(made)) is not None:
            context.note(preview=preview)
        outputs.put(key, Kept(made, context.noted, work))
        self._digest(node, made, key)
        return made, NodeStatus.COMPLETED

    def _inputs(self, node: Node, node_type: NodeType) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """The values by input port, and their digests."""
        inputs: dict[str, Any] = {port.name: [] for port in node_type.inputs if port.several}
        digests: dict[str, list[str]] = {}
        for edge in self._graph.into(node.id):
            value = self.values[edge.source][edge.source_port]
            digests.setdefault(edge.target_port, []).append(self._digests[edge.source, edge.source_port])
            if node_type.input_ports[edge.target_port].several:
                inputs[edge.target_port].append(value)
            else:
                inputs[edge.target_port] = value
        return inputs, digests

    def _digest(self, node: Node, values: Mapping[str, Any], key: str) -> None:
        for port, value in values.items():
            self._digests[node.id, port] = digest_of(value, f"{key}/{port}")

    @contextmanager
    def _device_for(self, node_type: NodeType) -> Iterator[None]:
        """The device is one node's at a time, in this process. Raises _NotBegun where the stop comes first."""
        if not node_type.device:
            yield
            return
        while not _DEVICE.acquire(timeout=RETRY_SECONDS):
            if self._stop.is_set():
                raise _NotBegun
        try:
            yield
        finally:
            _DEVICE.release()

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


def execute(
    workflow_id: int, *, version: int | None = None, catalogue: Catalogue | None = None, fresh: bool = False
) -> ExecutionRun:
    """Execute a stored workflow in this process; returns at once.

    version: None is the newest. Nodes whose settings and inputs are those of an earlier run give what they gave then, and one
    whose job was interrupted goes on with it; with fresh=True all is made again. Raises UnknownId, BadValue.
    """
    store = open_store()
    made = store.executions.create(workflow_id, version=version)
    return ExecutionRun(store, made.id, catalogue=catalogue, fresh=fresh)


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


def _in_words(error: BaseException) -> str:
    """What anyone's code raised, as it is stored and shown."""
    name = type(error).__name__
    try:
        said = str(error)
    except Exception:  # its own text may fail too
        return name
    more = f"… and {len(said) - ERROR_LENGTH:,} characters more" if len(said) > ERROR_LENGTH else ""
    return f"{name}: {said[:ERROR_LENGTH]}{more}" if said else name


def _check(node_type: NodeType, made: object) -> None:
    if not isinstance(made, Mapping) or set(made) != set(node_type.output_ports):
        given = f"({', '.join(map(str, made))})" if isinstance(made, Mapping) else f"a {type(made).__name__}"
        wanted = ", ".join(node_type.output_ports)
        raise TypeError(f"The node type {node_type.name!r} gave {given}; give a dict of its outputs ({wanted}).")
