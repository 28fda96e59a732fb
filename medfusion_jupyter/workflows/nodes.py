"""What the nodes of the project do: each a thin adapter over a public function that is of use without a graph."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medfusion_jupyter.data import Cohort, public_cohort, read_dicom_folder, read_medmnist, synthetic_cohort
from medfusion_jupyter.evaluation import evaluate
from medfusion_jupyter.settings.augmentation import Augmentation
from medfusion_jupyter.settings.preprocessing import TablePreprocessing
from medfusion_jupyter.settings.training import TrainingSettings
from medfusion_jupyter.store import FINISHED, JobStatus, UnknownId, open_store
from medfusion_jupyter.store.durable_files import write_text
from medfusion_jupyter.training import Job, JobFailed, TrainingConfig, load_cross_validation, resume
from medfusion_jupyter.training.cross_validation import cross_validate_here
from medfusion_jupyter.training.starting import run_here, split_for
from medfusion_jupyter.workflows import node_settings as of
from medfusion_jupyter.workflows.catalogue import NoSettings
from medfusion_jupyter.workflows.context import Context, Stopped
from medfusion_jupyter.workflows.design import Design, Encoder, Fused
from medfusion_jupyter.workflows.preview import preview_of

Values = Mapping[str, Any]

LOOK_SECONDS = 0.1


def csv(inputs: Values, settings: of.CsvSettings, context: Context) -> Values:
    """`source.csv`."""
    return _cohort(Cohort(**settings.model_dump()), context)


def dicom_folder(inputs: Values, settings: of.DicomFolderSettings, context: Context) -> Values:
    """`source.dicom`."""
    return _cohort(read_dicom_folder(**settings.model_dump()), context)


def stored_dataset(inputs: Values, settings: of.DatasetSettings, context: Context) -> Values:
    """`source.dataset`."""
    return _cohort(Cohort.load(settings.name), context)


def public(inputs: Values, settings: of.PublicSettings, context: Context) -> Values:
    """`source.public`."""
    return _cohort(public_cohort(settings.name), context)


def medmnist(inputs: Values, settings: of.MedMnistSettings, context: Context) -> Values:
    """`source.medmnist`."""
    return _cohort(read_medmnist(**settings.model_dump()), context)


def synthetic(inputs: Values, settings: of.SyntheticSettings, context: Context) -> Values:
    """`source.synthetic`."""
    return _cohort(synthetic_cohort(**settings.model_dump()), context)


def filtered(inputs: Values, settings: of.FilterSettings, context: Context) -> Values:
    """`cohort.filter`."""
    return _cohort(inputs["cohort"].filter(**settings.model_dump()), context)


def derived(inputs: Values, settings: of.DeriveSettings, context: Context) -> Values:
    """`cohort.derive`."""
    return _cohort(inputs["cohort"].derive(settings.name, settings.formula), context)


def images_preprocessed(inputs: Values, settings: of.ImagePreprocessingSettings, context: Context) -> Values:
    """`cohort.preprocess_images`."""
    return _cohort(inputs["cohort"].preprocess_images(**settings.model_dump(exclude_unset=True)), context)


def table_preprocessed(inputs: Values, settings: TablePreprocessing, context: Context) -> Values:
    """`cohort.preprocess_table`."""
    return _cohort(inputs["cohort"].preprocess_table(**settings.model_dump(exclude_unset=True)), context)


def checked(inputs: Values, settings: of.CheckSettings, context: Context) -> Values:
    """`cohort.check`."""
    findings = inputs["cohort"].check(**settings.model_dump(exclude={"stop_at"}))
    context.note(errors=len(findings.errors), warnings=len(findings.warnings), notes=len(findings.notes))
    context.note(preview=preview_of({"findings": findings}))  # where it stops here they are to be seen too
    findings.stop_at(settings.stop_at)
    return {"findings": findings}


def split(inputs: Values, settings: of.SplitSettings, context: Context) -> Values:
    """`cohort.split`."""
    return _split(inputs["cohort"].split(**settings.model_dump()), context)


def split_by(inputs: Values, settings: of.SplitByColumnSettings, context: Context) -> Values:
    """`cohort.split_by`."""
    return _split(inputs["cohort"].split_by(settings.column), context)


def augmentation(inputs: Values, settings: Augmentation, context: Context) -> Values:
    """`model.augmentation`."""
    return {"augmentation": settings}


def image_encoder(inputs: Values, settings: of.ImageEncoderSettings, context: Context) -> Values:
    """`model.image_encoder`."""
    return {"encoder": Encoder("image", settings.name)}


def table_encoder(inputs: Values, settings: of.TableEncoderSettings, context: Context) -> Values:
    """`model.table_encoder`."""
    return {"encoder": Encoder("table", settings.name)}


def fusion(inputs: Values, settings: of.FusionSettings, context: Context) -> Values:
    """`model.fusion`."""
    return {"fused": Fused(settings.name, tuple(inputs["encoders"]))}


def head(inputs: Values, settings: of.HeadSettings, context: Context) -> Values:
    """`model.head`."""
    return {"design": Design(settings.name, inputs["fused"])}


def train(inputs: Values, settings: of.TrainSettings, context: Context) -> Values:
    """`train`: an ordinary job of this process. One that is stopped by itself gives its best epoch, and the graph goes on."""
    config = TrainingConfig.of(_settings_of_training(inputs, settings))
    split = split_for(inputs["split"], config)
    earlier = _earlier_job(context)
    if earlier is None:
        job_id = run_here(split, config, workflow_execution_id=context.execution_id, by=context.owner).job_id
        context.begun(job_id=job_id)
    else:
        job_id, status = earlier
        if status != JobStatus.COMPLETED:
            resume(job_id)
    context.note(job_id=job_id)
    record = _until_it_ends(job_id, context)
    context.note(epoch=record.best_epoch, metric=record.watched_metric, value=record.best_value)
    return {"model": Job(job_id).model}


def cross_validation(inputs: Values, settings: of.CrossValidateSettings, context: Context) -> Values:
    """`cross_validate`."""
    given = _settings_of_training(inputs, settings)
    earlier = _earlier_job(context)
    if earlier is None:
        folds, repeats = (given.pop(name, getattr(settings, name)) for name in ("folds", "repeats"))
        made = cross_validate_here(
            inputs["cohort"], folds, repeats, given, workflow_execution_id=context.execution_id, by=context.owner
        )
        job_id = made.job_id
        context.begun(job_id=job_id)
    else:
        job_id, status = earlier
        made = load_cross_validation(job_id)
        if status != JobStatus.COMPLETED:
            made.resume()
    context.note(job_id=job_id)
    record = _until_it_ends(job_id, context)
    context.note(metric=record.watched_metric, value=record.best_value)
    return {"folds": made}


def evaluate_model(inputs: Values, settings: of.EvaluateSettings, context: Context) -> Values:
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


def predict(inputs: Values, settings: NoSettings, context: Context) -> Values:
    """`predict`."""
    predictions = inputs["model"].predict(inputs["cohort"])
    context.note(rows=len(predictions))
    return {"predictions": predictions}


def register(inputs: Values, settings: of.RegisterSettings, context: Context) -> Values:
    """`model.register`."""
    model = inputs["model"].set_alias(settings.alias)
    context.note(model=model.name, version=model.version, alias=settings.alias)
    return {"model": model}


def export_model(inputs: Values, settings: of.ModelExportSettings, context: Context) -> Values:
    """`model.export`."""
    context.note(file=inputs["model"].export(settings.path, settings.format).name)
    return {}


def export_predictions(inputs: Values, settings: of.ExportSettings, context: Context) -> Values:
    """`predictions.export`."""
    path = Path(settings.path).expanduser()
    write_text(path, inputs["predictions"].to_csv(index=False))
    context.note(file=path.name, rows=len(inputs["predictions"]))
    return {}


def note(inputs: Values, settings: of.NoteSettings, context: Context) -> Values:
    """`note`."""
    return {}


def _settings_of_training(inputs: Values, settings: TrainingSettings) -> dict[str, Any]:
    """What was set, and what the connected nodes stand for. Only what was set: a default is no wish for an encoder."""
    given = settings.model_dump(mode="json", exclude_unset=True)
    if "design" in inputs:
        given |= inputs["design"].settings()
    if "augmentation" in inputs:
        given["augment"] = inputs["augmentation"].model_dump()
    return given


def _earlier_job(context: Context) -> tuple[str, JobStatus] | None:
    """The job of an earlier run of the same node, that did not live to see its end, and where it stands.

    One that another process is still at work on is waited for. None where there is none, it was deleted, or it failed.
    """
    job_id = context.earlier.get("job_id")
    try:
        while job_id is not None and (status := open_store().jobs.get(job_id).status) != JobStatus.FAILED:
            if status in FINISHED:
                return job_id, status
            context.raise_if_stopping()
            time.sleep(LOOK_SECONDS)
    except UnknownId:
        return None
    return None


def _until_it_ends(job_id: str, context: Context) -> Any:
    """The job's row at its end. Raises Stopped where the execution was stopped, JobFailed where the job failed."""
    jobs = open_store().jobs
    told = False
    while True:
        record = jobs.get(job_id)
        if record.status in FINISHED and not _is_ours_and_interrupted(record):
            break
        metric = record.watched_metric
        context.progress(
            record.progress,
            epoch=record.current_epoch,
            epochs=record.total_epochs,
            metric=metric,
            value=record.current_metrics.get(metric) if metric else None,
        )
        if context.stopping and not told:
            told = True
            jobs.request(job_id, "stop", by=record.created_by)
            open_store().writer.wake()
        time.sleep(LOOK_SECONDS)
    if told and record.status == JobStatus.STOPPED:
        raise Stopped
    if record.status not in (JobStatus.COMPLETED, JobStatus.STOPPED):
        raise JobFailed(f"{record.job_id} {record.status}: {record.error}")
    return record


def _is_ours_and_interrupted(record: Any) -> bool:
    """This process was silent for a while and comes back, or it is shut down: then its execution is interrupted as its job is."""
    return bool(record.status == JobStatus.INTERRUPTED and record.pid in (None, os.getpid()))


def _cohort(cohort: Cohort, context: Context) -> Values:
    context.note(rows=len(cohort), patients=cohort.num_patients, classes=cohort.class_counts)
    return {"cohort": cohort}


def _split(made: Any, context: Context) -> Values:
    context.note(**{part: len(rows) for part, rows in made.rows.items()})
    return {"split": made}
