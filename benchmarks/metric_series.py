"""A metric series of 10,000 points over HTTP: whole, thinned to 500 for a chart, and only what is new; beside MLflow's server."""

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path

from filling import fill_series
from peer import said, versions
from rounds import environment
from serving import jupyter_server, make_mlflow_store, mlflow_server, percentiles, report_percentiles

POINTS = 10_000
ROUNDS = 15

if __name__ == "__main__":
    found = versions("mlflow")
    print(environment("jupyter-server", "tornado", "sqlalchemy"))
    print(f"\n{said(found)} MLflow gives no part of a series after a step.", flush=True)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        home, folder = Path(scratch) / "home", Path(scratch) / "mlflow"
        job_id = fill_series(home, POINTS)
        ours = stack.enter_context(jupyter_server(home)).connect()
        path = f"/medfusion/api/training/{job_id}/metrics?name=train/loss"
        paths = {
            "MedFusion, whole": path,
            "MedFusion, at most 500 points": f"{path}&points=500",
            "MedFusion, the last 10 points by since=": f"{path}&since={POINTS - 10}",
            "MedFusion, nothing new by since=": f"{path}&since={POINTS}",
            "the same server, no database": "/medfusion/api/system/health/live",
        }
        contenders = {name: (lambda p=path: ours.seconds(p)) for name, path in paths.items()}
        assert len(json.loads(ours.send(path)[1])["steps"]) == POINTS
        if found["mlflow"]:
            ids = make_mlflow_store(folder, runs=1, points=POINTS)
            theirs = stack.enter_context(mlflow_server(folder)).connect()
            series = f"run_id={ids['run']}&metric_key=train/loss"
            history = f"/api/2.0/mlflow/metrics/get-history?{series}&max_results=25000"
            assert len(json.loads(theirs.send(history)[1])["metrics"]) >= POINTS
            contenders["MLflow, get-history"] = lambda: theirs.seconds(history)
            interval = f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={ids['run']}"
            interval += "&metric_key=train/loss&max_results=500"
            if theirs.send(interval)[0] == 200:
                contenders["MLflow, its own charts' 500 points"] = lambda: theirs.seconds(interval)
        figures = percentiles(contenders, ROUNDS)
        report_percentiles(f"A series of {POINTS:,} points", figures, against="MedFusion, at most 500 points")
