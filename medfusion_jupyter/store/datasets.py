"""Datasets: cohorts that were given a name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from medfusion_jupyter.store import events
from medfusion_jupyter.store.dataset_files import analyzed, describe
from medfusion_jupyter.store.errors import Conflict, InUse, NameTaken, UnknownId
from medfusion_jupyter.store.job_record import moment
from medfusion_jupyter.store.location import home
from medfusion_jupyter.store.paging import Page, newest_first
from medfusion_jupyter.store.people import current_person
from medfusion_jupyter.store.search import contains, has_tag
from medfusion_jupyter.store.stored_files import discarding
from medfusion_jupyter.store.tables import DatasetRow, JobRow, ModelRow, now
from medfusion_jupyter.store.texts import FINGERPRINT_LENGTH, valid_name, valid_tags, valid_text

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store


@dataclass(frozen=True)
class Dataset:
    """A row of `datasets`.

    data_path: folder of the table and its roles, as a cohort writes them; fingerprint: of its contents; class_distribution: rows
    by class; analysis: what `analyze` found last, None before.
    """

    id: int
    name: str
    description: str
    data_path: str
    fingerprint: str
    num_samples: int
    num_patients: int | None
    num_classes: int
    train_samples: int | None
    val_samples: int | None
    test_samples: int | None
    class_distribution: dict[str, int]
    created_at: dt.datetime
    updated_at: dt.datetime
    created_by: str | None
    tags: list[str]
    analysis: dict[str, Any] | None

    @classmethod
    def of(cls, row: DatasetRow) -> Dataset:
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "created_at": moment(self.created_at), "updated_at": moment(self.updated_at)}


@dataclass(frozen=True)
class DatasetStatistics:
    """What the datasets of the store are, together. samples: rows, of all of them; contents: different fingerprints."""

    total: int
    contents: int
    samples: int
    by_classes: dict[str, int]


class Datasets:
    """Repository of datasets."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(
        self,
        name: str,
        *,
        data_path: str,
        fingerprint: str,
        num_samples: int,
        num_classes: int,
        class_distribution: Mapping[str, int],
        num_patients: int | None = None,
        description: str = "",
        tags: Sequence[str] = (),
        replace: bool = True,
        by: str | None = None,
    ) -> Dataset:
        """Store a dataset under `name`; one of that name that is there already becomes this one, where `replace` is true.

        Raises NameTaken where it is not, NotYours, BadValue.
        """
        by = by or current_person()
        values = {
            "description": valid_text("description", description),
            "data_path": data_path,
            "fingerprint": valid_text("fingerprint", fingerprint, FINGERPRINT_LENGTH),
            "num_samples": num_samples,
            "num_patients": num_patients,
            "num_classes": num_classes,
            "class_distribution": dict(class_distribution),
            "tags": valid_tags(tags),
        }
        valid_name("name", name)
        with self._store.writing() as session:
            row = session.scalars(select(DatasetRow).where(DatasetRow.name == name).with_for_update()).one_or_none()
            if row is not None and not replace:
                raise NameTaken("dataset", name)
            kind = "created" if row is None else "updated"
            if row is None:
                row = DatasetRow(name=name, created_by=by, **values)
                session.add(row)
            else:
                self._store.refuse_stranger(row.created_by, by, f"The dataset {name!r}")
                if row.fingerprint != fingerprint:
                    row.analysis = None
                for column, value in values.items():
                    setattr(row, column, value)
                row.updated_at = now()
            session.flush()
            events.record(session, kind, "dataset", str(row.id), {"name": name, "fingerprint": fingerprint}, by)
            session.flush()
            return Dataset.of(row)

    def create(
        self, name: str, *, data_path: str, description: str = "", tags: Sequence[str] = (), by: str | None = None
    ) -> Dataset:
        """Store the cohort that lies in the folder `data_path` under a name that is free.

        Raises NameTaken, and BadValue where no cohort is there (`cohort.write(folder)` makes one).
        """
        found = describe(Path(data_path))
        return self.save(name, data_path=data_path, description=description, tags=tags, by=by, replace=False, **found)

    def update(
        self,
        dataset_id: int,
        *,
        seen: dt.datetime,
        name: str | None = None,
        description: str | None = None,
        tags: Sequence[str] | None = None,
        by: str | None = None,
    ) -> Dataset:
        """Rename, describe or tag a dataset; what is None stays.

        seen: its `updated_at` as the change was made on; Conflict where it was changed meanwhile. Raises NameTaken, NotYours.
        """
        by = by or current_person()
        with self._store.writing() as session:
            row = self._changeable(session, dataset_id, by)
            if row.updated_at != seen:
                raise Conflict(
                    f"The dataset {row.name!r}", seen=f"the state of {moment(seen)}", now=f"{moment(row.updated_at)}"
                )
            changes: dict[str, Any] = {}
            if name is not None and name != row.name:
                if session.scalar(select(DatasetRow.id).where(DatasetRow.name == name)) is not None:
                    raise NameTaken("dataset", name)
                changes["name"] = row.name = valid_name("name", name)
            if description is not None:
                changes["description"] = row.description = valid_text("description", description)
            if tags is not None:
                changes["tags"] = row.tags = valid_tags(tags)
            row.updated_at = now()
            events.record(session, "updated", "dataset", str(row.id), changes, by)
            session.flush()
            return Dataset.of(row)

    def analyze(self, dataset_id: int, *, by: str | None = None) -> Dataset:
        """Read the dataset's table and keep what each column holds. Raises BadValue where its files cannot be read."""
        by = by or current_person()
        analysis = analyzed(Path(self.get(dataset_id).data_path))
        with self._store.writing() as session:
            row = self._changeable(session, dataset_id, by)
            row.analysis = analysis
            events.record(session, "analyzed", "dataset", str(row.id), {}, by)
            session.flush()
            return Dataset.of(row)

    def delete(self, dataset_id: int, *, by: str | None = None) -> None:
        """Forget a dataset, with its folder under MEDFUSION_HOME where no other one has it.

        Raises InUse where a job or model was trained on its contents and no other dataset has them.
        """
        by = by or current_person()
        with self._store.reading() as session:
            row = self._changeable(session, dataset_id, by)
            folders = self._alone_on(session, row)
        with discarding(folders), self._store.writing() as session:
            row = self._changeable(session, dataset_id, by)
            self._alone_on(session, row)
            session.delete(row)
            events.record(session, "deleted", "dataset", str(dataset_id), {"name": row.name}, by)

    def _changeable(self, session: Session, dataset_id: int, by: str) -> DatasetRow:
        row = session.get(DatasetRow, dataset_id, with_for_update=True)
        if row is None:
            raise self._unknown(session, dataset_id)
        self._store.refuse_stranger(row.created_by, by, f"The dataset {row.name!r}")
        return row

    def _alone_on(self, session: Session, row: DatasetRow) -> list[Path]:
        """The folders that nobody needs without this row. Raises InUse where something stands on it."""
        same = (DatasetRow.fingerprint == row.fingerprint, DatasetRow.id != row.id)
        if session.scalar(select(DatasetRow.id).where(*same).limit(1)) is not None:
            return []
        jobs = session.scalars(
            select(JobRow.job_id).where(JobRow.dataset_fingerprint == row.fingerprint).order_by(JobRow.id).limit(10)
        ).all()
        models = session.scalars(
            select(ModelRow).where(ModelRow.dataset_fingerprint == row.fingerprint).order_by(ModelRow.id).limit(10)
        ).all()
        standing = [f"job {job}" for job in jobs] + [f"model {model.name} v{model.version}" for model in models]
        if standing:
            raise InUse(f"The dataset {row.name!r}", standing)
        folder = Path(row.data_path).resolve()
        return [folder] if folder.parent == (home() / "datasets").resolve() else []

    def _unknown(self, session: Session, dataset_id: int) -> UnknownId:
        newest = session.scalars(select(DatasetRow.id).order_by(DatasetRow.id.desc()).limit(5)).all()
        return UnknownId("dataset", dataset_id, [str(one) for one in newest])

    def get(self, dataset_id: int) -> Dataset:
        """The dataset with that id. Raises UnknownId."""
        with self._store.reading() as session:
            row = session.get(DatasetRow, dataset_id)
            if row is None:
                raise self._unknown(session, dataset_id)
            return Dataset.of(row)

    def get_by_name(self, name: str) -> Dataset:
        """The dataset of that name. Raises UnknownId with the newest names."""
        with self._store.reading() as session:
            row = session.scalars(select(DatasetRow).where(DatasetRow.name == name)).one_or_none()
            if row is None:
                newest = session.scalars(select(DatasetRow.name).order_by(DatasetRow.id.desc()).limit(5)).all()
                raise UnknownId("dataset", name, newest)
            return Dataset.of(row)

    def list(
        self,
        *,
        search: str | None = None,
        tag: str | None = None,
        created_by: str | None = None,
        fingerprint: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Dataset]:
        """Datasets, newest first. search: part of the name or description, in any case; the others: its own."""
        query = select(DatasetRow)
        if search:
            query = query.where(or_(contains(DatasetRow.name, search), contains(DatasetRow.description, search)))
        for column, value in ((DatasetRow.created_by, created_by), (DatasetRow.fingerprint, fingerprint)):
            if value is not None:
                query = query.where(column == valid_text(column.key, value))
        if tag is not None:
            query = query.where(has_tag(DatasetRow.tags, tag))
        with self._store.reading() as session:
            return newest_first(
                session, query, DatasetRow.id, limit=limit, cursor=cursor, to_item=lambda row: Dataset.of(row[0])
            )

    def statistics(self) -> DatasetStatistics:
        """Numbers over all datasets."""
        with self._store.reading() as session:
            total, contents, samples = session.execute(
                select(
                    func.count(),
                    func.count(DatasetRow.fingerprint.distinct()),
                    func.coalesce(func.sum(DatasetRow.num_samples), 0),
                )
            ).one()
            classes = session.execute(select(DatasetRow.num_classes, func.count()).group_by(DatasetRow.num_classes))
            return DatasetStatistics(total, contents, int(samples), {str(k): int(n) for k, n in classes})
