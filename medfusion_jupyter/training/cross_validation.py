"""Cross-validation: one job a fold, under one job that stands for them all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medfusion_jupyter.data import Cohort, Fold, Split, folds_by_patient
from medfusion_jupyter.metrics import Interval, mean_over_folds
from medfusion_jupyter.settings.watched import names_of, words_of
from medfusion_jupyter.store import FINISHED, IllegalTransition, JobStatus, Store, home, open_store
from medfusion_jupyter.store.errors import BadValue
from medfusion_jupyter.store.job_folds import FoldPlan
from medfusion_jupyter.training.config import ConfigError, TrainingConfig
from medfusion_jupyter.training.fitting import fitted
from medfusion_jupyter.training.job import Job
from medfusion_jupyter.training.model import Model
from medfusion_jupyter.training.out_of_fold import (
    OutOfFold,
    cohort_of,
    metric_by_fold,
    note_result,
    predictions_of,
    split_in,
    summed_up,
    test_to_train,
)
from medfusion_jupyter.training.parallel.runs import start_run
from medfusion_jupyter.training.starting import (
    RUNS,
    JobFailed,
    check_devices,
    check_turn,
    name_of,
    plan_of,
    split_for,
    split_of,
    versions,
)
from medfusion_jupyter.training.turns import turns

if TYPE_CHECKING:
    import pandas as pd

    from medfusion_jupyter.store import Job as JobRecord

MOST_TRAININGS = 500


class CrossValidation:
    """A cross-validation, in this process or any other. In a notebook it shows its folds, live.

    Everything is read from the store and the files of the folds, so a handle is right in a second notebook and after the
    kernel that trained died.
    """

    def __init__(self, job_id: str, store: Store | None = None, cohort: Cohort | None = None) -> None:
        self._store = store or open_store()
        record = self._store.jobs.get(job_id)
        if record.num_folds is None:
            raise BadValue(f"{job_id} is no cross-validation: mf.load_job({job_id!r}) is its handle.")
        self.job_id = record.job_id
        self._job = Job(self.job_id, self._store)
        self._known_cohort = cohort

    def __repr__(self) -> str:
        job = self.record
        result = ""
        if job.best_value is not None:
            low, high = (job.current_metrics[f"{job.watched_metric}_{bound}"] for bound in ("low", "high"))
            result = f", {words_of(job.watched_metric)} {job.best_value:.3f} [{low:.3f}, {high:.3f}]"
        error = f": {job.error}" if job.error else ""
        done = f"{job.folds_done} of {job.num_folds} folds done"
        return f"<CrossValidation {self.job_id} {job.name!r}: {job.status}, {done}{result}{error}>"

    @property
    def record(self) -> JobRecord:
        """The row of the store that stands for all folds, as it is now."""
        return self._store.jobs.get(self.job_id)

    @property
    def status(self) -> JobStatus:
        """pending, running, paused, or when no fold is left at work: completed, failed, stopped or interrupted."""
        return self.record.status

    @property
    def jobs(self) -> list[Job]:
        """The folds, in order: ordinary jobs, each with its history, metrics and model."""
        return [Job(fold.job_id, self._store) for fold in self._folds()]

    @property
    def models(self) -> list[Model]:
        """The best model of each completed fold, in order."""
        return [Job(fold.job_id, self._store).model for fold in self._completed()]

    @property
    def predictions(self) -> pd.DataFrame:
        """Out-of-fold predictions of the completed folds: repeat, fold, seed, row, target and what is predicted.

        Of classes and grades `target` and `p_<class>`; of labels `target_<label>` and `p_<label>`; of a number `target` and
        `predicted`; of survival `target_<time>`, `target_<event>` and `risk`, higher for sooner.

        Each row of the cohort is predicted by the model of the fold that it is the test part of, at its best epoch by
        validation; in each repeat, and by each seed, once. row: its position in the cohort, from 0. `with_patients()`
        names the patients.
        """
        import pandas as pd

        frames = []
        for fold, frame in self._predicted():
            place = {name: fold.data_config[name] for name in ("repeat", "fold", "seed")}
            frames.append(frame.assign(**place)[[*place, *frame.columns]])
        if not frames:
            return pd.DataFrame(columns=["repeat", "fold", "seed", "row"])
        return pd.concat(frames, ignore_index=True)

    def with_patients(self) -> pd.DataFrame:
        """`predictions` with the patient of each row, as the cohort names it. Raises BadValue where it has no patient column."""
        cohort = self._cohort()
        if cohort.patient is None:
            raise BadValue("The cohort was made without patient=…: each row is a patient of its own.")
        table = self.predictions
        table.insert(0, "patient", cohort.names(cohort.patient)[table["row"].to_numpy(dtype=int)])
        return table

    @property
    def metrics(self) -> pd.DataFrame:
        """The metrics of the target's kind on the test parts of the completed folds, each with 95 % intervals.

        mean, low, high: mean over folds and repeats (of several seeds their mean in each fold), with the interval of the
        corrected resampled t-test, which allows for the training rows that folds share (Nadeau and Bengio, Machine
        Learning 52, 2003), cut at the least and the most that the metric can be. pooled, pooled_low, pooled_high: of all test
        parts of a repeat together, with an interval that knows which rows are of one patient; with several repeats or seeds, the
        means over them. A pooled AUROC or C index also compares rows of different models, and is lower where these are
        calibrated differently. folds: how many trainings are in it.

        Raises JobFailed where no fold is completed.
        """
        import pandas as pd

        predicted = self._predicted()
        if not predicted:
            raise JobFailed(f"{self.job_id} has no completed fold yet: it is {self.status}.")
        folds, frames = [fold for fold, _ in predicted], [frame for _, frame in predicted]
        record = self.record
        if record.best_value is None and record.status == JobStatus.COMPLETED:
            note_result(self._store, folds, self._cohort())
        table = {
            name: {
                "mean": mean.value,
                "low": mean.low,
                "high": mean.high,
                "pooled": pooled.value,
                "pooled_low": pooled.low,
                "pooled_high": pooled.high,
                "folds": len(folds),
            }
            for name, (mean, pooled) in summed_up(folds, frames, self._cohort()).items()
        }
        return pd.DataFrame.from_dict(table, orient="index").rename_axis("metric")

    def difference(self, other: CrossValidation, metric: str | None = None) -> Interval:
        """How much higher the mean of a metric is than that of `other` over the same folds; by default of the target's first.

        With its 95 % interval, paired by fold, by the corrected resampled t-test (Nadeau and Bengio, Machine Learning 52,
        2003); of the folds that both have completed. Raises BadValue where the two were not drawn from one cohort by one seed,
        and for a metric that the target does not have.
        """
        if self._drawn() != other._drawn():
            raise BadValue(
                f"{self.job_id} and {other.job_id} have other test parts: compare those of one cohort, with the same folds, "
                "repeats and seed."
            )
        own, theirs = self._metric_by_fold(metric), other._metric_by_fold(metric)
        return mean_over_folds(
            [own[place] - theirs[place] for place in own if place in theirs], test_to_train(self._folds())
        )

    def wait(self, timeout: float | None = None) -> CrossValidation:
        """Return when no fold is left at work, showing the progress; interrupting the wait leaves them running.

        timeout: seconds; TimeoutError after it. Raises JobFailed where a fold failed or was interrupted. `await` waits as
        well, and leaves the notebook's buttons alive.
        """
        self._job.wait(timeout)
        return self

    def __await__(self) -> Generator[Any, None, CrossValidation]:
        """As `wait`, without keeping the kernel's loop busy."""
        yield from self._job.__await__()
        return self

    def pause(self) -> None:
        """Let the fold at work rest after the batch under way. Raises IllegalTransition where none runs."""
        self._request("pause")

    def stop(self) -> None:
        """End the fold at work after the batch under way, and begin no other; completed folds stay as they are."""
        self._request("stop")

    def resume(
        self,
        *,
        callbacks: Sequence[Any] = (),
        detach: bool = False,
        priority: int = 0,
        not_before: dt.datetime | None = None,
    ) -> CrossValidation:
        """Go on with what is missing: paused folds where they rest, ended ones from their last checkpoint, the rest anew.

        Completed folds are left alone. By default the folds run in this process; with detach=True in kernels that a Jupyter
        server starts. callbacks, priority, not_before: as of `cross_validate`, for ended folds. Raises JobFailed where all
        folds are completed, IllegalTransition where all others are at work.
        """
        callbacks = check_turn(callbacks, detach, priority, not_before)
        folds = self._folds()
        paused = [fold for fold in folds if fold.status == JobStatus.PAUSED]
        ended = [fold for fold in folds if fold.status in FINISHED - {JobStatus.COMPLETED}]
        if len(self._completed()) == len(folds):
            raise JobFailed(f"All {len(folds)} folds of {self.job_id} are completed: there is nothing left to resume.")
        if not paused and not ended:
            allowed = sorted(FINISHED - {JobStatus.COMPLETED} | {JobStatus.PAUSED})
            raise IllegalTransition(self.job_id, current=self.status, wanted="resume", allowed=allowed)
        if paused:
            self._request("resume")
        if ended and detach:
            self._store.queue.add(self.job_id, priority=priority, not_before=not_before)
        elif ended:
            check_devices(TrainingConfig.of(ended[0].training_config), callbacks)
            readers = {fold.job_id: split_of(fold) for fold in ended}  # all of them, before the first begins
            for fold in ended:
                _start(self._store, fold, readers[fold.job_id], callbacks)
        return self

    def _folds(self) -> list[JobRecord]:
        self._store.jobs.mark_interrupted()
        return self._store.jobs.folds(self.job_id)

    def _completed(self) -> list[JobRecord]:
        return [fold for fold in self._folds() if fold.status == JobStatus.COMPLETED]

    def _predicted(self) -> list[tuple[JobRecord, pd.DataFrame]]:
        return [(fold, predictions_of(self._store, fold, self._split_of(fold))) for fold in self._completed()]

    def _metric_by_fold(self, metric: str | None) -> dict[tuple[int, int], float]:
        predicted, cohort = self._predicted(), self._cohort()
        allowed = names_of(cohort.target.tasks)
        if metric is not None and metric not in allowed:
            raise BadValue(f"The target has no metric {metric!r}; take one of {', '.join(allowed)}.")
        folds, frames = [fold for fold, _ in predicted], [frame for _, frame in predicted]
        return metric_by_fold(folds, frames, cohort, metric or allowed[0])

    def _drawn(self) -> tuple[Any, ...]:
        record = self.record
        how = [record.data_config[name] for name in ("folds", "repeats")]
        return record.dataset_fingerprint, *how, record.training_config["seed"], record.training_config["val"]

    def _split_of(self, fold: JobRecord) -> Callable[[], Split]:
        return lambda: split_in(self._cohort(), fold)

    def _cohort(self) -> Cohort:
        if self._known_cohort is None:
            self._known_cohort = cohort_of(self._folds()[0])
        return self._known_cohort

    def _request(self, command: str) -> None:
        self._store.jobs.request(self.job_id, command)
        self._store.writer.wake()


