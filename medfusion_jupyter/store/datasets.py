"""Datasets: cohorts that were given a name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from medfusion_jupyter.store import events
from medfusion_jupyter.store.errors import UnknownId
from medfusion_jupyter.store.job_record import moment
from medfusion_jupyter.store.paging import Page, newest_first
from medfusion_jupyter.store.tables import DatasetRow, now

if TYPE_CHECKING:
    from medfusion_jupyter.store.database import Store


@dataclass(frozen=True)
class Dataset:
    """A row of `datasets`. fingerprint: of its contents; class_distribution: rows by class."""

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

    @classmethod
    def of(cls, row: DatasetRow) -> Dataset:
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "created_at": moment(self.created_at), "updated_at": moment(self.updated_at)}


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
        created_by: str | None = None,
    ) -> Dataset:
        """Store a dataset under `name`; one of that name that is there already becomes this one."""
        values = {
            "description": description,
            "data_path": data_path,
            "fingerprint": fingerprint,
            "num_samples": num_samples,
            "num_patients": num_patients,
            "num_classes": num_classes,
            "class_distribution": dict(class_distribution),
            "tags": list(tags),
        }
        with self._store.writing() as session:
            row = session.scalars(select(DatasetRow).where(DatasetRow.name == name).with_for_update()).one_or_none()
            kind = "created" if row is None else "updated"
            if row is None:
                row = DatasetRow(name=name, created_by=created_by, **values)
                session.add(row)
            else:
                for column, value in values.items():
                    setattr(row, column, value)
                row.updated_at = now()
            session.flush()
            data = {"name": name, "fingerprint": fingerprint}
            events.record(session, kind, "dataset", str(row.id), data, created_by)
            session.flush()
            return Dataset.of(row)

    def get(self, dataset_id: int) -> Dataset:
        """The dataset with that id. Raises UnknownId."""
        with self._store.reading() as session:
            row = session.get(DatasetRow, dataset_id)
            if row is None:
                newest = session.scalars(select(DatasetRow.id).order_by(DatasetRow.id.desc()).limit(5)).all()
                raise UnknownId("dataset", dataset_id, [str(one) for one in newest])
            return Dataset.of(row)

    def get_by_name(self, name: str) -> Dataset:
        """The dataset of that name. Raises UnknownId with the newest names."""
        with self._store.reading() as session:
            row = session.scalars(select(DatasetRow).where(DatasetRow.name == name)).one_or_none()
            if row is None:
                newest = session.scalars(select(DatasetRow.name).order_by(DatasetRow.id.desc()).limit(5)).all()
                raise UnknownId("dataset", name, newest)
            return Dataset.of(row)

    def list(self, *, search: str | None = None, limit: int = 50, cursor: str | None = None) -> Page[Dataset]:
        """Datasets, newest first. search: part of the name or description, in any case."""
        query = select(DatasetRow)
        if search:
            query = query.where(
                or_(
                    DatasetRow.name.icontains(search, autoescape=True),
                    DatasetRow.description.icontains(search, autoescape=True),
                )
            )
        with self._store.reading() as session:
            return newest_first(
                session, query, DatasetRow.id, limit=limit, cursor=cursor, to_item=lambda row: Dataset.of(row[0])
            )
