"""What the folds of a cross-validation predict for their test parts: kept once, read from any process, summed up."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medfusion_jupyter.data import Cohort, Split, target_of
from medfusion_jupyter.metrics import Interval, mean_over_folds, measure_each
from medfusion_jupyter.settings.watched import metric_of, names_of
from medfusion_jupyter.store import JobStatus, Store, home
from medfusion_jupyter.store.durable_files import write_text
from medfusion_jupyter.training.job import Job
from medfusion_jupyter.training.prediction import judged_by, judged_in, tested_columns, true_columns
from medfusion_jupyter.training.starting import split_of

if TYPE_CHECKING:
    import pandas as pd

    from medfusion_jupyter.store import Job as JobRecord

log = logging.getLogger("medfusion")

_predicting = threading.Lock()


class OutOfFold:
    """Waits for its turn behind the run of a fold, and keeps what the fold predicts."""

    def __init__(self, store: Store, job_id: str, split: Callable[[], Split]) -> None:
        self.store = store
        self.job_id = job_id
        self._split = split

    def work(self) -> None:
        """Predict, where the fold is completed."""
        keep_predictions(self.store, self.job_id, self._split)

    def leave_at_exit(self) -> None:
        """What is not kept yet is predicted when it is asked for."""


def keep_predictions(store: Store, job_id: str, split: Callable[[], Split] | None = None) -> None:
    """Predict the test part of a completed fold with its best model and keep that; of any other job nothing happens.

    The last fold also notes the result of its cross-validation in the store. Whatever goes wrong is a warning: the fold
    is trained, and its predictions are made when they are asked for.
    """
    try:
        fold = store.jobs.get(job_id)
        if fold.fold is None or fold.parent_job_id is None or fold.status != JobStatus.COMPLETED:
            return
        predictions_of(store, fold, split or split_of(fold))
        folds = store.jobs.folds(fold.parent_job_id)
        if all(one.status == JobStatus.COMPLETED and path_of(one).exists() for one in folds):
            note_result(store, folds)
    except Exception as problem:  # a training thread must not end with it
        log.warning("The out-of-fold predictions of %s are not kept yet: %s", job_id, problem)
        log.debug("%s did not predict", job_id, exc_info=True)


def note_result(store: Store, folds: Sequence[JobRecord], cohort: Cohort | None = None) -> None:
    """Keep the mean of each metric over completed folds, with its interval, as metrics of their cross-validation."""
    whole = cohort or cohort_of(folds[0])
    frames = [predictions_of(store, fold, lambda fold=fold: split_in(whole, fold)) for fold in folds]  # type: ignore[misc]
    result: dict[str, float] = {}
    for name, (mean, _pooled) in summed_up(folds, frames, whole).items():
        result |= {f"test/{name}": mean.value, f"test/{name}_low": mean.low, f"test/{name}_high": mean.high}
    assert folds[0].parent_job_id is not None
    store.jobs.note_result(folds[0].parent_job_id, result)


def predictions_of(store: Store, fold: JobRecord, split: Callable[[], Split]) -> pd.DataFrame:
    """Predictions for the test part of a completed fold: row, target and what is predicted; made where they are not kept.

    row: position in the cohort; the other columns are as `CrossValidation.predictions` says. Nothing in the file tells who a
    patient is.
    """
    import pandas as pd

    path = path_of(fold)
    # two threads of a process would do the same work twice
    with _predicting:
        if not path.exists():
            _predict(store, fold, split(), path)
        target = target_of(fold.data_config["target"])
        # a class may be called NA
        of_text = {"target", *(f"target_{name}" for name in target.text_columns)} if target.text_columns else ()
        return pd.read_csv(path, dtype=dict.fromkeys(of_text, str), keep_default_na=False, na_values=[""])


def path_of(fold: JobRecord) -> Path:
    """Where the predictions of a completed fold are kept. A fold that is trained further has another file."""
    assert fold.completed_at is not None
    return home() / "jobs" / fold.job_id / f"out-of-fold-{fold.completed_at:%Y%m%dT%H%M%S%f}.csv"


def cohort_of(fold: JobRecord) -> Cohort:
    """The cohort that a fold is of."""
    return split_of(fold)().cohort


def split_in(cohort: Cohort, fold: JobRecord) -> Split:
    """The split of a fold of that cohort."""
    return Split.read(home() / "jobs" / fold.job_id / "split.json", cohort)


def _predict(store: Store, fold: JobRecord, split: Split, path: Path) -> None:
    import pandas as pd

    rows = split.rows["test"]
    model = Job(fold.job_id, store).model
    predicted = model.predictions(split.cohort, rows).astype(np.float64)
    tested = tested_columns(model.spec.target, judged_by(model.module.head), predicted)
    table = pd.DataFrame({"row": rows, **true_columns(split.cohort.target, split.cohort.targets[rows]), **tested})
    write_text(path, table.to_csv(index=False))
    for older in path.parent.glob("out-of-fold-*.csv"):
        if older != path:
            older.unlink(missing_ok=True)


def summed_up(
    folds: Sequence[JobRecord], frames: Sequence[pd.DataFrame], cohort: Cohort
) -> dict[str, tuple[Interval, Interval]]:
    """Of each metric its mean over folds and its value on the pooled predictions; as `CrossValidation.metrics` says."""
    tested = [_Tested(fold, frame, cohort) for fold, frame in zip(folds, frames, strict=True)]
    share = test_to_train(folds)
    return {name: (_over_folds(tested, share, name), _pooled(tested, name)) for name in names_of(cohort.target.tasks)}


class _Tested:
    """Targets, predictions and patients of a test part, with its place in the cross-validation."""

    def __init__(self, fold: JobRecord, frame: pd.DataFrame, cohort: Cohort) -> None:
        self.place = (fold.data_config["repeat"], fold.data_config["fold"])
        self.pool = (fold.data_config["repeat"], fold.data_config["seed"])
        rows = frame["row"].to_numpy()
        self.tasks = judged_in(cohort.target)
        self.target = cohort.targets[rows]
        self.patient = cohort.patient_codes[rows]
        known = {"row", *true_columns(cohort.target, self.target)}
        self.predicted = frame[[name for name in frame if name not in known]].to_numpy(dtype=np.float64)

    @functools.cached_property
    def metrics(self) -> dict[str, Interval]:
        """Every metric of the part."""
        return measure_each(self.tasks, self.target, self.predicted, self.patient)


def metric_by_fold(
    folds: Sequence[JobRecord], frames: Sequence[pd.DataFrame], cohort: Cohort, metric: str
) -> dict[tuple[int, int], float]:
    """A metric on each test part, by repeat and fold; of several seeds their mean."""
    tested = [_Tested(fold, frame, cohort) for fold, frame in zip(folds, frames, strict=True)]
    return _by_place(tested, metric)


def test_to_train(folds: Sequence[JobRecord]) -> float:
    """Rows of a test part for each row of its training part, as `mean_over_folds` takes it."""
    sizes = [fold.data_config["rows"] for fold in folds]
    return float(np.mean([size["test"] / size["train"] for size in sizes]))


def _by_place(tested: list[_Tested], name: str) -> dict[tuple[int, int], float]:
    of_place: dict[tuple[int, int], list[float]] = {}
    for one in tested:
        of_place.setdefault(one.place, []).append(one.metrics[name].value)
    return {place: float(np.mean(values)) for place, values in of_place.items()}


def _over_folds(tested: list[_Tested], share: float, name: str) -> Interval:
    found = mean_over_folds(list(_by_place(tested, name).values()), share)
    metric = metric_of(name)
    assert metric is not None
    bounds = metric.least, metric.most
    return Interval(found.value, float(np.clip(found.low, *bounds)), float(np.clip(found.high, *bounds)))


def _pooled(tested: list[_Tested], name: str) -> Interval:
    pools: dict[Any, list[_Tested]] = {}
    for one in tested:
        pools.setdefault(one.pool, []).append(one)
    each = [
        measure_each(
            pool[0].tasks,
            np.concatenate([one.target for one in pool]),
            np.concatenate([one.predicted for one in pool]),
            np.concatenate([one.patient for one in pool]),
        )[name]
        for pool in pools.values()
    ]
    return Interval(*(float(np.mean([getattr(one, bound) for one in each])) for bound in ("value", "low", "high")))
