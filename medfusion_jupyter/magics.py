"""`%medfusion` and `%%medfusion`: the store's jobs, models and workflows from a notebook's prompt."""

from __future__ import annotations

import datetime as dt
import difflib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

from medfusion_jupyter.steering import WHAT_THEY_DO, ask, in_one_line, read_fork
from medfusion_jupyter.store import StoreError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from medfusion_jupyter.data import Cohort, Split
    from medfusion_jupyter.store import JobSummary

LISTS = ("jobs", "models", "datasets", "workflows")
OF_A_JOB = ("monitor", "status", *WHAT_THEY_DO, "fork")
WITH_SETTINGS = ("set", "fork")
SUBCOMMANDS = (*LISTS, *OF_A_JOB, "run", "help")
HELP = """\
%medfusion jobs | models | datasets | workflows         what the store holds, newest first
%medfusion monitor [JOB]                                the live monitor of a job
%medfusion status  [JOB]                                one line on a job
%medfusion pause | resume | stop | checkpoint [JOB]     as the monitor's buttons; resume also goes on with an interrupted job
%medfusion set [JOB] lr=1e-4 epochs=40 patience=none    change a job that runs; also encoder_lr, min_delta and unfreeze
%medfusion fork [JOB] epoch=5 lr=1e-4 name=slower       a new job from a checkpoint (step=…; the newest), trained in this kernel
%medfusion run WORKFLOW                                 runs a stored workflow in the background
%%medfusion workflow                                    saves and runs the workflow that the cell describes in YAML
%%medfusion train                                       trains as the cell says in YAML: cohort: NAME, and settings of mf.train
%medfusion help                                         this text
JOB is an id such as job_0012; without one the newest active job is meant."""
OFFERED_JOBS = 20


@magics_class
class MedFusionMagics(Magics):
    """The line magic `%medfusion` and the cell magic `%%medfusion`."""

    @cell_magic("medfusion")  # type: ignore[arg-type]
    def medfusion_cell(self, line: str, cell: str) -> Any:
        """Run what the cell describes in YAML: `%%medfusion workflow` or `%%medfusion train`."""
        if line.split() not in (["workflow"], ["train"]):
            raise UsageError(
                f"%%medfusion {line} is not there: %%medfusion workflow runs a workflow in YAML, %%medfusion train a training."
            )
        try:
            if line.split() == ["train"]:
                return _train(cell, self.shell.user_ns if self.shell is not None else {})
            from medfusion_jupyter.workflows.workflow import Workflow

            return Workflow.from_yaml(cell).run()
        except (StoreError, RuntimeError, ValueError) as refused:
            raise UsageError(str(refused)) from None

    @line_magic
    def medfusion(self, line: str) -> Any:
        """Look at the store's jobs and models and steer jobs: `%medfusion help`."""
        words = shlex.split(line) or ["help"]
        command, arguments = words[0], words[1:]
        if command not in SUBCOMMANDS:
            near = difflib.get_close_matches(command, SUBCOMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"There is no %medfusion {command}.{hint} There are: {', '.join(SUBCOMMANDS)}.")
        if command == "run" and len(arguments) != 1:
            raise UsageError(f"%medfusion run takes the name of one workflow after it, not {line!r}.")
        changes = [word for word in arguments if "=" in word] if command in WITH_SETTINGS else []
        named = [word for word in arguments if word not in changes]
        allowed = 1 if command in (*OF_A_JOB, "run") else 0
        if len(named) > allowed:
            raise UsageError(
                f"%medfusion {command} takes {'one job' if allowed else 'nothing'} after it, not {line!r}."
            )
        try:
            return self._answer(command, named[0] if named else None, changes)
        except (StoreError, RuntimeError, ValueError) as refused:
            raise UsageError(str(refused)) from None

    def _answer(self, command: str, name: str | None, changes: list[str]) -> Any:
        if command == "help":
            print(HELP)
            return None
        if command == "run":
            from medfusion_jupyter.workflows.workflow import load_workflow

            return load_workflow(str(name)).run()
        if command in LISTS:
            from medfusion_jupyter.widgets import lists

            return getattr(lists, command)()
        job = _job(name, command)
        if command == "monitor":
            from medfusion_jupyter.widgets import monitor

            return monitor(job.job_id)
        if command == "status":
            print(in_one_line(job))
            return None
        return _steer(command, job, changes)


TRAINING = """\
%%medfusion train takes the settings of mf.train in YAML, and the cohort: a variable of the notebook, the name of a stored
dataset, or the arguments of mf.Cohort by name. Such as:
cohort: hannover
fusion: gated
epochs: 20"""


