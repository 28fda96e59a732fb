"""Images to batches, PNG 224² to 64² with flip, affine, brightness and contrast: the pixel cache against a DataLoader."""

import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MEDFUSION_HOME"] = tempfile.mkdtemp()
import numpy as np
import torch
from PIL import Image
from rounds import environment, interleave, report
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from medfusion_jupyter.data import PixelCache
from medfusion_jupyter.data.batches import BatchSource
from medfusion_jupyter.settings.augmentation import Augmentation

COUNT, SIDE, SIZE, BATCH, ROUNDS = 1000, 224, 64, 32, 7
AUGMENTATION = Augmentation()


def pictures(folder: Path) -> list[Path]:
    generator = np.random.default_rng(0)
    paths = [folder / f"{k}.png" for k in range(COUNT)]
    for path in paths:
        small = generator.integers(0, 255, (28, 28), dtype=np.uint8)
        Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)
    return paths


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
    batches = DataLoader(Decoded(paths), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)

    def epoch() -> float:
        began = time.perf_counter()
        for _ in batches:
            pass
        return time.perf_counter() - began

    return epoch


def ours(paths: list[Path]):
    cache = PixelCache.open(paths, size=SIZE, cache_dir=Path(os.environ["MEDFUSION_HOME"]) / "pixels")
    source = BatchSource(
        cache, None, None, rows=np.arange(COUNT), batch_size=BATCH, device="cpu", mean=(0.5,), std=(0.25,),
        modalities=("image",),
    )  # fmt: skip
    epochs, generator = iter(range(10**6)), torch.Generator().manual_seed(0)

    def epoch() -> float:
        began = time.perf_counter()
        for _ in source.epoch((0, next(epochs)), AUGMENTATION, generator):
            pass
        return time.perf_counter() - began

    return epoch


def first_epoch(paths: list[Path]):
    """With the decoding: a cache of its own each time."""

    def decode() -> float:
        began = time.perf_counter()
        PixelCache.open(paths, size=SIZE, cache_dir=Path(tempfile.mkdtemp(dir=os.environ["MEDFUSION_HOME"])))
        return time.perf_counter() - began

    return decode


if __name__ == "__main__":
    torch.set_num_threads(1)
    paths = pictures(Path(tempfile.mkdtemp()))
    print(environment("torch", "torchvision", "pillow"))
    report(
        f"An epoch of {COUNT} images",
        interleave(
            {
                "DataLoader, torchvision v2, 2 workers": loader(paths, 2),
                "DataLoader, torchvision v2, no workers": loader(paths, 0),
                "MedFusion, decoded earlier": ours(paths),
                "MedFusion, decoding alone (first epoch)": first_epoch(paths),
            },
            ROUNDS,
        ),
        against="DataLoader, torchvision v2, 2 workers",
        unit="s",
    )
