"""Pages of jobs: filtered, sorted by what they are or by a metric, at a cost that does not grow with the table."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session, aliased

from medfusion_jupyter.store.errors import BadValue
from medfusion_jupyter.store.job_moves import find_job
from medfusion_jupyter.store.job_record import SUMMARY_COLUMNS, JobSummary
from medfusion_jupyter.store.paging import Page, after, check_limit, cursor_after, newest_first
from medfusion_jupyter.store.tables import JobRow, LatestMetricRow
from medfusion_jupyter.store.texts import NAME_LENGTH, valid_text

SORTS = ("created", "name", "metric")

_SUMMARY = [getattr(JobRow, name) for name in SUMMARY_COLUMNS]


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
    if sort not in SORTS:
        raise BadValue(f"sort={sort[:40]!r}: choose one of {', '.join(SORTS)}.")
    if metric is None and (sort == "metric" or at_least is not None or at_most is not None):
        raise BadValue("sort='metric', at_least and at_most need the name of a metric, such as metric='val/auroc'.")
    wanted = []
    if status is not None:
        wanted.append(JobRow.status == status)
    if created_by is not None:
        wanted.append(JobRow.created_by == valid_text("created_by", created_by))
    if parent_job_id is not None:
        wanted.append(JobRow.parent_job_id == find_job(session, parent_job_id).id)
    if not folds:
        wanted.append(JobRow.fold.is_(None))
    if search:
        valid_text("search", search, NAME_LENGTH)
        wanted.append(
            or_(JobRow.name.icontains(search, autoescape=True), JobRow.job_id.icontains(search, autoescape=True))
        )
    of_metric = [] if metric is None else _metric_between(valid_text("metric", metric), at_least, at_most)
    if sort == "metric":
        latest = LatestMetricRow
        return _sorted_page(
            session, latest, latest.value, latest.job_id, of_metric, wanted, float, falling, limit, cursor
        )
    if of_metric:
        wanted.append(exists().where(LatestMetricRow.job_id == JobRow.id, *of_metric))
    if sort == "created" and falling:
        query = select(*_SUMMARY).where(*wanted)
        return newest_first(session, query, JobRow.id, limit=limit, cursor=cursor, to_item=JobSummary.of)
    driver = aliased(JobRow)
    if sort == "name":
        return _sorted_page(session, driver, driver.name, driver.id, [], wanted, str, falling, limit, cursor)
    # ids rise with time
    return _sorted_page(session, driver, driver.id, driver.id, [], wanted, float, falling, limit, cursor)


def _metric_between(metric: str, at_least: float | None, at_most: float | None) -> list[ColumnElement[bool]]:
    conditions = [LatestMetricRow.name == metric]
    if at_least is not None:
        conditions.append(LatestMetricRow.value >= at_least)
    if at_most is not None:
        conditions.append(LatestMetricRow.value <= at_most)
    return conditions


def _sorted_page(
    session: Session,
    driver: Any,
    column: Any,
    key: Any,
    of_driver: list[ColumnElement[bool]],
    of_job: list[ColumnElement[bool]],
    kind: type[str] | type[float],
    falling: bool,
    limit: int,
    cursor: str | None,
) -> Page[JobSummary]:
    """A page in order of (column, key) of the table `driver`, read along their index; key is the job's primary key."""
    check_limit(limit)
    chosen = select(column.label("value"), key.label("pk")).where(*of_driver)
    if of_job:
        # a scalar subquery, which no planner turns into a scan of all the jobs that match with a sort after it
        fits = select(1).where(JobRow.id == key, *of_job).correlate(driver).scalar_subquery()
        chosen = chosen.where(fits == 1)
    if cursor is not None:
        chosen = chosen.where(after(column, key, cursor, kind, falling=falling))
    order = (column.desc(), key.desc()) if falling else (column, key)
    page = chosen.order_by(*order).limit(limit + 1).subquery()
    ends = (page.c.value.desc(), page.c.pk.desc()) if falling else (page.c.value, page.c.pk)
    rows = session.execute(
        select(*_SUMMARY, page.c.value.label("sorted_by")).join(page, page.c.pk == JobRow.id).order_by(*ends)
    ).all()
    more, rows = len(rows) > limit, rows[:limit]
    following = cursor_after(rows[-1].sorted_by, rows[-1].id) if more else None
    return Page([JobSummary.of(row) for row in rows], following)
