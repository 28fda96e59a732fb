"""AUROC on MedMNIST's official test splits by its published protocol, beside the published values.

ResNet-18 with a 3x3 stem at 28 pixels, Adam at 1e-3, a tenth of it after 50 and 75 % of 100 epochs, batches of 128, no
augmentation, the epoch with the best validation AUROC, the mean of three seeds. Every set is learned as classes, RetinaMNIST's
grades too, and ChestMNIST's as labels. Yang et al., "MedMNIST v2", Scientific Data 10 (2023), doi:10.1038/s41597-022-01721-8.

`python benchmarks/medmnist.py pneumoniamnist …` downloads the sets and prints the table; in place of a name it takes a file
(`pneumoniamnist.npz`). `make bench` runs those that MEDFUSION_BENCH_MEDMNIST names, joined by ":". On a GPU a set takes
minutes, on a CPU hours; `--epochs 2 --seeds 1` tries whether it runs.
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
from medfusion_jupyter.store import home

PUBLISHED = {
    "pathmnist": 0.983,
    "chestmnist": 0.768,
    "dermamnist": 0.917,
    "octmnist": 0.943,
    "pneumoniamnist": 0.944,
    "retinamnist": 0.717,
    "breastmnist": 0.901,
    "bloodmnist": 0.998,
    "tissuemnist": 0.930,
    "organamnist": 0.997,
    "organcmnist": 0.992,
    "organsmnist": 0.972,
}
"""AUROC of ResNet-18 (28), the mean of at least three trials: table 3 of the paper, as those who quote it give it."""


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


def file_of(named):
    """The file that was named, or that of the set of that name, which is downloaded once."""
    if named.endswith(".npz"):
        return Path(named).absolute()
    mf.public_cohort(named)
    return home() / "cache" / "public" / f"{named}.npz"


def measured(file, epochs, seeds):
    """AUROC on the official test split with the bounds of its 95 % interval, `(seeds, 3)`."""
    split = mf.read_medmnist(file).split_by("split")
    found = []
    for seed in range(seeds):
        auroc = mf.evaluate(mf.train(split, **protocol(epochs, seed)).wait().model, split="test").auroc
        found.append((auroc.value, auroc.low, auroc.high))
    return np.array(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    named = os.environ.get("MEDFUSION_BENCH_MEDMNIST", "")
    parser.add_argument("sets", nargs="*", default=[one for one in named.split(":") if one], help="names or files")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    if not chosen.sets:
        print("Did not run: no set of MedMNIST was named. The published values, which it is to come to:\n")
        print("| | AUROC, published |\n|---|---|")
        for name, auroc in PUBLISHED.items():
            print(f"| {name} | {auroc:.3f} |")
        raise SystemExit
    with redirect_stdout(sys.stderr):
        files = [file_of(one) for one in chosen.sets]
    print(environment("torch"))
    print(
        f"\n{chosen.epochs} epochs, {chosen.seeds} seeds; the interval is of the test rows, the mean of the seeds' bounds.\n"
    )
    print("| | AUROC | 95 % interval | sd of the seeds | AUROC, published |\n|---|---|---|---|---|", flush=True)
    for file in files:
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
            os.environ["MEDFUSION_HOME"] = folder
            found = measured(file, chosen.epochs, chosen.seeds)
        auroc, low, high = found.mean(axis=0)
        published = f"{PUBLISHED[file.stem]:.3f}" if file.stem in PUBLISHED else "none at 28 pixels"
        print(
            f"| {file.stem} | {auroc:.3f} | {low:.3f} to {high:.3f} | {found[:, 0].std():.3f} | {published} |",
            flush=True,
        )