def cross_validate(
    cohort: Cohort,
    folds: int = 5,
    repeats: int = 1,
    *,
    seeds: Sequence[int] | None = None,
    callbacks: Sequence[Any] = (),
    detach: bool = False,
    priority: int = 0,
    not_before: dt.datetime | None = None,
    **settings: Any,
) -> CrossValidation:
    """Train one model a fold, each tested on the patients that it has not seen; returns at once.

    folds: 2 to 500, by patient and stratified by the target: in each repeat every patient is in exactly one test part. Of
    the other patients a part is kept for validation (setting val: share of all rows), the rest is learned from. repeats:
    how often the folds are drawn anew; settings: those of `mf.train` but test. seed draws the folds. seeds: train each fold
    once with each of these seeds (weights, order, augmentation), such as range(3); by default with seed alone. Together at
    most 500 trainings.

    Each training is a job of its own, under one job for the whole: it can be watched, paused and resumed. The folds run
    one after another in this process, or with detach=True in kernels that a Jupyter server of this host and
    MEDFUSION_HOME starts, and outlive this one. callbacks, priority, not_before: as of `mf.train`; callbacks are the same
    objects for each fold. When a kernel dies, completed folds stay, and `.resume()`, in whatever process, runs what is missing.

    Raises ConfigError for a bad setting and CohortError for too few patients of a class; nothing is stored then.
    """
    callbacks = check_turn(callbacks, detach, priority, not_before)
    if not detach:
        return cross_validate_here(cohort, folds, repeats, settings, seeds=seeds, callbacks=callbacks)
    made = cross_validate_here(cohort, folds, repeats, settings, seeds=seeds, begin=False)
    open_store().queue.add(made.job_id, priority=priority, not_before=not_before)
    return made


