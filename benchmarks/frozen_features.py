"""Training with a frozen image encoder: features computed in each epoch, once, or read from an earlier run.

A ResNet-18 at 64 pixels, six epochs of 600 images; each run from its start to its model. What is read is what was computed: the
last column is the largest difference between the validation losses of the run and of the first one.
"""

import os
import shutil
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
import numpy as np
from rounds import environment, report

import medfusion as mf

ROUNDS, EPOCHS = 5, 6
SETTINGS = {
    "image_encoder": "resnet18",
    "image_size": 64,
    "freeze": ["image_encoder"],
    "augment": False,
    "epochs": EPOCHS,
    "device": "cpu",
}


def seconds(**settings):
    began = time.perf_counter()
    with redirect_stdout(sys.stderr):
        job = mf.train(COHORT, **SETTINGS, **settings).wait()
    took = time.perf_counter() - began
    losses.append(job.history["val/loss"].to_numpy())
    return took


def first_time():
    shutil.rmtree(FEATURES, ignore_errors=True)
    return seconds()


if __name__ == "__main__":
    losses: list[np.ndarray] = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["MEDFUSION_HOME"] = home
        FEATURES = Path(home) / "cache" / "features"
        COHORT = mf.synthetic_cohort(n=600, seed=0, image_size=64)
        seconds(cache_features=False)  # warms up: decodes the images
        figures: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name, measure in (
                ("in each epoch", lambda: seconds(cache_features=False)),
                ("once, in this run", first_time),
                ("read from an earlier run", seconds),
                ("read, another fusion", lambda: seconds(fusion="late")),
            ):
                figures.setdefault(name, []).append(measure())
    print(environment("torch"))
    report("A run with a frozen image encoder", figures, against="in each epoch", unit="s")
    alike = [loss for k, loss in enumerate(losses[1:]) if k % 4 != 3]
    print(f"\nLargest difference of a validation loss: {max(np.abs(loss - losses[0]).max() for loss in alike):.1e}")
