"""What each fusion makes of two modalities whose best possible result is known.

Rows are drawn here: a 4×4 image that carries a latent u almost without error, and a table of a latent t and two columns of
nothing. For each arm and fusion: the share of the headroom, (fused - best image) / (best both - best image), the bests being
those of the true latents on the same test rows. Half an hour of one core; what is done is kept (`--kept`), so a run that was
broken off goes on where it was. `python benchmarks/fusion.py --help` lists what can be chosen.
"""

import argparse
import hashlib
import inspect
import json
import math
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch
from rounds import environment
from scipy.stats import kendalltau
from torch import nn
from tqdm import tqdm

import medfusion_jupyter.nn
from medfusion_jupyter.metrics import auroc
from medfusion_jupyter.nn import Architecture, FusionModel, ImageEncoder, fusions, image_encoders
from medfusion_jupyter.settings.training import TrainingSettings

DEFAULT = TrainingSettings().fusion
TRAIN, TEST, BATCH, EPOCHS, LR = 8000, 20_000, 128, 12, 1e-3
D_IMAGE, D_TABLE, MISSING, K = 1.2, 0.9, 0.3, 1.5
PATTERN = np.where(np.indices((4, 4)).sum(axis=0) % 3 == 0, -1.0, 1.0)


@image_encoders.register("four_by_four")
class FourByFour(ImageEncoder):
    """`(B, 1, 4, 4) -> (B, 64)`: two convolutions."""

    out_features = 64
    smallest = 4

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1), nn.GELU(), nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.GELU()
        )

    def feature_map(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images)


@dataclass
class Rows:
    """image, table: latents `(N,)`; target: `(N,)` classes or `(N, 2)` survival; best_image, best_both: scores of the truth."""

    image: np.ndarray
    table: np.ndarray
    present: np.ndarray
    target: np.ndarray
    best_image: np.ndarray
    best_both: np.ndarray


def independent(n, rng, missing=0.0):
    y = rng.integers(0, 2, n)
    u = rng.normal((y - 0.5) * D_IMAGE, 1)
    t = rng.normal((y - 0.5) * D_TABLE, 1)
    there = rng.random(n) >= missing
    return Rows(u, t, there, y, D_IMAGE * u, D_IMAGE * u + there * D_TABLE * t)


def with_missing_tables(n, rng):
    return independent(n, rng, MISSING)


def interaction(n, rng):
    a, b = rng.choice([-1, 1], (2, n))
    y = (rng.random(n) < 1 / (1 + np.exp(-K * a * b))).astype(int)
    return Rows(a * 1.0, b * 1.0, np.ones(n, bool), y, a * 1.0, a * b * 1.0)


def survival(n, rng):
    u, t = rng.normal(0, math.sqrt(0.5), (2, n))
    times = rng.exponential(np.exp(-(u + t)))
    return Rows(u, t, np.ones(n, bool), np.stack([times, np.ones(n)], axis=1), u, u + t)


ARMS = {"independent": independent, "missing": with_missing_tables, "interaction": interaction, "survival": survival}


def inputs(rows, rng):
    n = len(rows.image)
    image = rows.image[:, None, None] * PATTERN + rng.normal(0, 0.2, (n, 4, 4))
    table = np.stack([rows.table * rows.present, *rng.normal(size=(2, n))], axis=1)
    present = np.stack([np.ones(n, bool), rows.present], axis=1)
    tensors = (image[:, None].astype(np.float32), table.astype(np.float32), np.zeros((n, 0), np.int64), present)
    return [torch.from_numpy(part) for part in tensors]


def censored(target, rng):
    """Survival as a study sees it: about a third of the rows leave before their event."""
    leaves = rng.exponential(2.0, len(target))
    return np.stack([np.minimum(target[:, 0], leaves), target[:, 0] <= leaves], axis=1).astype(np.float32)


def score(target, risk):
    """AUROC of a class, C-index of a time: a higher risk is a shorter time."""
    if target.ndim == 1:
        return auroc(target == 1, risk).value
    return (kendalltau(-target[:, 0], risk).statistic + 1) / 2


