"""Images to batches, PNG 224² to 64² with flip, affine, brightness and contrast, in the first epoch and in later ones.

The first epoch decodes: every round anew, with a DataLoader or cache of its own. The limit is written by hand around bytes in
memory, once with torch's affine_grid and once with the quickest operations that are known here.
"""

import math
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MEDFUSION_HOME"] = tempfile.mkdtemp()
import numpy as np
import torch
import torch.nn.functional as F
from peer import Peer, said, versions
from PIL import Image
from rounds import environment, interleave, report
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from medfusion_jupyter.data import PixelCache
from medfusion_jupyter.data.batches import BatchSource
from medfusion_jupyter.settings.augmentation import Augmentation

COUNT, SIDE, SIZE, BATCH, ROUNDS = 1000, 224, 64, 32, 15
AUGMENTATION = Augmentation()


def pictures(folder: Path) -> list[Path]:
    """Smooth structures with the noise of a sensor: they compress like radiographs."""
    generator = np.random.default_rng(0)
    down, across = np.mgrid[0:SIDE, 0:SIDE]
    paths = [folder / f"{k:04d}.png" for k in range(COUNT)]
    for path in paths:
        (p, q), (u, v) = generator.uniform(15, 40, 2), generator.uniform(0, 6, 2)
        values = 110 + 60 * np.sin(across / p + u) * np.cos(down / q + v) + generator.normal(0, 6, (SIDE, SIDE))
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(path)
    return paths


def timed(batches) -> float:
    """Seconds until `batches()` has given all."""
    began = time.perf_counter()
    for _ in batches():
        pass
    return time.perf_counter() - began


