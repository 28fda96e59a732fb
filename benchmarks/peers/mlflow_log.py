"""Logs metrics by MLflow's client. Arguments: the tracking URI."""

import sys
import time

import mlflow
from answering import answer_all
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("benchmark")
client = MlflowClient()
run = mlflow.start_run().info.run_id
step = 0


def answer(way, count):
    """Seconds that `count` metrics took on this thread, and until they were in the database."""
    global step
    steps = range(step, step + count)
    step += count
    began = time.perf_counter()
    if way == "log_metric":
        for at in steps:
            client.log_metric(run, "train/loss", 0.5, step=at)
    elif way == "async":
        for at in steps:
            mlflow.log_metric("train/loss", 0.5, step=at, synchronous=False)
    else:
        client.log_batch(run, [Metric("train/loss", 0.5, 1000 + at, at) for at in steps])
    called = time.perf_counter() - began
    if way == "async":
        mlflow.flush_async_logging()
    return {"called": called, "durable": time.perf_counter() - began}


answer_all(answer)