def fit_and_score(fusion, arm, seed):
    """The model's score on the test rows, the best by the image alone and the best by both."""
    rng = np.random.default_rng([seed, *arm.encode()])
    train, test = ARMS[arm](TRAIN, rng), ARMS[arm](TEST, rng)
    x, held_out = inputs(train, rng), inputs(test, rng)
    head, target = "classification", torch.from_numpy(train.target)
    if arm == "survival":
        head, target = "cox", torch.from_numpy(censored(train.target, rng))
    torch.manual_seed(seed)
    model = FusionModel(Architecture("four_by_four", "mlp", fusion, head, 1 if head == "cox" else 2, 1, 4, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01)
    steps = EPOCHS * (TRAIN // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps, pct_start=0.1)
    complete = bool(train.present.all())
    model.train()
    for _ in range(EPOCHS):
        for chosen in torch.randperm(TRAIN)[: TRAIN // BATCH * BATCH].split(BATCH):
            image, numeric, codes, present = (part[chosen] for part in x)
            loss = model.head.loss(model(image, numeric, codes, present, complete), target[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.inference_mode():
        parts = [model(*batch) for batch in zip(*(part.split(4096) for part in held_out), strict=True)]
    outputs = torch.cat(parts)
    risk = outputs[:, 0] if head == "cox" else outputs[:, 1] - outputs[:, 0]
    return tuple(score(test.target, s) for s in (risk.double().numpy(), test.best_image, test.best_both))


def code_digest():
    """Tells results of this code from those of other code."""
    files = sorted(Path(inspect.getfile(medfusion_jupyter.nn)).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in [*files, Path(__file__)])).hexdigest()[:12]


def results(arms, names, seeds, kept):
    """`{(arm, fusion): array (seeds, 3)}` of `fit_and_score`, each appended to `kept` as soon as it is there."""
    code = code_digest()
    there = {}
    if kept.exists():
        for line in kept.read_text(encoding="utf-8").splitlines():
            key, scores = json.loads(line)
            there[tuple(key)] = scores
    wanted = [(arm, fusion, seed) for arm in arms for fusion in names for seed in range(seeds)]
    progress = tqdm(wanted, file=sys.stderr, mininterval=5)
    for arm, fusion, seed in progress:
        key = (code, TRAIN, arm, fusion, seed)
        progress.set_description(f"{arm}, {fusion}, seed {seed}")
        if key not in there:
            there[key] = fit_and_score(fusion, arm, seed)
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, there[key]]) + "\n")
    return {
        (arm, fusion): np.array([there[code, TRAIN, arm, fusion, seed] for seed in range(seeds)])
        for arm in arms
        for fusion in names
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fusions", nargs="+", default=list(fusions))
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--train", type=int, default=TRAIN, help="rows to train on")
    kept = Path(tempfile.gettempdir()) / "medfusion-fusion-benchmark.jsonl"
    parser.add_argument("--kept", type=Path, default=kept, help="where results lie between runs, default %(default)s")
    chosen = parser.parse_args()
    TRAIN = chosen.train
    torch.set_num_threads(1)
    measured = results(chosen.arms, chosen.fusions, chosen.seeds, chosen.kept)
    print(environment("torch"))
    print(f"\n{TRAIN} rows to train on, {TEST} to test, {EPOCHS} epochs, {chosen.seeds} seeds.")
    for arm in chosen.arms:
        what = "C-index" if arm == "survival" else "AUROC"
        print(f"\n### Fusion: {arm}\n")
        columns = ["", what, "best", "best by the image", "share of the best", "share of the headroom (sd)"]
        print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|".replace("|  |", "| |", 1))
        for fusion in chosen.fusions:
            fused, image, best = measured[arm, fusion].T
            share = (fused - image) / (best - image)
            name = f"{fusion} (default)" if fusion == DEFAULT else fusion
            print(
                f"| {name} | {fused.mean():.4f} | {best.mean():.4f} | {image.mean():.4f} | {(fused / best).mean():.3f} "
                f"| {share.mean():.3f} ({share.std():.3f}) |"
            )
