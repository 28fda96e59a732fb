"""Fills a store with jobs as they are after training, by bulk inserts: a million through the store's API would take hours."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import column, insert, inspect, table

from medfusion_jupyter.settings.training import TrainingSettings
from medfusion_jupyter.store import Store
from medfusion_jupyter.store.location import database_url

EPOCHS = 10
AT_ONCE = 20_000
SETTINGS = TrainingSettings.of({"epochs": EPOCHS, "name": "icu_resnet18_gated"})
# as `mf.train` stores them
MODEL = SETTINGS.parts()
TRAINING = SETTINGS.model_dump(mode="json")
DATA = {
    "target": "icu",
    "image": "image",
    "image_root": None,
    "patient": "patient_id",
    "numeric": ["age", "heart_rate", "temperature", "crp", "leukocytes", "oxygen_saturation"],
    "categorical": ["sex", "view"],
    "dataset": "covid-cxr",
    "rows": {"train": 700, "val": 150, "test": 150},
}
VERSIONS = {"python": "3.11.7", "torch": "2.15.0", "medfusion": "0.1.0", "numpy": "2.3.0"}


def store_in(home: Path) -> Store:
    """A new SQLite store in `home`, which is MEDFUSION_HOME from now on: that of the user is left alone."""
    os.environ["MEDFUSION_HOME"] = str(home)
    os.environ.pop("MEDFUSION_DATABASE_URL", None)
    return Store(database_url())


def fill_jobs(home: Path, jobs: int) -> None:
    """Make a store in `home` with so many finished jobs: of ten, eight are completed, one failed, one stopped."""
    store = store_in(home)
    there = set(inspect(store.engine).get_table_names())
    with store.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        counts: dict[str, int] = {}
        for rows in _in_parts(jobs):
            connection.execute(insert(_table("training_jobs", rows[0])), rows)
            for row in rows:
                counts[row["status"]] = counts.get(row["status"], 0) + 1
            if "job_latest_metrics" in there:
                latest = [
                    {"job_id": row["id"], "name": name, "value": value}
                    for row in rows
                    for name, value in json.loads(row["current_metrics"]).items()
                ]
                connection.execute(insert(_table("job_latest_metrics", latest[0])), latest)
        if "job_counts" in there:
            numbers = [{"status": status, "number": number} for status, number in counts.items()]
            connection.execute(insert(_table("job_counts", numbers[0])), numbers)
    with store.engine.connect() as connection:
        # the log would else be as large as the database, and each reader would have to look there first
        connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()


def fill_series(home: Path, points: int, name: str = "train/loss") -> str:
    """Make a store in `home` with one job that has a series of so many points; gives its id."""
    store = store_in(home)
    job = store.jobs.create(
        "benchmark",
        model_config=MODEL,
        data_config=DATA,
        training_config=TRAINING,
        total_epochs=EPOCHS,
        watched_metric="val/auroc",
    )
    chance = random.Random(0)
    for step in range(1, points + 1):
        store.writer.append(job.pk, name, step, 1 / step + chance.random())
    store.writer.flush()
    # else it would be marked as interrupted while it is measured
    store.jobs.request(job.job_id, "stop")
    store.close()
    return job.job_id


def _in_parts(jobs: int) -> Iterator[list[dict[str, Any]]]:
    chance = random.Random(0)
    histories = [_history(chance) for _ in range(500)]
    start = dt.datetime(2025, 1, 1)
    configs = {
        "model_config": json.dumps(MODEL),
        "data_config": json.dumps(DATA),
        "training_config": json.dumps(TRAINING),
        "versions": json.dumps(VERSIONS),
    }
    for low in range(1, jobs + 1, AT_ONCE):
        rows = []
        for pk in range(low, min(low + AT_ONCE, jobs + 1)):
            history, latest = histories[pk % len(histories)]
            latest = {**latest, "val/auroc": chance.random()}
            created = start + dt.timedelta(seconds=20 * pk)
            rows.append(
                {
                    **configs,
                    "id": pk,
                    "job_id": f"job_{pk:04d}",
                    "name": f"icu_resnet18_gated_{pk}",
                    "description": "",
                    "status": {0: "failed", 1: "stopped"}.get(pk % 10, "completed"),
                    "previous_status": "running",
                    "progress": 1.0,
                    "current_epoch": EPOCHS,
                    "total_epochs": EPOCHS,
                    "current_step": EPOCHS * 200,
                    "total_steps": EPOCHS * 200,
                    "current_metrics": json.dumps(latest),
                    "history": history,
                    "watched_metric": "val/auroc",
                    "best_epoch": EPOCHS,
                    "best_value": latest["val/auroc"],
                    "device": "cuda:0",
                    "created_at": _stored(created),
                    "started_at": _stored(created + dt.timedelta(seconds=1)),
                    "completed_at": _stored(created + dt.timedelta(seconds=900)),
                    "heartbeat_at": _stored(created + dt.timedelta(seconds=900)),
                    "duration": 899.0,
                    "created_by": ("ada", "grace", "wilhelm")[pk % 3],
                    "run_token": f"{pk:032x}",
                    "host": "station",
                    "pid": 4000 + pk % 1000,
                }
            )
        yield rows


def _history(chance: random.Random) -> tuple[str, dict[str, float]]:
    rows = []
    for epoch in range(1, EPOCHS + 1):
        loss, auroc = 0.7 / epoch + chance.random() / 10, 0.6 + 0.02 * epoch + chance.random() / 10
        rows.append({"epoch": epoch, "train/loss": loss, "val/loss": loss * 1.1, "val/auroc": auroc, "seconds": 88.4})
    return json.dumps(rows), {name: value for name, value in rows[-1].items() if "/" in name}


def _table(name: str, row: dict[str, Any]) -> Any:
    return table(name, *(column(key) for key in row))  # without types: the values are as SQLite keeps them


def _stored(moment: dt.datetime) -> str:
    return moment.isoformat(sep=" ", timespec="microseconds")
