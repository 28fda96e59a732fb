"""A handle on a run of a workflow: watched, waited for, stopped, and asked for what its nodes gave."""

from __future__ import annotations

import html
import threading
from typing import TYPE_CHECKING, Any, Self

from medfusion_jupyter.store import ExecutionStatus, NodeRun, NodeStatus, open_store
from medfusion_jupyter.store.status import EXECUTION_FINISHED
from medfusion_jupyter.training.waiting import Awaited, Progress
from medfusion_jupyter.workflows.catalogue import closest

if TYPE_CHECKING:
    import pandas as pd

    from medfusion_jupyter.store import Execution
    from medfusion_jupyter.workflows.execution import ExecutionRun

SIGNS = {
    NodeStatus.PENDING: "○",
    NodeStatus.RUNNING: "●",
    NodeStatus.COMPLETED: "✓",
    NodeStatus.CACHED: "⚡",
    NodeStatus.FAILED: "✕",
    NodeStatus.SKIPPED: "–",
    NodeStatus.STOPPED: "■",
    NodeStatus.INTERRUPTED: "◌",
}


class WorkflowFailed(RuntimeError):
    """A run of a workflow that was waited for did not come to its end."""


class WorkflowRun(Awaited):
    """A run of a workflow, in this process or any other: its state is read from the store.

    `wait` raises WorkflowFailed, naming each node with its reason, where it failed or was interrupted.

    id: of its row; GET /medfusion/api/workflows/executions/{id} gives the same.
    """

    def __init__(self, execution_id: int, run: ExecutionRun | None = None) -> None:
        self._store = open_store()
        self._run = run
        self.id = self._store.executions.get(execution_id).id

    @classmethod
    def of(cls, run: ExecutionRun) -> Self:
        """Of a run of this process."""
        return cls(run.execution_id, run)

    @property
    def record(self) -> Execution:
        """Its row of the store as it is now."""
        return self._store.executions.get(self.id)

    @property
    def status(self) -> ExecutionStatus:
        """pending, running, completed, failed, stopped or interrupted."""
        return self.record.status

    @property
    def node_runs(self) -> list[NodeRun]:
        """What became of each node, in the order of the graph."""
        return self._store.executions.node_runs(self.id)

    @property
    def nodes(self) -> pd.DataFrame:
        """One row a node: status, seconds, error, and what it noted of itself."""
        import pandas as pd

        rows = [
            {
                "node": run.node_id,
                "status": str(run.status),
                "seconds": _seconds(run),
                "noted": _in_words(run),
                "error": run.error,
            }
            for run in self.node_runs
        ]
        return pd.DataFrame(rows, columns=["node", "status", "seconds", "noted", "error"]).set_index("node")

    def output(self, node: str, port: str | None = None) -> Any:
        """What a node gave, such as its model; port: which of its outputs, where it has several.

        Raises WorkflowFailed where the node did not complete, or this process did not run it.
        """
        if self._run is None:
            raise WorkflowFailed(
                f"The values of run {self.id} are in the process that ran it; run the workflow again here."
            )
        if node not in self._run.values:
            runs = {run.node_id: run for run in self.node_runs}
            if node not in runs:
                raise KeyError(f"There is no node {node!r}. {closest(node, runs)}")
            raise WorkflowFailed(
                f"The node {node!r} is {runs[node].status}: {runs[node].error or 'it has no output yet'}"
            )
        values = self._run.values[node]
        if port is None and len(values) != 1:
            raise KeyError(f"{node!r} has {len(values)} outputs ({', '.join(values)}): name the port.")
        if port is not None and port not in values:
            raise KeyError(f"{node!r} has no output {port!r}. {closest(port, values)}")
        return values[next(iter(values)) if port is None else port]

    def stop(self) -> None:
        """Stop the nodes at work; those after them do not begin. Raises IllegalTransition where it has ended."""
        self._store.executions.request_stop(self.id)
        self._store.writer.wake()

    def _progress(self) -> Progress:
        record, runs = self.record, self.node_runs
        done = sum(run.status not in (NodeStatus.PENDING, NodeStatus.RUNNING) for run in runs)
        failed = None
        if record.status in (ExecutionStatus.FAILED, ExecutionStatus.INTERRUPTED):
            said = "\n".join(f"{run.node_id}: {run.error}" for run in runs if run.status == NodeStatus.FAILED)
            failed = WorkflowFailed(f"Run {self.id} {record.status}. {said or record.error}")
        at_work = ", ".join(run.node_id for run in runs if run.status == NodeStatus.RUNNING)
        return Progress(
            share=done / len(runs) if runs else 0.0,
            words=f"run {self.id} {record.status}, {done} of {len(runs)} nodes done{f', at {at_work}' if at_work else ''}",
            state=f"Run {self.id} is {record.status}",
            ended=record.status in EXECUTION_FINISHED,
            failed=failed,
        )

    def _end(self) -> threading.Event | None:
        return None if self._run is None else self._run.ended

    def __repr__(self) -> str:
        nodes = "".join(
            f"\n  {SIGNS[run.status]} {run.node_id}: {run.status} {_in_words(run)}".rstrip() for run in self.node_runs
        )
        return f"<WorkflowRun {self.id}: {self.status}>{nodes}"

    def _repr_html_(self) -> str:
        record = self.record
        rows = "".join(
            f"<tr><td>{SIGNS[run.status]}</td>"
            + "".join(
                f"<td style='text-align:left; white-space:nowrap'>{html.escape(text)}</td>"
                for text in (run.node_id, str(run.status), _span(run))
            )
            + f"<td style='text-align:left'>{html.escape(run.error or _in_words(run))}</td></tr>"
            for run in self.node_runs
        )
        return f"<div><b>run {self.id}</b> · {html.escape(record.status)}<table>{rows}</table></div>"


def _seconds(run: NodeRun) -> float | None:
    if run.started_at is None or run.completed_at is None:
        return None
    return round((run.completed_at - run.started_at).total_seconds(), 2)


def _span(run: NodeRun) -> str:
    seconds = _seconds(run)
    return "" if seconds is None else f"{seconds:.1f} s"


def _in_words(run: NodeRun) -> str:
    noted = {name: value for name, value in (run.output or {}).items() if name not in ("preview", "progress")}
    parts = []
    if run.status == NodeStatus.RUNNING and run.output and "progress" in run.output:
        parts.append(f"{run.output['progress']:.0%}")
    parts += [f"{name} {_short(value)}" for name, value in noted.items() if value is not None]
    return ", ".join(parts)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, dict) and {"value", "low", "high"} <= value.keys():
        return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
    if isinstance(value, dict):
        return " ".join(f"{name}: {_short(one)}" for name, one in value.items())
    return str(value)