def cross_validate_here(
    cohort: Cohort,
    folds: int,
    repeats: int,
    settings: Mapping[str, Any],
    *,
    seeds: Sequence[int] | None = None,
    callbacks: Sequence[Any] = (),
    begin: bool = True,
    workflow_execution_id: int | None = None,
    by: str | None = None,
) -> CrossValidation:
    """As `cross_validate`. begin: whether the folds run in this process, or are left pending.
    workflow_execution_id: the execution that it is a node of; by: its owner, by default the person this process works for."""
    if isinstance(cohort, Split):
        raise ConfigError("cross_validate takes the whole Cohort, not a Split: it draws the test parts itself.")
    if "test" in settings:
        raise ConfigError(f"test cannot be set beside folds={folds}: each fold tests one in {folds} patients.")
    config = TrainingConfig.of({**settings, "test": 1 / folds if folds > 1 else 0.5})
    configs = [config] if seeds is None else _with_seeds(config, seeds)
    if folds * repeats * len(configs) > MOST_TRAININGS:
        raise ConfigError(
            f"folds={folds}, repeats={repeats} and {len(configs)} seeds are {folds * repeats * len(configs)} trainings; "
            f"at most {MOST_TRAININGS} are allowed."
        )
    tasks = cohort.target.tasks
    configs = [fitted(one, tasks) for one in configs]
    config = fitted(config, tasks)
    if begin:
        check_devices(config, callbacks)
    drawn = folds_by_patient(cohort, folds=folds, repeats=repeats, val=config.val, seed=config.seed)
    trainings = [(fold, one) for fold in drawn for one in configs]
    name = config.name or name_of(config, cohort)
    parts = plan_of(drawn[0].split, config)["model_config"]
    plans = [_plan(fold, one, parts, name, repeats=repeats, seeds=len(configs)) for fold, one in trainings]
    store = open_store()
    record = store.jobs.create(
        name=name,
        description=config.description,
        model_config=parts,
        data_config={
            **cohort.roles(),
            "dataset": cohort.name,
            "rows": {"all": len(cohort)},
            "folds": folds,
            "repeats": repeats,
            "seeds": [one.seed for one in configs],
        },
        training_config=config.model_dump(mode="json"),
        total_epochs=sum(plan.total_epochs for plan in plans),
        watched_metric=f"test/{names_of(tasks)[0]}",
        dataset_fingerprint=cohort.fingerprint,
        versions=versions(),
        folds=plans,
        workflow_execution_id=workflow_execution_id,
        by=by,
    )
    jobs = store.jobs.folds(record.job_id)
    # all before the first begins: a resume, in whatever process, needs them
    cohort.write(home() / "datasets" / cohort.fingerprint)
    for job, (fold, _) in zip(jobs, trainings, strict=True):
        fold.split.write(home() / "jobs" / job.job_id / "split.json")
    if begin:
        for job, (fold, _) in zip(jobs, trainings, strict=True):
            _start(store, job, lambda split=fold.split: split, callbacks)  # type: ignore[misc]
    return CrossValidation(record.job_id, store, cohort)


