"""Metric series: append-only rows by job, name and step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Executable, bindparam, func, select, union
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from medfusion_jupyter.store.errors import BadValue
from medfusion_jupyter.store.job_moves import unknown_job
from medfusion_jupyter.store.tables import JobRow, MetricRow

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store

ROWS_AT_ONCE = 250

Sample = tuple[int, str, int, float]
"""Primary key of the job, name of the metric, step, value."""


def _series_queries() -> tuple[Executable, Executable, Executable]:
    """What `Metrics.series` asks, built once: building them costs more than a short answer.

    A series is thinned in the database: to fetch its 10,000 rows alone, without thinning them, took 1.6 times as long (4.5 ms
    against 2.8), and asks for the interpreter's lock again at each row, which a busy server does not have to give. The
    stretches are walked along the primary key; GROUP BY would sort all rows, and give values without their steps.
    """
    since, start, width = (bindparam(word, type_=BigInteger) for word in ("since", "start", "width"))
    first, last = (bindparam(word, type_=BigInteger) for word in ("first", "last"))
    # columns of the table, not of the class: the ORM would first fetch all rows, and hold each as an object
    row = MetricRow.__table__.c
    step, value = row.step, row.value
    job = select(JobRow.id).where(JobRow.job_id == bindparam("job_id")).scalar_subquery()
    of_series = (row.job_id == job) & (row.name == bindparam("name"))
    asked = of_series & (step > since)

    whole = select(step, value).where(asked).order_by(step)
    extent = select(
        select(step).where(asked).order_by(step).limit(1).scalar_subquery(),
        select(step).where(asked).order_by(step.desc()).limit(1).scalar_subquery(),
        select(step).where(asked).order_by(step).limit(1).offset(bindparam("points")).scalar_subquery(),
    )

    foot = select(start.label("low")).cte("stretches", recursive=True)
    stretches = foot.union_all(select(foot.c.low + width).where(foot.c.low + width < last))
    inside = (
        select(step).where(of_series, step >= stretches.c.low, step < stretches.c.low + width, step < last).limit(1)
    )
    # a number goes before none, which the databases would else order each in its own way
    lowest = inside.order_by(value.is_(None), value, step).scalar_subquery()
    highest = inside.order_by(value.is_(None), value.desc(), step).scalar_subquery()
    kept = select(lowest.label("low"), highest.label("high")).select_from(stretches).cte("kept")
    steps = union(select(kept.c.low), select(kept.c.high), select(first), select(last))
    thinned = select(step, value).where(of_series, step.in_(steps)).order_by(step)
    return whole, extent, thinned


_WHOLE, _EXTENT, _THINNED = _series_queries()
_JOB = select(JobRow.__table__.c.id).where(JobRow.__table__.c.job_id == bindparam("job_id"))
_BEFORE_ALL = -(2**63)


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

        since: only steps after it. points: at most so many, for a chart. They are recorded values, none is made up: the last
        one, and of each stretch of steps the lowest and the highest, so that a spike is seen (3 points or more). A stretch
        without any number gives one None. Raises BadValue for less than 1, UnknownId where there is no such job.
        """
        if points is not None and points < 1:
            raise BadValue(f"points={points} is too few: give 1 or more.")
        asked: dict[str, Any] = {"job_id": job_id, "name": name, "since": _BEFORE_ALL if since is None else since}
        query = _WHOLE
        series = Series(name, [], [])
        with self._store.reading() as session:
            if points is not None:
                first, last, one_more = session.execute(_EXTENT, {**asked, "points": points}).one()
                if one_more is not None:
                    query = _THINNED
                    # two points a stretch, one at the end, and one at the begin where it makes the number even
                    stretches, with_first = divmod(points - 1, 2)
                    start = first + with_first if stretches else last
                    asked |= {"start": start, "last": last, "first": first if with_first else last}
                    asked["width"] = -(-(last - start) // stretches) if stretches else 1
            # in parts: thousands of rows held at once set off the garbage collector, 50 ms for one answer in ten
            for part in session.execute(query, asked).partitions(ROWS_AT_ONCE):
                steps, values = zip(*part, strict=True)
                series.steps.extend(steps)
                series.values.extend(values)
            if not series.steps and session.execute(_JOB, asked).first() is None:
                raise unknown_job(session, job_id)
        return series

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


def _insert(dialect: Any) -> Executable:
    # of the table, not of the class: the ORM takes three times as long for a batch, in which the training thread has to wait
    insert = dialect.insert(MetricRow.__table__)
    statement: Executable = insert.on_conflict_do_update(
        index_elements=["job_id", "name", "step"], set_={"value": insert.excluded.value}
    )
    return statement


_INSERTS = {"sqlite": _insert(sqlite), "postgresql": _insert(postgresql)}


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
    session.execute(_INSERTS[session.get_bind().dialect.name], rows)
