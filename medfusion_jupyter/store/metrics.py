"""Metric series: append-only rows by job, name and step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from medfusion_jupyter.store.tables import JobRow, MetricRow

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store

Sample = tuple[int, str, int, float]
"""Primary key of the job, name of the metric, step, value."""


@dataclass(frozen=True)
class Series:
    """One metric by rising step. A value is None where it was not a number."""

    name: str
    steps: list[int]
    values: list[float | None]


class Metrics:
    """Reading of metric series; they are written by `Store.writer`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def series(self, job_id: str, name: str, *, since: int | None = None, points: int | None = None) -> Series:
        """The recorded values of one metric.

        since: only steps after it; points: at most so many, each the mean of a stretch of steps and placed at its last
        step. The last value stays itself, so a curve ends where the run is.
        """
        of_job = select(JobRow.id).where(JobRow.job_id == job_id).scalar_subquery()
        query = select(MetricRow.step, MetricRow.value).where(MetricRow.job_id == of_job, MetricRow.name == name)
        if since is not None:
            query = query.where(MetricRow.step > since)
        with self._store.reading() as session:
            rows = session.execute(query.order_by(MetricRow.step)).all()
        steps, values = [row[0] for row in rows], [row[1] for row in rows]
        if points is not None and len(steps) > points:
            steps, values = _thinned(steps, values, points)
        return Series(name, steps, values)

    def names(self, job_id: str) -> list[str]:
        """Names of the metrics that were recorded for a job."""
        query = select(MetricRow.name).join(JobRow, JobRow.id == MetricRow.job_id).where(JobRow.job_id == job_id)
        with self._store.reading() as session:
            return sorted(session.scalars(query.distinct()))

    def latest(self, job_id: str) -> dict[str, float | None]:
        """The newest value of each metric of a job."""
        newest = (
            select(MetricRow.job_id, MetricRow.name, func.max(MetricRow.step).label("step"))
            .join(JobRow, JobRow.id == MetricRow.job_id)
            .where(JobRow.job_id == job_id)
            .group_by(MetricRow.job_id, MetricRow.name)
            .subquery()
        )
        query = select(MetricRow.name, MetricRow.value).join(
            newest,
            (MetricRow.job_id == newest.c.job_id)
            & (MetricRow.name == newest.c.name)
            & (MetricRow.step == newest.c.step),
        )
        with self._store.reading() as session:
            return {row.name: row.value for row in session.execute(query)}


def _thinned(steps: list[int], values: list[float | None], points: int) -> tuple[list[int], list[float | None]]:
    kept_steps, kept_values = [], []
    *before, last = values
    stretches = points - 1
    for k in range(stretches):
        low, high = k * len(before) // stretches, (k + 1) * len(before) // stretches
        numbers = [value for value in before[low:high] if value is not None]
        kept_steps.append(steps[high - 1])
        kept_values.append(sum(numbers) / len(numbers) if numbers else None)
    return [*kept_steps, steps[-1]], [*kept_values, last]


def write_samples(session: Session, samples: Iterable[Sample]) -> None:
    """Store samples within a transaction; a step that is there already takes the newer value.

    Samples of a job that was deleted meanwhile are dropped.
    """
    newest = {sample[:3]: sample[3] for sample in samples}
    if not newest:
        return
    jobs = {pk for pk, _, _ in newest}
    there = set(session.scalars(select(JobRow.id).where(JobRow.id.in_(jobs))))
    rows = [
        {"job_id": pk, "name": name, "step": step, "value": value if value - value == 0 else None}
        for (pk, name, step), value in newest.items()
        if pk in there
    ]
    if not rows:
        return
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    insert = dialect.insert(MetricRow)
    session.execute(
        insert.on_conflict_do_update(index_elements=["job_id", "name", "step"], set_={"value": insert.excluded.value}),
        rows,
    )