def load_cross_validation(job_id: str) -> CrossValidation:
    """A handle on a cross-validation of the store. Raises UnknownId where there is none, BadValue where it is another job."""
    return CrossValidation(job_id)


def _with_seeds(config: TrainingConfig, seeds: Sequence[int]) -> list[TrainingConfig]:
    if isinstance(seeds, int):
        raise ConfigError(f"seeds={seeds} is one number: list the seeds, such as seeds=range({max(2, seeds)}).")
    listed = list(seeds)
    if not listed or len(set(listed)) < len(listed):
        raise ConfigError(f"seeds={listed}: give one or more, each once.")
    return [config.model_copy(update={"seed": TrainingConfig.of({"seed": seed}).seed}) for seed in listed]


def _plan(
    fold: Fold, config: TrainingConfig, parts: Mapping[str, Any], name: str, *, repeats: int, seeds: int
) -> FoldPlan:
    split = split_for(fold.split, config)
    words = [f"repeat {fold.repeat}"] if repeats > 1 else []
    words += [f"fold {fold.fold}"]
    words += [f"seed {config.seed}"] if seeds > 1 else []
    end = " " + " ".join(words)
    # only the parts that the cohort has a use for: what stands in a stored configuration counts as asked for
    own = config.model_copy(update={**parts, "name": name[: 200 - len(end)] + end})
    return FoldPlan(
        name=own.name or "",
        data_config={
            **plan_of(split, own)["data_config"],
            "repeat": fold.repeat,
            "fold": fold.fold,
            "seed": own.seed,
        },
        training_config=own.model_dump(mode="json"),
        total_epochs=own.epochs,
        watched_metric=own.watch,
    )


def _start(store: Store, fold: JobRecord, split: Callable[[], Split], callbacks: Sequence[Any]) -> None:
    """Queue the run of a fold in this process, and behind it what it predicts."""
    config = TrainingConfig.of(fold.training_config)
    RUNS[fold.job_id] = start_run(store, fold.job_id, split, config, callbacks=callbacks)
    turns.submit(OutOfFold(store, fold.job_id, split))
