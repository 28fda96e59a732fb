"""What the nodes of the project do: each a thin adapter over a public function that is of use without a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medfusion_jupyter.data import Cohort, synthetic_cohort
from medfusion_jupyter.evaluation import evaluate
from medfusion_jupyter.store import JobStatus, open_store
from medfusion_jupyter.training import Job, JobFailed, TrainingConfig
from medfusion_jupyter.training.job import run_here, split_for
from medfusion_jupyter.workflows.builtin import (
    SHARES,
    DatasetSettings,
    EvaluateSettings,
    SplitSettings,
    SyntheticSettings,
    TrainSettings,
)
from medfusion_jupyter.workflows.context import Context, Stopped

Values = Mapping[str, Any]

LOOK_SECONDS = 0.1


def stored_dataset(inputs: Values, settings: DatasetSettings, context: Context) -> Values:
    """`source.dataset`."""
    return _cohort(Cohort.read(Path(open_store().datasets.get_by_name(settings.name).data_path)), context)


def synthetic(inputs: Values, settings: SyntheticSettings, context: Context) -> Values:
    """`source.synthetic`."""
    return _cohort(synthetic_cohort(**settings.model_dump()), context)


def split(inputs: Values, settings: SplitSettings, context: Context) -> Values:
    """`cohort.split`."""
    made = inputs["cohort"].split(**settings.model_dump())
    context.note(**{part: len(rows) for part, rows in made.rows.items()})
    return {"split": made}


def train(inputs: Values, settings: TrainSettings, context: Context) -> Values:
    """`train`: an ordinary job of this process. One that is stopped by itself gives its best epoch, and the graph goes on."""
    config = TrainingConfig.of(settings.model_dump(mode="json", exclude=set(SHARES)))
    split = split_for(inputs["split"], config)
    run = run_here(split, config, workflow_execution_id=context.execution_id, by=context.owner)
    context.note(job_id=run.job_id)
    told = False
    while not run.ended.wait(LOOK_SECONDS):
        if context.stopping and not told:
            run.control.deliver("stop")
            told = True
    job = Job(run.job_id)
    record = job.record
    if told and record.status == JobStatus.STOPPED:
        raise Stopped
    if record.status not in (JobStatus.COMPLETED, JobStatus.STOPPED):
        raise JobFailed(f"{record.job_id} {record.status}: {record.error}")
    context.note(epoch=record.best_epoch, metric=record.watched_metric, value=record.best_value)
    return {"model": job.model}


def evaluate_model(inputs: Values, settings: EvaluateSettings, context: Context) -> Values:
    """`evaluate`."""
    found = evaluate(inputs["model"], inputs.get("cohort"), split=settings.split)
    context.note(
        model=found.model,
        part=found.part,
        rows=found.rows,
        patients=found.patients,
        **{name: asdict(one) for name, one in found.metrics.items()},
        method=found.method,
    )
    return {"evaluation": found}


def _cohort(cohort: Cohort, context: Context) -> Values:
    context.note(rows=len(cohort), patients=cohort.num_patients, classes=cohort.class_counts)
    return {"cohort": cohort}
