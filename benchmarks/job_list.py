"""The 50 newest of many jobs over HTTP, filtered, and sorted by a metric: jupyter-server with a token against MLflow's server.

MEDFUSION_BENCH_JOBS names other numbers of jobs, MEDFUSION_BENCH_RUNS of MLflow's runs.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from filling import fill_jobs
from peer import said, versions
from rounds import environment
from serving import Connection, jupyter_server, make_mlflow_store, mlflow_server, percentiles, report_percentiles

JOBS = [int(part) for part in os.environ.get("MEDFUSION_BENCH_JOBS", "1000,10000,100000,1000000").split(",")]
RUNS = [int(part) for part in os.environ.get("MEDFUSION_BENCH_RUNS", "1000,10000").split(",")]
ROUNDS = 15
LIST = "/medfusion/api/training/list?limit=50"
BARE = "jupyter-server's own /api/status"
SEARCH = "/api/2.0/mlflow/runs/search"
QUERIES = {
    "50 newest": (LIST, {}),
    "50 newest that are completed": (f"{LIST}&status=completed", {"filter": "attributes.status = 'FINISHED'"}),
    "50 best completed by a metric": (
        f"{LIST}&status=completed&sort=metric&metric=val/auroc",
        {"filter": "attributes.status = 'FINISHED'", "order_by": ["metrics.`val/auroc` DESC"]},
    ),
}


def refusal(connection: Connection, path: str, *, falling_metric: str | None) -> str | None:
    """Why there is nothing to measure: None where 50 items come, in the order that was asked for."""
    status, content = connection.send(path)
    if status != 200:
        return f"status {status}"
    items = json.loads(content)["items"]
    if len(items) != 50:
        return f"{len(items)} items"
    if falling_metric is not None:
        values = [item["current_metrics"][falling_metric] for item in items]
        if values != sorted(values, reverse=True):
            return "they are not in this order"
    return None


if __name__ == "__main__":
    found = versions("mlflow")
    print(environment("jupyter-server", "tornado", "sqlalchemy"))
    print(
        f"\n{said(found)} trackio's lists are read by its own dashboard only: nothing to measure over HTTP.", flush=True
    )
    figures: dict[str, dict[str, Callable[[], float]]] = {title: {} for title in QUERIES}
    missing = []
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        for jobs in JOBS:
            home = Path(scratch) / f"jobs{jobs}"
            began = time.perf_counter()
            fill_jobs(home, jobs)
            size = (home / "medfusion.db").stat().st_size
            print(f"\nFilled {jobs:,} jobs, {size / 1e6:,.0f} MB, in {time.perf_counter() - began:.0f} s.", flush=True)
            connection = stack.enter_context(jupyter_server(home)).connect()
            for contenders in figures.values():
                # of the same server with the same token: what Jupyter takes for any answer
                contenders.setdefault(BARE, lambda c=connection: c.seconds("/api/status"))
            for title, (path, _) in QUERIES.items():
                why = refusal(connection, path, falling_metric="val/auroc" if "sort=" in path else None)
                if why is None:
                    figures[title][f"MedFusion, {jobs:,} jobs"] = lambda c=connection, p=path: c.seconds(p)
                else:
                    missing.append(f"{title} of {jobs:,} jobs ({why})")
        for runs in RUNS if found["mlflow"] else []:
            folder = Path(scratch) / f"runs{runs}"
            ids = make_mlflow_store(folder, runs=runs)
            connection = stack.enter_context(mlflow_server(folder)).connect()
            for title, (_, more) in QUERIES.items():
                body = {"experiment_ids": [ids["experiment"]], "max_results": 50, **more}
                figures[title][f"MLflow, {runs:,} runs"] = lambda c=connection, b=body: c.seconds(SEARCH, b)
        for title, contenders in figures.items():
            if contenders:
                report_percentiles(title, percentiles(contenders, ROUNDS), against=f"MedFusion, {JOBS[0]:,} jobs")
    if missing:
        print(f"\nMissing, for the server does not give it: {'; '.join(missing)}.")
