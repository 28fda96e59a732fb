"""Trained models by name and version."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import BadValue, Conflict, InUse, UnknownId
from medfusion_jupyter.store.job_record import moment, public_id
from medfusion_jupyter.store.paging import Page, newest_first
from medfusion_jupyter.store.people import current_person
from medfusion_jupyter.store.search import contains, has_tag
from medfusion_jupyter.store.stored_files import discarding
from medfusion_jupyter.store.tables import JobRow, ModelAliasRow, ModelRow, now
from medfusion_jupyter.store.texts import valid_name, valid_tags, valid_text

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store


@dataclass(frozen=True)
class ModelRecord:
    """A row of `models`.

    input_shape: channels, height, width (0 where it takes no image); file_size: bytes; metrics: of validation at the epoch
    that was kept; trained_epochs: that epoch; training_job_id: such as `job_0012`; parent_id: the model that it was made from;
    aliases: what else this version is called, such as `production`.
    """

    id: int
    name: str
    version: int
    description: str
    backbone: str
    num_classes: int
    input_shape: list[int]
    accuracy: float | None
    loss: float | None
    metrics: dict[str, Any]
    model_path: str
    file_size: int
    format: str
    training_job_id: str | None
    trained_epochs: int | None
    dataset_fingerprint: str | None
    parent_id: int | None
    created_at: dt.datetime
    updated_at: dt.datetime
    created_by: str | None
    tags: list[str]
    aliases: list[str]

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "created_at": moment(self.created_at), "updated_at": moment(self.updated_at)}


@dataclass(frozen=True)
class ModelStatistics:
    """What the models of the store are, together. total_size: bytes."""

    total: int
    names: int
    total_size: int
    by_backbone: dict[str, int]
    by_format: dict[str, int]


def _records(session: Session, rows: Sequence[ModelRow]) -> list[ModelRecord]:
    aliases: dict[int, list[str]] = {row.id: [] for row in rows}
    named = select(ModelAliasRow).where(ModelAliasRow.model_id.in_(aliases)).order_by(ModelAliasRow.alias)
    for one in session.scalars(named):
        aliases[one.model_id].append(one.alias)
    same = [name for name in ModelRecord.__dataclass_fields__ if name not in ("aliases", "training_job_id")]
    return [
        ModelRecord(
            **{name: getattr(row, name) for name in same},
            training_job_id=None if row.training_job_id is None else public_id(row.training_job_id),
            aliases=aliases[row.id],
        )
        for row in rows
    ]


class Models:
    """Repository of models."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def register(
        self,
        name: str,
        *,
        path: str,
        file_size: int,
        format: str,
        backbone: str,
        num_classes: int,
        input_shape: Sequence[int],
        metrics: Mapping[str, Any],
        accuracy: float | None = None,
        loss: float | None = None,
        job_id: str | None = None,
        trained_epochs: int | None = None,
        dataset_fingerprint: str | None = None,
        parent_id: int | None = None,
        description: str = "",
        tags: Sequence[str] = (),
        by: str | None = None,
    ) -> ModelRecord:
        """Store a model that lies at `path` as the next version under its name. Raises BadValue, UnknownId."""
        by = by or current_person()
        valid_name("name", name)
        with self._store.writing() as session:
            job = None
            if job_id is not None:
                job = session.scalar(select(JobRow.id).where(JobRow.job_id == job_id))
                if job is None:
                    raise UnknownId("job", job_id, [])
            if parent_id is not None and session.get(ModelRow, parent_id) is None:
                raise UnknownId("model", parent_id, [])
            newest = session.scalar(select(func.max(ModelRow.version)).where(ModelRow.name == name)) or 0
            row = ModelRow(
                name=name,
                version=newest + 1,
                description=valid_text("description", description),
                backbone=valid_text("backbone", backbone, 100),
                num_classes=num_classes,
                input_shape=list(input_shape),
                accuracy=accuracy,
                loss=loss,
                metrics=dict(metrics),
                model_path=path,
                file_size=file_size,
                format=format,
                training_job_id=job,
                trained_epochs=trained_epochs,
                dataset_fingerprint=dataset_fingerprint,
                parent_id=parent_id,
                created_by=by,
                tags=valid_tags(tags),
            )
            session.add(row)
            session.flush()
            events.record(session, "registered", "model", str(row.id), {"name": name, "version": row.version}, by)
            session.flush()
            return _records(session, [row])[0]

    def get(self, model_id: int) -> ModelRecord:
        """The model with that id. Raises UnknownId."""
        with self._store.reading() as session:
            row = session.get(ModelRow, model_id)
            if row is None:
                newest = session.scalars(select(ModelRow.id).order_by(ModelRow.id.desc()).limit(5)).all()
                raise UnknownId("model", model_id, [str(one) for one in newest])
            return _records(session, [row])[0]

    def update(
        self,
        model_id: int,
        *,
        seen: dt.datetime,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        by: str | None = None,
    ) -> ModelRecord:
        """Describe or tag a version of a model; what is None stays.

        seen: its `updated_at` as the change was made on; Conflict where it was changed meanwhile. Raises NotYours, BadValue.
        """
        by = by or current_person()
        with self._store.writing() as session:
            row = session.get(ModelRow, model_id, with_for_update=True)
            if row is None:
                raise UnknownId("model", model_id, [])
            title = f"The model {row.name} v{row.version}"
            self._store.refuse_stranger(row.created_by, by, title)
            if row.updated_at != seen:
                raise Conflict(title, seen=f"the state of {moment(seen)}", now=f"{moment(row.updated_at)}")
            changes: dict[str, Any] = {}
            if description is not None:
                changes["description"] = row.description = valid_text("description", description)
            if tags is not None:
                changes["tags"] = row.tags = valid_tags(tags)
            row.updated_at = now()
            events.record(session, "updated", "model", str(row.id), changes, by)
            session.flush()
            return _records(session, [row])[0]

    def set_alias(self, name: str, alias: str, version: int, *, by: str | None = None) -> ModelRecord:
        """Let `alias`, such as `production`, mean that version of the model; it means no other one from then on.

        Raises UnknownId for a version that is not there, and BadValue for an alias that reads like a version.
        """
        if not alias or len(alias) > 100 or alias.removeprefix("v").isdigit():
            raise BadValue(f"alias={alias[:40]!r} cannot be one: give 1 to 100 characters that are no version number.")
        valid_text("alias", alias)
        by = by or current_person()
        model = self.get_by_name(name, version=version)
        self._store.refuse_stranger(model.created_by, by, f"The model {name} v{version}")
        with self._store.writing() as session:
            row = session.get(ModelAliasRow, (name, alias))
            if row is not None:
                # to take the alias from another person's version is a change of that one too
                before = session.get_one(ModelRow, row.model_id)
                self._store.refuse_stranger(before.created_by, by, f"The alias {alias} of the model {name}")
            if row is None:
                session.add(ModelAliasRow(name=name, alias=alias, model_id=model.id))
            else:
                row.model_id = model.id
            data = {"name": name, "alias": alias, "version": version}
            events.record(session, "aliased", "model", str(model.id), data, by)
        return self.get(model.id)

    def remove_alias(self, name: str, alias: str, *, by: str | None = None) -> None:
        """Forget an alias. Raises UnknownId with the aliases that the name has, and NotYours."""
        by = by or current_person()
        with self._store.writing() as session:
            row = session.get(ModelAliasRow, (name, alias))
            if row is None:
                there = session.scalars(select(ModelAliasRow.alias).where(ModelAliasRow.name == name)).all()
                raise UnknownId("alias of the model " + name, alias, there)
            owner = session.get_one(ModelRow, row.model_id).created_by
            self._store.refuse_stranger(owner, by, f"The alias {alias} of the model {name}")
            session.delete(row)
            data = {"name": name, "alias": alias}
            events.record(session, "unaliased", "model", str(row.model_id), data, by)

    def get_by_alias(self, name: str, alias: str) -> ModelRecord:
        """The version that `alias` means. Raises UnknownId with the aliases that the name has."""
        with self._store.reading() as session:
            row = session.get(ModelAliasRow, (name, alias))
            if row is None:
                there = session.scalars(select(ModelAliasRow.alias).where(ModelAliasRow.name == name)).all()
                raise UnknownId("alias of the model " + name, alias, there)
            return self.get(row.model_id)

    def versions(self, name: str) -> builtins.list[ModelRecord]:
        """Every version under `name`, newest first. Raises UnknownId where there is none."""
        self.get_by_name(name)
        query = select(ModelRow).where(ModelRow.name == name).order_by(ModelRow.version.desc())
        with self._store.reading() as session:
            return _records(session, session.scalars(query).all())

    def get_by_name(self, name: str, *, version: int | None = None) -> ModelRecord:
        """The newest version under `name`, or the one named. Raises UnknownId with the names or versions there are."""
        query = select(ModelRow).where(ModelRow.name == name).order_by(ModelRow.version.desc())
        with self._store.reading() as session:
            chosen = query if version is None else query.where(ModelRow.version == version)
            row = session.scalars(chosen.limit(1)).one_or_none()
            if row is not None:
                return _records(session, [row])[0]
            versions = [f"v{one.version}" for one in session.scalars(query.limit(5))]
            if versions:
                raise UnknownId("version of the model " + name, f"v{version}", versions)
            newest = session.execute(
                select(ModelRow.name).group_by(ModelRow.name).order_by(func.max(ModelRow.id).desc()).limit(5)
            ).scalars()
            raise UnknownId("model", name, list(newest))

    def delete(self, model_id: int, *, by: str | None = None) -> None:
        """Forget a version of a model with its files. Raises InUse where an alias means it or a model was made from it."""
        by = by or current_person()
        model = self.get(model_id)
        title = f"{model.name} v{model.version}"
        self._store.refuse_stranger(model.created_by, by, f"The model {title}")
        with discarding([Path(model.model_path)]), self._store.writing() as session:
            aliases = session.scalars(select(ModelAliasRow.alias).where(ModelAliasRow.model_id == model_id)).all()
            children = session.scalars(select(ModelRow).where(ModelRow.parent_id == model_id)).all()
            standing = [f"alias {alias}" for alias in aliases]
            standing += [f"model {child.name} v{child.version}" for child in children]
            if standing:
                raise InUse(title, standing)
            session.execute(delete(ModelRow).where(ModelRow.id == model_id))
            if model.training_job_id is not None:
                of_job = (JobRow.job_id == model.training_job_id, JobRow.model_path == model.model_path)
                session.execute(update(JobRow).where(*of_job).values(model_path=None))
            data = {"name": model.name, "version": model.version}
            events.record(session, "deleted", "model", str(model_id), data, by)

    def list(
        self,
        *,
        search: str | None = None,
        name: str | None = None,
        backbone: str | None = None,
        tag: str | None = None,
        created_by: str | None = None,
        job_id: str | None = None,
        folds: bool = True,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[ModelRecord]:
        """Models, newest first.

        search: part of the name or description, in any case; tag: one of its tags; name, backbone, created_by, job_id: its own.
        folds: False leaves out the models of the folds of cross-validations, except those that have an alias.
        """
        query = select(ModelRow)
        if search:
            query = query.where(or_(contains(ModelRow.name, search), contains(ModelRow.description, search)))
        for column, value in (
            (ModelRow.name, name),
            (ModelRow.backbone, backbone),
            (ModelRow.created_by, created_by),
        ):
            if value is not None:
                query = query.where(column == valid_text(column.key, value))
        if job_id is not None:
            query = query.join(JobRow, JobRow.id == ModelRow.training_job_id).where(JobRow.job_id == job_id)
        if not folds:
            its_job = aliased(JobRow)
            of_fold = exists().where(its_job.id == ModelRow.training_job_id, its_job.fold.is_not(None))
            query = query.where(or_(~of_fold, exists().where(ModelAliasRow.model_id == ModelRow.id)))
        if tag is not None:
            query = query.where(has_tag(ModelRow.tags, tag))
        with self._store.reading() as session:
            page = newest_first(session, query, ModelRow.id, limit=limit, cursor=cursor, to_item=lambda row: row[0])
            return Page(_records(session, page.items), page.next)

    def statistics(self) -> ModelStatistics:
        """Numbers over all models."""
        with self._store.reading() as session:
            total, names, size = session.execute(
                select(
                    func.count(), func.count(ModelRow.name.distinct()), func.coalesce(func.sum(ModelRow.file_size), 0)
                )
            ).one()
            by = {
                column: {
                    str(value): int(number)
                    for value, number in session.execute(select(column, func.count()).group_by(column))
                }
                for column in (ModelRow.backbone, ModelRow.format)
            }
        return ModelStatistics(total, names, int(size), by[ModelRow.backbone], by[ModelRow.format])
