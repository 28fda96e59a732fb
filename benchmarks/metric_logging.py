"""What it costs the training thread to record one metric, and what it costs until the metric is safe on the disk."""

import os
import tempfile
import time

os.environ["MEDFUSION_HOME"] = tempfile.mkdtemp()
from rounds import environment

from medfusion_jupyter.store import open_store

METRICS = 20_000
ROUNDS = 15

if __name__ == "__main__":
    store = open_store()
    job = store.jobs.create(
        "benchmark", model_config={}, data_config={}, training_config={}, total_epochs=1, watched_metric="val/loss"
    )
    append, appended, durable = store.writer.append, [], []
    for round_ in range(ROUNDS):
        store.writer.flush()
        steps = range(round_ * METRICS, (round_ + 1) * METRICS)
        began = time.perf_counter()
        for step in steps:
            append(job.pk, "train/loss", step, 0.5)
        appended.append((time.perf_counter() - began) / METRICS * 1e6)
        store.writer.flush()
        durable.append((time.perf_counter() - began) / METRICS * 1e6)
    print(environment())
    print("\n| µs a metric | median | lowest | highest |\n|---|---|---|---|")
    for name, values in (("on the training thread", appended), ("until durable (fsync)", durable)):
        values.sort()
        print(f"| {name} | {values[ROUNDS // 2]:.2f} | {values[0]:.2f} | {values[-1]:.2f} |")
