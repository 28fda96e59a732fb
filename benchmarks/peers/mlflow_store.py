"""Makes an MLflow database of finished runs. Arguments: its folder, the number of runs, the points of the first run's series.

Schema, experiment and one run are made by MLflow; the others are copies of that run's rows with values of their own.
"""

import json
import random
import sqlite3
import sys
import uuid
from pathlib import Path

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

METRICS = ("train/loss", "val/loss", "val/auroc")


def fill(database, run_id, runs):
    """Copy the run with its tags, parameters and latest metrics until there are `runs`."""
    connection = sqlite3.connect(database)
    tables = {"runs": "run_uuid", "tags": "run_uuid", "params": "run_uuid", "latest_metrics": "run_uuid"}
    for table, key in tables.items():
        cursor = connection.execute(f"SELECT * FROM {table} WHERE {key} = ?", (run_id,))
        columns = [column[0] for column in cursor.description]
        originals = [dict(zip(columns, row, strict=True)) for row in cursor]
        rows = []
        for i in range(1, runs):
            copy = uuid.UUID(int=i).hex
            for original in originals:
                row = {**original, key: copy}
                if table == "runs":
                    began = original["start_time"] + i * 1000
                    row |= {"name": f"run{i}", "start_time": began, "end_time": began + 900, "artifact_uri": f"a/{i}"}
                    row["status"] = "FAILED" if i % 10 == 0 else "FINISHED"
                if table == "latest_metrics":
                    row["value"] = random.random()
                rows.append(tuple(row[column] for column in columns))
        marks = ",".join("?" * len(columns))
        connection.executemany(f"INSERT INTO {table} ({','.join(columns)}) VALUES ({marks})", rows)
    connection.commit()
    connection.close()


if __name__ == "__main__":
    folder, runs, points = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    random.seed(0)
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.create_experiment("benchmark", artifact_location=str(folder / "artifacts"))
    run_id = client.create_run(experiment).info.run_id
    parameters = [Param(f"training.setting_{i}", str(i)) for i in range(20)]
    client.log_batch(run_id, params=parameters, metrics=[Metric(name, 0.5, 1, 1) for name in METRICS])
    for low in range(1, points, 1000):
        steps = range(low, min(low + 1000, points + 1))
        client.log_batch(run_id, [Metric("train/loss", random.random(), 1000 + step, step) for step in steps])
    client.set_terminated(run_id)
    fill(folder / "mlflow.db", run_id, runs)
    print(json.dumps({"experiment": experiment, "run": run_id}))
