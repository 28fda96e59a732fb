"""The quickstart in the terminal: a synthetic cohort, a fused model, its AUROC on patients it never saw."""

from __future__ import annotations

from typing import Any

from medfusion_jupyter.data import synthetic_cohort
from medfusion_jupyter.evaluation import Evaluation, evaluate
from medfusion_jupyter.training import train

SETTINGS: dict[str, Any] = {
    "image_encoder": "light_cnn",
    "image_size": 32,
    "fusion": "gated",
    "lr": 2e-3,
    "augment": {"flip": 0.5},
}


def demo(*, rows: int, epochs: int) -> Evaluation:
    """Make a cohort of `rows` patients, train for `epochs` and print the AUROC of the test part beside the best possible."""
    print(f"Making a cohort of {rows} patients …")
    cohort = synthetic_cohort(n=rows, seed=0)
    job = train(cohort, name="demo", epochs=epochs, **SETTINGS)
    job.wait()
    result = evaluate(job.model, split="test")
    assert cohort.best_auroc is not None
    print(f"test AUROC {result.auroc}, best possible {cohort.best_auroc['both']:.3f}; {job.job_id} is in the store")
    return result
