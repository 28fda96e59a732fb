"""Pages of jobs: filtered, sorted by what they are or by a metric, at a cost that does not grow with the table."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, Select, bindparam, exists, or_, select, tuple_
from sqlalchemy.orm import Session

from medfusion_jupyter.store.errors import BadValue
from medfusion_jupyter.store.job_moves import find_job
from medfusion_jupyter.store.job_record import SUMMARY_COLUMNS, JobSummary
from medfusion_jupyter.store.paging import Page, check_limit, cursor_after, id_of, place_of
from medfusion_jupyter.store.search import holds
from medfusion_jupyter.store.search import wanted as search_wanted
from medfusion_jupyter.store.status import ACTIVE, JobStatus
from medfusion_jupyter.store.tables import JobCountRow, JobRow, LatestMetricRow
from medfusion_jupyter.store.texts import valid_text

SORTS = ("created", "name", "metric")

# tables, not their classes: the ORM would have each row pass through its own hands
_JOB, _LATEST, _COUNT = (row.__table__.c for row in (JobRow, LatestMetricRow, JobCountRow))
_SUMMARIES = select(*(_JOB[name] for name in SUMMARY_COLUMNS))
_COUNTS = select(_COUNT.status, _COUNT.number).where(_COUNT.number > 0)
_AT_WORK = _SUMMARIES.where(_JOB.status.in_(sorted(ACTIVE - {JobStatus.PENDING}))).order_by(_JOB.id.desc())
_OF_JOB: dict[str, ColumnElement[bool]] = {
    "status": _JOB.status == bindparam("status"),
    "created_by": _JOB.created_by == bindparam("created_by"),
    "parent": _JOB.parent_job_id == bindparam("parent"),
    "whole": _JOB.fold.is_(None),
    **{
        kind: or_(*(holds(one, kind, bindparam(kind)) for one in (_JOB.name, _JOB.job_id)))
        for kind in ("ascii", "folded")
    },
}
_OF_METRIC: dict[str, ColumnElement[bool]] = {
    "metric": _LATEST.name == bindparam("metric"),
    "at_least": _LATEST.value >= bindparam("at_least"),
    "at_most": _LATEST.value <= bindparam("at_most"),
}


def counts_of_jobs(session: Session) -> dict[str, int]:
    """Number of jobs by status, of those that there are."""
    return {row.status: row.number for row in session.execute(_COUNTS)}


def jobs_at_work(session: Session) -> list[JobSummary]:
    """The jobs whose run is going on or paused, newest first."""
    return [JobSummary.of_values(row) for row in session.execute(_AT_WORK)]


def page_of_jobs(
    session: Session,
    *,
    status: str | None,
    search: str | None,
    created_by: str | None,
    parent_job_id: str | None,
    folds: bool,
    metric: str | None,
    at_least: float | None,
    at_most: float | None,
    sort: str,
    falling: bool,
    limit: int,
    cursor: str | None,
) -> Page[JobSummary]:
    """As `Jobs.list`, which see."""
    check_limit(limit)
    if sort not in SORTS:
        raise BadValue(f"sort={sort[:40]!r}: choose one of {', '.join(SORTS)}.")
    if metric is None and (sort == "metric" or at_least is not None or at_most is not None):
        raise BadValue("sort='metric', at_least and at_most need the name of a metric, such as metric='val/auroc'.")
    wanted: dict[str, Any] = {
        "status": status,
        "created_by": None if created_by is None else valid_text("created_by", created_by),
        **(search_wanted(search) if search else {}),
        "metric": None if metric is None else valid_text("metric", metric),
        "at_least": at_least,
        "at_most": at_most,
        "parent": None if parent_job_id is None else find_job(session, parent_job_id).id,
        "whole": None if folds else True,
    }
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if cursor is not None and sort == "created":
        wanted["last"] = id_of(cursor)
    elif cursor is not None:
        wanted["value"], wanted["last"] = place_of(cursor, str if sort == "name" else float)
    query = _by_id if sort == "created" else _by_name if sort == "name" else _by_metric
    rows = session.execute(query(falling, frozenset(wanted)), {**wanted, "rows": limit + 1}).all()
    more, rows = len(rows) > limit, rows[:limit]
    following = None
    if more:
        following = str(rows[-1].id) if sort == "created" else cursor_after(rows[-1].sorted_by, rows[-1].id)
    return Page([JobSummary.of_values(row) for row in rows], following)


# Each kind of list is built once: to build its query takes as long as to read a short page. `wanted`: names of what is given.


@lru_cache(maxsize=64)
def _by_id(falling: bool, wanted: frozenset[str]) -> Select[Any]:
    """In the order in which they were made: ids rise with time."""
    conditions = _of_job(wanted)
    if "last" in wanted:
        last = bindparam("last", type_=BigInteger)
        conditions.append(_JOB.id < last if falling else _JOB.id > last)
    order = _JOB.id.desc() if falling else _JOB.id.asc()
    return _SUMMARIES.where(*conditions).order_by(order).limit(bindparam("rows", type_=Integer))


@lru_cache(maxsize=64)
def _by_name(falling: bool, wanted: frozenset[str]) -> Select[Any]:
    named = JobRow.__table__.alias()
    return _by_value(named, named.c.name, named.c.id, [], _of_job(wanted), falling, wanted)


@lru_cache(maxsize=64)
def _by_metric(falling: bool, wanted: frozenset[str]) -> Select[Any]:
    of_job = [condition for name, condition in _OF_JOB.items() if name in wanted]
    latest = LatestMetricRow.__table__
    return _by_value(latest, _LATEST.value, _LATEST.job_id, _of_metric(wanted), of_job, falling, wanted)


def _by_value(
    driver: Any,
    column: Any,
    key: Any,
    of_driver: list[ColumnElement[bool]],
    of_job: list[ColumnElement[bool]],
    falling: bool,
    wanted: frozenset[str],
) -> Select[Any]:
    """In order of (column, key) of the table `driver`, read along their index; key is the job's primary key."""
    chosen = select(column.label("value"), key.label("pk")).where(*of_driver)
    if of_job:
        # a scalar subquery, which no planner turns into a scan of all the jobs that match with a sort after it
        fits = select(1).where(_JOB.id == key, *of_job).correlate(driver).scalar_subquery()
        chosen = chosen.where(fits == 1)
    if "last" in wanted:
        here = tuple_(column, key)
        there = tuple_(bindparam("value", type_=column.type), bindparam("last", type_=BigInteger))
        chosen = chosen.where(here < there if falling else here > there)
    order = (column.desc(), key.desc()) if falling else (column, key)
    page = chosen.order_by(*order).limit(bindparam("rows", type_=Integer)).subquery()
    ends = (page.c.value.desc(), page.c.pk.desc()) if falling else (page.c.value, page.c.pk)
    return _SUMMARIES.add_columns(page.c.value.label("sorted_by")).join(page, page.c.pk == _JOB.id).order_by(*ends)


def _of_job(wanted: frozenset[str]) -> list[ColumnElement[bool]]:
    conditions = [condition for name, condition in _OF_JOB.items() if name in wanted]
    if "metric" in wanted:
        conditions.append(exists().where(_LATEST.job_id == _JOB.id, *_of_metric(wanted)))
    return conditions


def _of_metric(wanted: frozenset[str]) -> list[ColumnElement[bool]]:
    return [condition for name, condition in _OF_METRIC.items() if name in wanted]
