"""Images/s of ResNet-18 and ResNet-50 at 224² on a GPU in bf16, as a share of a fixed batch that never leaves the device.

MedFusion trains a job with augmentation, store and recorder on; its figure is of whole epochs, with validation and checkpoint.
The plain loop decodes in DataLoader workers. Both have the model, the optimiser and the precision of the fixed batch. `--tiny`
tries the same on a CPU with a few small images: its figures mean nothing.
"""

import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ["MEDFUSION_HOME"] = tempfile.mkdtemp()
import torch
from PIL import Image
from rounds import environment, interleave
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import medfusion as mf
from medfusion_jupyter.nn import Architecture, FusionModel, image_encoders
from medfusion_jupyter.settings.augmentation import Augmentation

AUGMENTATION = Augmentation()
ROUNDS = 3


@dataclass(frozen=True)
class Size:
    device: str
    images: int
    side: int
    batch: int
    encoders: tuple[str, ...]

    @property
    def workers(self) -> int:
        return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class Training:
    """One model with fused AdamW, stepped by hand in bf16."""

    def __init__(self, encoder: str, size: Size) -> None:
        self.size = size
        architecture = Architecture(encoder, None, "concat", "classification", 2, 1, size.side)
        self.model = FusionModel(architecture).to(size.device).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.present = torch.ones(size.batch, 1, dtype=torch.bool, device=size.device)

    def step(self, images: torch.Tensor, target: torch.Tensor) -> None:
        with torch.autocast(self.size.device, dtype=torch.bfloat16):
            outputs = self.model(images, None, None, self.present[: len(images)], True)
            loss = self.model.head.loss(outputs, target)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def finish(self) -> None:
        if self.size.device == "cuda":
            torch.cuda.synchronize()


def fixed_batch(encoder: str, size: Size):
    training, steps = Training(encoder, size), max(1, size.images // size.batch)
    images = torch.randn(size.batch, 1, size.side, size.side, device=size.device)
    target = torch.randint(0, 2, (size.batch,), device=size.device)

    def images_a_second() -> float:
        training.finish()
        began = time.perf_counter()
        for _ in range(steps):
            training.step(images, target)
        training.finish()
        return steps * size.batch / (time.perf_counter() - began)

    return images_a_second


class Decoded(Dataset):
    """Each image decoded and changed when it is asked for, as most training scripts do."""

    def __init__(self, paths: list[Path], targets: list[int], side: int) -> None:
        self.paths, self.targets = paths, targets
        self.change = v2.Compose(
            [
                v2.ToImage(),
                v2.Resize((side, side), antialias=True),
                v2.RandomHorizontalFlip(AUGMENTATION.flip),
                v2.RandomAffine(AUGMENTATION.rotate, (AUGMENTATION.translate,) * 2, (0.95, 1.05)),
                v2.ToDtype(torch.float32, scale=True),
                v2.ColorJitter(AUGMENTATION.brightness, AUGMENTATION.contrast),
                v2.Normalize([0.5], [0.25]),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.paths[index]) as image:
            # 16 bits to 8, as torchvision changes no others
            return self.change(image.point(lambda value: value / 257).convert("L")), self.targets[index]


def plain_loop(encoder: str, size: Size, cohort):
    training = Training(encoder, size)
    paths = [path for path in cohort.image_paths if path is not None]
    loader = DataLoader(
        Decoded(paths, cohort.target_codes.tolist(), size.side),
        size.batch,
        shuffle=True,
        num_workers=size.workers,
        persistent_workers=True,
        pin_memory=size.device == "cuda",
        drop_last=True,
    )

    def images_a_second() -> float:
        seen, began = 0, time.perf_counter()
        for images, target in loader:
            training.step(images.to(size.device, non_blocking=True), target.to(size.device, non_blocking=True))
            seen += len(images)
        training.finish()
        return seen / (time.perf_counter() - began)

    return images_a_second


def medfusion(encoder: str, size: Size, cohort):
    split = cohort.split(val=0.02, test=0.02, seed=0)

    def images_a_second() -> float:
        job = mf.train(
            split, image_encoder=encoder, tabular_encoder=None, fusion="concat", image_size=size.side, batch_size=size.batch,
            epochs=3, lr=1e-4, precision="bf16", augment=True, device=size.device, patience=None,
        )  # fmt: skip
        history = job.wait().history
        # the first epoch also tunes and allocates, as the first round does for the others
        return len(split.train) / statistics.median(history["seconds"].iloc[1:])

    return images_a_second


def table(title: str, figures: dict[str, list[float]], *, against: str) -> None:
    print(f"\n### {title}\n\n| | images/s: median | share of the {against}: median [lowest, highest] |\n|---|---|---|")
    for name, values in figures.items():
        shares = sorted(a / b for a, b in zip(values, figures[against], strict=True))
        spread = f"{statistics.median(shares):.3f} [{shares[0]:.3f}, {shares[-1]:.3f}]"
        print(f"| {name} | {statistics.median(values):,.0f} | {spread} |")


if __name__ == "__main__":
    tiny = "--tiny" in sys.argv[1:]
    if not tiny and not torch.cuda.is_available():
        print("did not run: this machine has no GPU.")
        raise SystemExit
    size = Size("cpu", 64, 32, 8, ("resnet18",)) if tiny else Size("cuda", 16_384, 224, 256, ("resnet18", "resnet50"))
    print(environment("torch", "torchvision"), "" if tiny else f", {torch.cuda.get_device_name()}", sep="")
    cohort = mf.synthetic_cohort(size.images, image_size=size.side)
    for encoder in size.encoders:
        if encoder not in image_encoders:
            print(f"\n{encoder}: did not run, this version has no such encoder.")
            continue
        figures = interleave(
            {
                "fixed batch": fixed_batch(encoder, size),
                "MedFusion": medfusion(encoder, size, cohort),
                f"plain loop, {size.workers} workers": plain_loop(encoder, size, cohort),
            },
            ROUNDS,
        )
        table(f"{encoder} at {size.side}², batches of {size.batch}", figures, against="fixed batch")
