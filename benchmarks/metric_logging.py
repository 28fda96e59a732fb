"""What it costs the training thread to record one metric, and what it costs until the metric is safe on the disk.

MLflow's client writes to SQLite itself or through MLflow's tracking server; trackio is done when `finish()` returns.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from filling import store_in
from peer import Peer, said, versions
from rounds import environment
from serving import make_mlflow_store, mlflow_server

from medfusion_jupyter.store import Store

METRICS = 20_000
ROUNDS = 15
Measure = Callable[[], tuple[float, float]]
"""Seconds a metric: on the calling thread, and until it is committed."""


def medfusion(store: Store) -> Measure:
    job = store.jobs.create(
        "benchmark", model_config={}, data_config={}, training_config={}, total_epochs=1, watched_metric="val/loss"
    )
    first = 0

    def measure() -> tuple[float, float]:
        nonlocal first
        append, pk, steps = store.writer.append, job.pk, range(first, first + METRICS)
        first += METRICS
        began = time.perf_counter()
        for step in steps:
            append(pk, "train/loss", step, 0.5)
        called = time.perf_counter() - began
        store.writer.flush()
        return called / METRICS, (time.perf_counter() - began) / METRICS

    return measure


def of_peer(peer: Peer, count: int, **question: str) -> Measure:
    def measure() -> tuple[float, float]:
        answer = peer.ask(count=count, **question)
        return answer["called"] / count, answer["durable"] / count

    return measure


if __name__ == "__main__":
    found = versions("mlflow", "trackio")
    print(environment("sqlalchemy"))
    print(f"\n{said(found)}", flush=True)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = store_in(scratch / "home")
        stack.callback(store.close)
        contenders = {"MedFusion": medfusion(store)}

        def start(program: str, *arguments: str) -> Peer:
            peer = Peer(program, *arguments, package=program.partition("_")[0])
            stack.callback(peer.close)
            return peer

        if found["mlflow"]:
            folder = scratch / "mlflow"
            make_mlflow_store(folder, runs=1)
            client = start("mlflow_log.py", f"sqlite:///{folder / 'mlflow.db'}")
            served = stack.enter_context(mlflow_server(folder))
            remote = start("mlflow_log.py", f"http://127.0.0.1:{served.port}")
            contenders |= {
                "MLflow client, log_metric": of_peer(client, 50, way="log_metric"),
                "MLflow client, log_metric asynchronous": of_peer(client, 200, way="async"),
                "MLflow client, log_batch of 1000": of_peer(client, 1000, way="log_batch"),
                "MLflow client to its server, log_metric": of_peer(remote, 20, way="log_metric"),
            }
        if found["trackio"]:
            contenders["trackio, log"] = of_peer(start("trackio_log.py", str(scratch / "trackio")), 2000)
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        for measure in contenders.values():
            measure()
        for _ in range(ROUNDS):
            for name, measure in contenders.items():
                figures[name].append(measure())
    for place, title in enumerate(("On the calling thread", "Until durable")):
        print(
            f"\n### {title}\n\n| | median (µs a metric) | lowest | highest | ratio to MedFusion |\n|---|---|---|---|---|"
        )
        for name, values in figures.items():
            ours = [value[place] * 1e6 for value in figures["MedFusion"]]
            these = [value[place] * 1e6 for value in values]
            ratio = statistics.median(a / b for a, b in zip(these, ours, strict=True))
            middle = statistics.median(these)
            print(f"| {name} | {middle:,.2f} | {min(these):,.2f} | {max(these):,.2f} | {ratio:,.1f} |")
