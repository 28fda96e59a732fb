"""The workflow editor in a notebook's cell: an anywidget whose browser side is `labextension/src/workflow/`."""

from __future__ import annotations

import json
import logging
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
from traitlets import Unicode

from medfusion_jupyter.store import StoreError, open_store
from medfusion_jupyter.store.errors import BadValue, Conflict, IllegalTransition, NameTaken, NotYours
from medfusion_jupyter.store.texts import valid_name
from medfusion_jupyter.widgets.edited_workflow import EditedWorkflow
from medfusion_jupyter.widgets.refresher import refresher
from medfusion_jupyter.workflows.graph import GraphError
from medfusion_jupyter.workflows.workflow import Workflow
from medfusion_jupyter.workflows.workflow_node import WorkflowError

if TYPE_CHECKING:
    from medfusion_jupyter.workflows.workflow_run import WorkflowRun

log = logging.getLogger("medfusion")

STATIC = Path(__file__).parent / "static"
IDLE_SECONDS = 2.0
"""How often an execution that was begun elsewhere is looked for."""

QUESTIONS = frozenset(
    {
        "node_types",
        "templates",
        "open",
        "check",
        "save",
        "versions",
        "difference",
        "restore",
        "run",
        "stop",
        "last_execution",
        "executed",
    }
)

_builders: weakref.WeakValueDictionary[tuple[str, str], Builder] = weakref.WeakValueDictionary()


def builder(workflow: Workflow | str = "workflow") -> Builder:
    """The editor of a workflow, to be shown as the last line of a cell.

    workflow: a `Workflow`, which follows each edit, as the editor follows the code that changes it; or the name of a stored one,
    and where none of that name is stored, of an empty one that the first Save stores. What is edited is found again after a
    reload of the page; Save makes a version of it, Run saves and executes it in this kernel. The same workflow has the same
    editor in a kernel. Raises BadValue for a name that no workflow can have.
    """
    name = valid_name("workflow", workflow if isinstance(workflow, str) else workflow.name)
    key = (open_store().url, name)
    found = _builders.get(key)
    if found is None or found.comm is None or (workflow is not found.workflow and not isinstance(workflow, str)):
        edited = EditedWorkflow.named(name) if isinstance(workflow, str) else EditedWorkflow(workflow)
        found = _builders[key] = Builder(edited)
    return found


def _built(name: str) -> str:
    path = STATIC / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is not built: run `make setup`, or `jlpm build:widget` in labextension/.")
    return path.read_text(encoding="utf-8")


class Builder(anywidget.AnyWidget):
    """Answers the editor's questions and tells it how executions go. Made by `medfusion.builder`."""

    _esm = Unicode().tag(sync=True)
    _css = Unicode().tag(sync=True)

    def __init__(self, edited: EditedWorkflow) -> None:
        self._edited = edited
        self._told: dict[str, str] = {}
        self._looked = 0.0
        super().__init__(_esm=_built("workflow.js"), _css=_built("workflow.css"))
        self.on_msg(self._answer)

    @property
    def workflow(self) -> Workflow:
        """What is edited, as it is now."""
        return self._edited.workflow

    @property
    def last_run(self) -> WorkflowRun | None:
        """The run that was begun last with the editor's button: its outputs are in this kernel."""
        return self._edited.last_run

    def refresh(self) -> bool:
        """Tell what code has changed of the graph, and what is new of the newest execution; False where nobody can see it."""
        if self.comm is None:
            return False
        self._tell_graph()
        if self._active or time.monotonic() - self._looked > IDLE_SECONDS:
            self._look()
        return True

    def show_problem(self, problem: Exception) -> None:
        """Say that the store could not be read; the next refresh tries again."""
        self.send({"news": {"trouble": f"The store could not be read, trying again: {problem}"}})

    def _tell_graph(self) -> None:
        changed = self._edited.news()
        if changed is not None:
            self.send({"news": {"graph": changed}})

    def _look(self) -> None:
        execution = self._edited.last_execution()
        self._looked = time.monotonic()
        if execution is None:
            return
        self._active = execution["status"] in ("pending", "running")
        # the heartbeat says nothing that is shown
        self._tell("execution", {**execution, "heartbeat_at": None})
        for job in self._edited.jobs_of(execution):
            self._tell("job", {**job, "heartbeat_at": None})

    _active = False

    def _tell(self, kind: str, what: dict[str, Any]) -> None:
        """Send what was not sent already."""
        text = json.dumps(what, sort_keys=True, default=str)
        if self._told.get(kind) != text:
            self._told[kind] = text
            self.send({"news": {kind: json.loads(text)}})

    def _answer(self, _: Builder, content: Any, buffers: object) -> None:
        if not isinstance(content, dict) or content.get("question") not in QUESTIONS:
            return
        answer: dict[str, Any] = {"id": content.get("id")}
        try:
            # first what code has changed: the answer is about the graph with it
            self._tell_graph()
            ask = getattr(self._edited, content["question"])
            answer["answer"] = ask(**content.get("values", {}))
        except (StoreError, GraphError, WorkflowError) as refused:
            answer["refused"] = {"status": _status(refused), "message": str(refused)}
        except Exception as error:  # whatever it is, the person who asked is told
            log.exception("The workflow editor could not be answered")
            answer["refused"] = {"status": 500, "message": f"{type(error).__name__}: {error}"}
        self.send(answer)
        if content["question"] in ("open", "run"):
            self._told.clear()
            self._active = True
            refresher.follow(self)


def _status(refused: Exception) -> int:
    """As the server would say it."""
    if isinstance(refused, Conflict | NameTaken | IllegalTransition | WorkflowError):
        return 409
    if isinstance(refused, NotYours):
        return 403
    return 422 if isinstance(refused, BadValue) else 400