class Decoded(Dataset[torch.Tensor]):
    """Each image decoded and changed when it is asked for, as most training scripts do."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.change = v2.Compose(
            [
                v2.ToImage(),
                v2.Resize((SIZE, SIZE), antialias=True),
                v2.RandomHorizontalFlip(AUGMENTATION.flip),
                v2.RandomAffine(AUGMENTATION.rotate, (AUGMENTATION.translate,) * 2, (0.95, 1.05)),
                v2.ColorJitter(AUGMENTATION.brightness, AUGMENTATION.contrast),
                v2.ToDtype(torch.float32, scale=True),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            changed: torch.Tensor = self.change(image.convert("L"))
            return changed


def loader(paths: list[Path], workers: int):
    return DataLoader(Decoded(paths), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)


def ours(paths: list[Path], folder: Path):
    """One epoch after another; the pixels are decoded before the first of them."""
    cache = PixelCache.open(paths, size=SIZE, cache_dir=folder)
    source = BatchSource(
        cache, None, None, rows=np.arange(COUNT), batch_size=BATCH, device="cpu", mean=(0.5,), std=(0.25,),
        modalities=("image",),
    )  # fmt: skip
    epochs, generator = iter(range(10**6)), torch.Generator().manual_seed(0)
    return lambda: source.epoch((0, next(epochs)), AUGMENTATION, generator)


def ours_first(paths: list[Path]):
    yield from ours(paths, Path(tempfile.mkdtemp(dir=os.environ["MEDFUSION_HOME"])))()


def decoded(paths: list[Path]) -> torch.Tensor:
    """What a hand-written cache holds: `(N, 1, SIZE, SIZE)` uint8."""
    pixels = torch.empty(len(paths), 1, SIZE, SIZE, dtype=torch.uint8)
    for place, path in enumerate(paths):
        with Image.open(path) as image:
            pixels[place, 0] = torch.from_numpy(np.array(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)))
    return pixels


def torchs_grid(cos, sin, mirror, across, down):
    matrix = torch.stack([cos * mirror, -sin, across, sin * mirror, cos, down], dim=1).view(-1, 2, 3)
    return F.affine_grid(matrix, [len(cos), 1, SIZE, SIZE], align_corners=False)


CENTRES = (torch.arange(SIZE) * 2 + 1) / SIZE - 1


def quickest_grid(cos, sin, mirror, across, down):
    x, y = CENTRES, CENTRES[:, None]
    column, row = torch.stack([cos * mirror, sin * mirror], 1), torch.stack([-sin, cos], 1)
    shift = torch.stack([across, down], 1)[:, :, None, None]
    return (column[:, :, None, None] * x + (row[:, :, None, None] * y + shift)).permute(0, 2, 3, 1)


def by_hand(pixels: torch.Tensor, grid):
    """The limit: batched affine and jitter with parameters of its own for each image, and nothing around it."""
    radians = math.radians(AUGMENTATION.rotate)

    def epoch():
        order = torch.randperm(COUNT)
        for first in range(0, COUNT, BATCH):
            x = pixels.index_select(0, order[first : first + BATCH]).float().mul_(1 / (255 * 0.25)).sub_(2)
            angle, size, side, across, down, contrast, shift = torch.rand(7, len(x)).mul_(2).sub_(1)
            angle, size = angle * radians, 1 + size * AUGMENTATION.scale
            cos, sin, mirror = angle.cos() / size, angle.sin() / size, torch.where(side < 0, -1.0, 1.0)
            move = 2 * AUGMENTATION.translate
            where = grid(cos, sin, mirror, across * move, down * move)
            x = F.grid_sample(x, where, padding_mode="border", align_corners=False)
            factor = (1 + contrast * AUGMENTATION.contrast).view(-1, 1, 1, 1)
            mean = x.mean((1, 2, 3), keepdim=True)
            yield x.mul_(factor).add_(mean * (1 - factor) + (shift * AUGMENTATION.brightness).view(-1, 1, 1, 1))

    return epoch


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    paths = pictures(folder)
    found = versions("monai")
    print(environment("torch", "torchvision", "pillow"))
    print(f"\n{said(found)}", flush=True)
    monai = (
        Peer("monai_cache.py", str(folder), str(SIZE), str(BATCH), AUGMENTATION.model_dump_json(), package="monai")
        if found["monai"]
        else None
    )
    two, none = loader(paths, 2), loader(paths, 0)
    later = ours(paths, Path(os.environ["MEDFUSION_HOME"]) / "pixels")
    pixels = decoded(paths)
    reference, limit = "DataLoader, torchvision v2, 2 workers", "limit by hand"
    contenders = {
        reference: lambda: timed(lambda: two),
        "DataLoader, torchvision v2, no workers": lambda: timed(lambda: none),
        "MedFusion": lambda: timed(later),
        limit: lambda: timed(by_hand(pixels, quickest_grid)),
        "limit by hand, with affine_grid": lambda: timed(by_hand(pixels, torchs_grid)),
    }
    first = {
        reference: lambda: timed(lambda: loader(paths, 2)),
        "MedFusion": lambda: timed(lambda: ours_first(paths)),
        "MedFusion, decoding alone": lambda: timed(
            lambda: [PixelCache.open(paths, size=SIZE, cache_dir=Path(tempfile.mkdtemp()))]
        ),
    }
    figures, of_first = interleave(contenders, ROUNDS), interleave(first, ROUNDS)
    report(f"A later epoch of {COUNT} images", figures, against=reference, unit="s")
    report(
        "The limit",
        {name: values for name, values in figures.items() if "limit" in name or name == "MedFusion"},
        against=limit,
        unit="s",
    )
    report(f"The first epoch of {COUNT} images, with decoding", of_first, against=reference, unit="s")
    if monai is not None:
        # seconds long each: a few rounds tell
        for epoch, title in (("later", "A later epoch"), ("first", "The first epoch")):
            beside = {
                "MONAI CacheDataset": lambda epoch=epoch: monai.ask(epoch=epoch)["seconds"],
                "MedFusion": contenders["MedFusion"] if epoch == "later" else first["MedFusion"],
            }
            report(f"{title} beside MONAI", interleave(beside, 3), against="MONAI CacheDataset", unit="s")
        monai.close()
