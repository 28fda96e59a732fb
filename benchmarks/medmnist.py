"""AUROC on MedMNIST's official test splits by its published protocol, beside the published values.

ResNet-18 with a 3x3 stem at 28 pixels, Adam at 1e-3, a tenth of it after 50 and 75 % of 100 epochs, batches of 128, no
augmentation, the epoch with the best validation AUROC. Yang et al., "MedMNIST v2", Scientific Data 10 (2023), table 3.

Name the .npz files (`python benchmarks/medmnist.py pneumoniamnist.npz …`) or put them, joined by ":", into
MEDFUSION_BENCH_MEDMNIST; `mf.public_cohort("pneumoniamnist")` downloads one. On a GPU a set takes minutes, on a CPU hours.
"""

import argparse
import os
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from rounds import environment

import medfusion as mf

PUBLISHED = {
    "pathmnist": (0.983, 0.907),
    "dermamnist": (0.917, 0.735),
    "pneumoniamnist": (0.944, 0.854),
    "retinamnist": (0.717, 0.524),
    "breastmnist": (0.901, 0.863),
}
"""AUROC and accuracy of ResNet-18 (28) as project READMEs quote that table; not checked against the paper itself."""


def protocol(epochs, seed):
    """The published settings, as those of `mf.train`."""
    return {
        "image_encoder": "resnet18_3x3",
        "image_size": 28,
        "optimizer": "adam",
        "weight_decay": 0,
        "lr": 1e-3,
        "schedule": "step",
        "milestones": [max(1, epochs // 2), max(2, epochs * 3 // 4)],
        "gamma": 0.1,
        "batch_size": 128,
        "augment": False,
        "patience": None,
        "epochs": epochs,
        "seed": seed,
    }


def measured(file, epochs, seeds):
    """AUROC and accuracy `(seeds, 2)` on the official test split."""
    split = mf.read_medmnist(file).split_by("split")
    found = []
    for seed in range(seeds):
        with redirect_stdout(sys.stderr):
            job = mf.train(split, **protocol(epochs, seed)).wait()
        result = mf.evaluate(job.model, split="test")
        found.append((result.auroc.value, result.accuracy.value))
    return np.array(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    named = os.environ.get("MEDFUSION_BENCH_MEDMNIST", "")
    parser.add_argument("files", nargs="*", type=Path, default=[Path(one) for one in named.split(":") if one])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    if not chosen.files:
        print("Did not run: no file of MedMNIST was named. The published values, which it is to come to:\n")
        print("| | AUROC, published | accuracy, published |\n|---|---|---|")
        for name, (area, right) in PUBLISHED.items():
            print(f"| {name} | {area:.3f} | {right:.3f} |")
        raise SystemExit
    print(environment("torch"))
    print(f"\n{chosen.epochs} epochs, {chosen.seeds} seeds: mean (sd).\n")
    print("| | AUROC | AUROC, published | accuracy | accuracy, published |\n|---|---|---|---|---|")
    for file in chosen.files:
        with tempfile.TemporaryDirectory() as home:
            os.environ["MEDFUSION_HOME"] = home
            area, right = measured(file, chosen.epochs, chosen.seeds).T
        published = PUBLISHED.get(file.stem, (float("nan"),) * 2)
        print(
            f"| {file.stem} | {area.mean():.3f} ({area.std():.3f}) | {published[0]:.3f} "
            f"| {right.mean():.3f} ({right.std():.3f}) | {published[1]:.3f} |",
            flush=True,
        )
