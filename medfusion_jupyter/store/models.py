"""Trained models by name and version."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import BadValue, InUse, UnknownId
from medfusion_jupyter.store.job_record import moment, public_id
from medfusion_jupyter.store.paging import Page, newest_first
from medfusion_jupyter.store.stored_files import discarding
from medfusion_jupyter.store.tables import JobRow, ModelAliasRow, ModelRow

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store


@dataclass(frozen=True)
class ModelRecord:
    """A row of `models`.

    input_shape: channels, height, width (0 where it takes no image); file_size: bytes; metrics: of validation at the epoch
    that was kept; trained_epochs: that epoch; training_job_id: such as `job_0012`; aliases: what
    else this version is called, such as `production`.
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
    created_at: dt.datetime
    created_by: str | None
    tags: list[str]
    aliases: list[str]

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "created_at": moment(self.created_at)}


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
        description: str = "",
        tags: Sequence[str] = (),
        created_by: str | None = None,
    ) -> ModelRecord:
        """Store a model that lies at `path` as the next version under its name."""
        with self._store.writing() as session:
            job = None
            if job_id is not None:
                job = session.scalar(select(JobRow.id).where(JobRow.job_id == job_id))
                if job is None:
                    raise UnknownId("job", job_id, [])
            newest = session.scalar(select(func.max(ModelRow.version)).where(ModelRow.name == name)) or 0
            row = ModelRow(
                name=name,
                version=newest + 1,
                description=description,
                backbone=backbone,
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
                created_by=created_by,
                tags=list(tags),
            )
            session.add(row)
            session.flush()
            events.record(
                session, "registered", "model", str(row.id), {"name": name, "version": row.version}, created_by
            )
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

    def set_alias(self, name: str, alias: str, version: int, set_by: str | None = None) -> ModelRecord:
        """Let `alias`, such as `production`, mean that version of the model; it means no other one from then on.

        Raises UnknownId for a version that is not there, and BadValue for an alias that reads like a version.
        """
        if not alias or len(alias) > 100 or alias.removeprefix("v").isdigit():
            raise BadValue(f"alias={alias[:40]!r} cannot be one: give 1 to 100 characters that are no version number.")
        model = self.get_by_name(name, version=version)
        with self._store.writing() as session:
            row = session.get(ModelAliasRow, (name, alias))
            if row is None:
                session.add(ModelAliasRow(name=name, alias=alias, model_id=model.id))
            else:
                row.model_id = model.id
            data = {"name": name, "alias": alias, "version": version}
            events.record(session, "aliased", "model", str(model.id), data, set_by)
        return self.get(model.id)

    def remove_alias(self, name: str, alias: str, removed_by: str | None = None) -> None:
        """Forget an alias. Raises UnknownId with the aliases that the name has."""
        with self._store.writing() as session:
            row = session.get(ModelAliasRow, (name, alias))
            if row is None:
                there = session.scalars(select(ModelAliasRow.alias).where(ModelAliasRow.name == name)).all()
                raise UnknownId("alias of the model " + name, alias, there)
            session.delete(row)
            data = {"name": name, "alias": alias}
            events.record(session, "unaliased", "model", str(row.model_id), data, removed_by)

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

    def delete(self, model_id: int, deleted_by: str | None = None) -> None:
        """Forget a version of a model with its files. Raises InUse where an alias means it."""
        model = self.get(model_id)
        if model.aliases:
            raise InUse(f"{model.name} v{model.version}", [f"alias {alias}" for alias in model.aliases])
        with discarding([Path(model.model_path)]), self._store.writing() as session:
            session.execute(delete(ModelRow).where(ModelRow.id == model_id))
            session.execute(update(JobRow).where(JobRow.model_path == model.model_path).values(model_path=None))
            data = {"name": model.name, "version": model.version}
            events.record(session, "deleted", "model", str(model_id), data, deleted_by)

    def list(self, *, search: str | None = None, limit: int = 50, cursor: str | None = None) -> Page[ModelRecord]:
        """Models, newest first. search: part of the name or description, in any case."""
        query = select(ModelRow)
        if search:
            query = query.where(
                or_(
                    ModelRow.name.icontains(search, autoescape=True),
                    ModelRow.description.icontains(search, autoescape=True),
                )
            )
        with self._store.reading() as session:
            page = newest_first(session, query, ModelRow.id, limit=limit, cursor=cursor, to_item=lambda row: row[0])
            return Page(_records(session, page.items), page.next)