def _train(cell: str, variables: Mapping[str, Any]) -> Any:
    """The job of a training that is described in YAML."""
    from medfusion_jupyter.settings.yaml_text import read_yaml

    described = read_yaml(cell)
    if (
        not isinstance(described, Mapping)
        or "cohort" not in described
        or not all(isinstance(k, str) for k in described)
    ):
        raise UsageError(TRAINING)
    from medfusion_jupyter.training import train

    settings = {**described}
    cohort = _cohort(settings.pop("cohort"), variables)
    if "not_before" in settings:
        settings["not_before"] = dt.datetime.fromisoformat(str(settings["not_before"]))
    return train(cohort, **settings)


def _cohort(given: object, variables: Mapping[str, Any]) -> Cohort | Split:
    from pydantic import ValidationError

    from medfusion_jupyter.data import Cohort, Split
    from medfusion_jupyter.settings.refusals import in_words
    from medfusion_jupyter.workflows.node_settings import CsvSettings

    if isinstance(given, Mapping):
        try:
            return Cohort(**CsvSettings.model_validate(given).model_dump())
        except ValidationError as refused:
            raise UsageError(f"cohort: {in_words(refused.errors()[0], CsvSettings)}") from None
    if not isinstance(given, str):
        raise UsageError(TRAINING)
    if given not in variables:
        return Cohort.load(given)
    there = variables[given]
    if isinstance(there, Cohort | Split):
        return there
    raise UsageError(f"cohort: {given} is of type {type(there).__name__} here: name a Cohort or a Split.")


def _job(job_id: str | None, command: str) -> JobSummary:
    from medfusion_jupyter.store import open_store

    jobs = open_store().jobs
    if job_id is not None:
        return jobs.get(job_id)
    active = [job for job in jobs.active() if job.fold is None]
    if active:
        return active[0]
    newest = jobs.list(folds=False, limit=1).items
    if newest and command in ("monitor", "status", "fork"):
        return newest[0]
    raise UsageError(f"No job is active. Name one: %medfusion {command} JOB; %medfusion jobs lists them.")


def _steer(command: str, job: JobSummary, changes: list[str]) -> Any:
    from medfusion_jupyter.store import FINISHED

    if command == "fork":
        from medfusion_jupyter.training import load_job

        return load_job(job.job_id).fork(**read_fork(changes))
    if command == "resume" and job.status in FINISHED:
        from medfusion_jupyter.training import load_cross_validation, resume  # runs of this kernel: now torch is needed

        if job.num_folds is not None:
            return load_cross_validation(job.job_id).resume()
        return resume(job.job_id)
    print(ask(job.job_id, command, changes))
    return None


@context_matcher()  # type: ignore[untyped-decorator]
def _matcher(context: CompletionContext) -> SimpleMatcherResult:
    """Subcommands after `%medfusion`, then ids of jobs, and after `set` the settings."""
    words = context.line_with_cursor[: context.cursor_position].lstrip().split(" ")
    if words[0].removeprefix("%") != "medfusion" or len(words) < 2:
        return {"completions": []}
    given, token = words[1:-1], words[-1]
    offered: list[str] = []
    if not given:
        offered = list(SUBCOMMANDS)
    elif len(given) == 1 and given[0] in OF_A_JOB:
        from medfusion_jupyter.store import open_store

        offered = [job.job_id for job in open_store().jobs.list(limit=OFFERED_JOBS).items]
    elif given == ["run"]:
        from medfusion_jupyter.store import open_store

        offered = [workflow.name for workflow in open_store().workflows.list(limit=OFFERED_JOBS).items]
    if given[:1] == ["set"]:
        from medfusion_jupyter.settings.live import LIVE

        offered += _not_given(LIVE, given)
    if given[:1] == ["fork"]:
        from medfusion_jupyter.settings.forking import schema_of_fork

        offered += _not_given(("epoch", "step", "name", *schema_of_fork()["properties"]), given)
    found = [SimpleCompletion(text, type="medfusion") for text in offered if text.startswith(token)]
    # names of the notebook's variables have no place here
    return {"completions": found, "suppress": bool(offered)}


def _not_given(names: Iterable[str], given: Sequence[str]) -> list[str]:
    return [f"{name}=" for name in names if not any(word.startswith(f"{name}=") for word in given)]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magic, its completion, and how a job shows itself."""
    from medfusion_jupyter.widgets.display import register

    shell.register_magics(MedFusionMagics)
    if shell.Completer is not None and _matcher not in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.append(_matcher)
    register(shell)
